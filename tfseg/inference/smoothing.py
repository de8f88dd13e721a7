"""Class probabilities averaged over the frames of a video, so that masks flicker less."""

import numpy as np

from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.tta import InferenceSettings


class SmoothSegmenter:
    """A segmenter of the frames of one video, in their order, that remembers what it saw.

    The probabilities q of frame t, at the network's size, become p(t) = factor * p(t - 1) + (1 - factor) * q(t), with
    p(0) = q(0): an exponential moving average (Roberts 1959), in which a frame weighs half as much after
    log(0.5) / log(factor) more; 2 frames of 0.7. It counts frames, not seconds, and does not begin anew at a cut: what
    was there before fades likewise.

    Attributes:
        inference, sizes: as of `ImageSegmenter`.

    Example:
        >>> import numpy as np
        >>> from tfseg.inference.image_segmenter import ImageSegmenter
        >>> red_or_not = lambda images: np.stack([images[..., 0] / 255, 1 - images[..., 0] / 255], -1).astype("float32")
        >>> segment = SmoothSegmenter(ImageSegmenter(red_or_not, 2, in_numpy=True), 0.6)
        >>> [int(segment(np.full((1, 1, 3), red, np.uint8))[0, 0]) for red in (255, 0, 0, 255)]
        [0, 0, 1, 0]
    """

    def __init__(self, segment: ImageSegmenter, factor: float):
        """Begins a video.

        Args:
            segment: the way of a single frame through the model.
            factor: weight of the frames before, above 0 and below 1.

        Raises:
            ValueError: the factor is out of its range.
        """
        check_factor(factor)
        self.segment, self.factor = segment, factor
        self._mean: np.ndarray | None = None

    @property
    def inference(self) -> InferenceSettings:
        return self.segment.inference

    @property
    def sizes(self):
        return self.segment.sizes

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Predicts the mask, uint8 (H, W), of the next frame, uint8 (H, W, channels), all of one size."""
        likely = self.segment.probabilities(self.segment.prepare(frame)[np.newaxis])[0]
        mean = np.array(likely) if self._mean is None else self._mean * np.float32(self.factor)
        if self._mean is not None:
            mean += np.float32(1 - self.factor) * likely
        self._mean = mean
        return self.segment.choose(mean, frame.shape[:2])


def check_factor(factor: float) -> None:
    """Raises ValueError unless a weight of the frames before is at least 0 and below 1."""
    if not 0 <= factor < 1:
        raise ValueError(f"--smooth must be at least 0 and below 1, got {factor}")
