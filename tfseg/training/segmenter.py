"""A network with its augmentation, for Keras' own `fit`, `evaluate` and `predict`."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfseg import backend
from tfseg.augmentation import layer as _layer  # noqa: F401 - Keras loads a saved model whose classes are imported
from tfseg.losses import keras_losses as _keras_losses  # noqa: F401 - as above
from tfseg.losses import segmentation_loss as _segmentation_loss  # noqa: F401 - as above
from tfseg.metrics import mean_iou as _mean_iou  # noqa: F401 - as above
from tfseg.models import segmenter as _segmenter  # noqa: F401 - as above
from tfseg.training import optimizers as _optimizers  # noqa: F401 - as above
from tfseg.training.schedules import FillSteps, find_open

MOST_CLASSES = 256  # that a byte can tell apart


@keras.saving.register_keras_serializable("tfseg")
class Segmenter(keras.Model):
    """A model of Keras that augments in training only, and that predicts classes.

    `compile`, `fit`, `evaluate` and callbacks are those of Keras, with any loss, metric and optimizer. Two things are
    added. `fit` augments images and masks together on the device, inside the compiled step. And it fills in the number
    of steps of a `schedules.Cosine` or `schedules.Polynomial` without one.

    Data are pairs of images, uint8 or float (B, H, W, channels) in 0..255, and masks, integers (B, H, W), as the
    network and the loss take them.

    Called, it gives the network's logits, float32 (B, H, W, classes). The same seed gives the same draws at the same
    step; the count of steps is a weight, so that a training resumes with its weights.

    On TensorFlow, `compile(jit_compile="auto")` does not choose XLA, which takes four times as long for these networks
    on a CPU; True does.

    `save` and `save_weights` keep all of it. `keras.saving.load_model` wants this class to be imported before.

    Args:
        network: pixels in 0..255 -> logits; of `architectures`, or any model or layer of Keras.
        augmentation: `Augmentation`, or another layer of Keras from (images, masks) to the same; None: nothing changes.
        **kwargs: name, as of every model of Keras.

    Raises:
        TypeError: network or augmentation is no layer of Keras.
        ValueError: the network has several outputs.

    Example:
        >>> import keras, numpy as np
        >>> from tfseg import Augmentation, Segmenter, Unet
        >>> images = np.zeros((4, 32, 32, 3), np.uint8)
        >>> masks = np.ones((4, 32, 32), np.uint8)
        >>> model = Segmenter(Unet("tiny", classes=3, encoder_weights=None), Augmentation(flip=0.5))
        >>> model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(images, masks, batch_size=2, verbose=0)
        >>> model.predict(images, verbose=0).shape
        (4, 32, 32)
        >>> model.predict_proba(images, verbose=0).shape
        (4, 32, 32, 3)
    """

    def __init__(self, network: keras.layers.Layer, augmentation: keras.layers.Layer | None = None, **kwargs):
        for name, layer in (("network", network), ("augmentation", augmentation)):
            if not isinstance(layer, keras.layers.Layer) and not (layer is None and name == "augmentation"):
                raise TypeError(f"Segmenter: expected a model or layer of Keras as {name}, got {layer!r}")
        if len(getattr(network, "outputs", None) or [None]) > 1:
            raise ValueError(f"Segmenter: expected a network with one output, logits, got {len(network.outputs)}")
        super().__init__(autocast=False, **kwargs)  # half precision has no room for pixels; the network casts its own
        self.network, self.augmentation = network, augmentation
        self.supports_jit = self._supports_jit_by_itself()
        self.built = network.built
        self._gives_probabilities, self._probability_function = False, None

    def call(self, pixels, training=None):
        return self.network(backend.as_floats(pixels), training=training)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """As `keras.Model.compile`, but that "auto" is without XLA on TensorFlow."""
        self.supports_jit = jit_compile is True or self._supports_jit_by_itself()
        self._probability_function = None
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )

    def compile_from_config(self, config: dict) -> None:
        """As of Keras, which leaves a model uncompiled that has a `compile` of its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and getattr(self, "optimizer", None) is not None:
            self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks: Any = None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`; arguments, errors and history are its own.

        A schedule without a number of steps gets that of this call, epochs times steps per epoch, and begins with it;
        with `initial_epoch`, it continues where that epoch begins.

        Raises:
            ValueError: such a schedule, and a data set that does not know its length; or, with augmentation, no masks,
                or a weight for each pixel, which does not move with them.
        """
        if (optimizer := find_open(getattr(self, "optimizer", None))) is not None:
            fill = FillSteps(optimizer, initial_epoch)
            if isinstance(callbacks, keras.callbacks.CallbackList):
                callbacks.append(fill)
            else:
                callbacks = [fill, *keras.tree.flatten(callbacks or [])]
        if hasattr(x, "element_spec"):  # a data set shuffles itself, and Keras warns of its own default
            shuffle = False
        return super().fit(
            x=x,
            y=y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
        )

    def train_step(self, *args):
        """As of Keras, on augmented data; on JAX, the state comes first."""
        *state, data = args
        if not state:
            return super().train_step(self.augment(data))
        trainable, non_trainable, *rest = state[0]
        variables = self.non_trainable_variables  # with the count of steps
        with keras.StatelessScope([*zip(variables, non_trainable, strict=True)]) as scope:
            data = self.augment(data)
        non_trainable = [scope.get_current_value(variable) for variable in variables]
        return super().train_step((trainable, non_trainable, *rest), data)

    def augment(self, data):
        """Augments what `fit` was given of one batch: (images, masks), or these and a weight for each image."""
        if self.augmentation is None:
            return data
        images, masks, weights = keras.utils.unpack_x_y_sample_weight(data)
        if masks is None:
            raise ValueError("Segmenter.fit: expected (images, masks), got images alone")
        if weights is not None and any(size != 1 for size in weights.shape[1:]):
            raise ValueError(
                "Segmenter.fit: expected sample_weight of each image, (batch,) or (batch, 1, 1), with augmentation, "
                f"got {tuple(weights.shape)}; weights of pixels do not move with them: let the loss weigh classes"
            )
        images, masks = self.augmentation((images, masks), training=True)
        return images, masks, weights

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None) -> np.ndarray:
        """Predicts the class of each pixel; no logits are kept.

        Args:
            x, batch_size, verbose, steps, callbacks: as of `keras.Model.predict`: images in an array, a tensor, or
                batches in a data set, whose masks are passed over.

        Returns:
            uint8 (N, H, W), class ids.

        Raises:
            ValueError: there are more than 256 classes, batches of several sizes, or one image without an axis for N.

        Example:
            >>> import numpy as np
            >>> from tfseg import Segmenter, Unet
            >>> model = Segmenter(Unet("tiny", classes=3, encoder_weights=None))
            >>> model.predict(np.zeros((2, 32, 48, 3), np.uint8), verbose=0).dtype
            dtype('uint8')
        """
        return self._predict(x, batch_size=batch_size, verbose=verbose, steps=steps, callbacks=callbacks)

    def predict_proba(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None) -> np.ndarray:
        """Predicts the probability of each class at each pixel, by a softmax in float32.

        Args:
            x, batch_size, verbose, steps, callbacks: as of `predict`.

        Returns:
            float32 (N, H, W, classes) in 0..1, which add up to 1 at each pixel. They take four bytes a class and pixel.

        Raises:
            ValueError: batches of several sizes, or one image without an axis for N.

        Example:
            >>> import numpy as np
            >>> from tfseg import Segmenter, Unet
            >>> model = Segmenter(Unet("tiny", classes=3, encoder_weights=None))
            >>> model.predict_proba(np.zeros((2, 32, 48, 3), np.uint8), verbose=0).shape
            (2, 32, 48, 3)
        """
        of_ids, self.predict_function = self.predict_function, self._probability_function
        self._gives_probabilities = True
        try:
            return self._predict(x, batch_size=batch_size, verbose=verbose, steps=steps, callbacks=callbacks)
        finally:
            self._gives_probabilities = False
            self._probability_function, self.predict_function = self.predict_function, of_ids

    def _predict(self, x, **options):
        if len(shape := getattr(x, "shape", ())) == 3:
            raise ValueError(
                f"Segmenter.predict: expected images (N, H, W, channels), got {tuple(shape)}; give one as image[None]"
            )
        found = super().predict(x, **options)
        if not isinstance(found, np.ndarray):  # a ragged tensor
            raise ValueError("Segmenter.predict: expected batches of one size, got several; predict each by itself")
        return found

    def predict_step(self, *args):
        """As of Keras, but for what becomes of the logits; on JAX and MLX, state comes first, and is returned too."""
        if keras.backend.backend() not in ("jax", "mlx"):
            return self.decide(super().predict_step(*args))
        logits, state = super().predict_step(*args)
        return self.decide(logits), state

    def decide(self, logits):
        """Returns of logits the class of each pixel, or the probabilities of all."""
        if self._gives_probabilities:
            return ops.softmax(ops.cast(logits, "float32"))
        if logits.shape[-1] > MOST_CLASSES:
            raise ValueError(
                f"Segmenter.predict: expected at most {MOST_CLASSES} classes, got {logits.shape[-1]}; take "
                "predict_proba"
            )
        return ops.cast(ops.argmax(logits, axis=-1), "uint8")

    def get_config(self) -> dict:
        parts = {"network": self.network, "augmentation": self.augmentation}
        return {"name": self.name, **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}}

    @classmethod
    def from_config(cls, config: dict, custom_objects=None):
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("network", "augmentation")}
        return cls(**{**config, **parts})

    @staticmethod
    def _supports_jit_by_itself() -> bool:
        return keras.backend.backend() != "tensorflow"
