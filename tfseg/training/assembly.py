"""What a config trains, put together: network, augmentation, loss and optimizer."""

import dataclasses

from tfseg.config.schema import Config
from tfseg.device import Choice
from tfseg.io.pixel_formats import RGB
from tfseg.records.record_set import RecordSet, open_records


def build_learner(
    config: Config,
    device: Choice,
    steps: int,
    records: RecordSet | None = None,
    num_classes: int | None = None,
    share: float = 1.0,
    channels: int | None = None,
):
    """Builds and compiles what a config trains: network, augmentation and loss as one model.

    Args:
        config: of the run.
        device: to compute on.
        steps: of an epoch.
        records: to learn from; None: they are opened if the class weights or the number of classes need them.
        num_classes: that the network predicts, void included; None: those of the records.
        share: by which the learning rate is multiplied.
        channels: of the images; None: of those of the records, or 3 if these are not there.

    Raises:
        ValueError: as of `make_loss`, the encoder or augmentation does not go with the channels, or the device cannot
            compute the loss, or keep the encoder frozen.
        OSError: as of `make_loss`.
    """
    from tfseg.augmentation.augmenter import Augmenter
    from tfseg.device import can_sort
    from tfseg.models.segmenter import build_network
    from tfseg.training.keras_hooks import choose_fused
    from tfseg.training.learner import Learner, PlainLearner
    from tfseg.training.optimizers import make_optimizer

    if config.loss.lovasz and not can_sort(device.kind):
        raise ValueError(
            f"loss.lovasz: expected 0 on {device.kind}, whose sorting cannot be trusted, got {config.loss.lovasz}; "
            "take loss.jaccard, or set accelerator.kind to cpu"
        )
    device, _ = choose_fused(device)
    check_backend(config, device)
    num_classes = num_classes or len((records or open_records(config.data.records)).classes)
    channels = channels or (count_channels(config) if records is None else records.manifest.channels)
    model = dataclasses.asdict(config.model)
    if model.pop("start") is not None:
        model["weights"] = None  # all of them come from there, see `start`
    with device.scope():
        head = config.loss.auxiliary > 0
        network = build_network(num_classes, **model, **device.network, auxiliary=head, channels=channels)
        augment, seed = dataclasses.asdict(config.augment), config.train.seed
        augmentation = Augmenter(**augment, channels=channels, num_classes=num_classes, seed=seed)
        kind = Learner if device.fused else PlainLearner
        learner = kind(network, make_loss(config, records), augmentation, config.train.quantize is not None)
        settings = dataclasses.replace(config.optimizer, learning_rate=share * config.optimizer.learning_rate)
        optimizer = make_optimizer(settings, config.train.epochs, steps, device.fused)
        learner.compile(optimizer, jit_compile=device.xla)
        if settings.encoder_lr_multiplier < 1:
            encoder = network.get_layer(config.model.encoder)
            optimizer.slow_down(encoder.trainable_variables, settings.encoder_lr_multiplier)
    return learner


def check_backend(config: Config, device: Choice) -> None:
    """Raises ValueError if a step is one that Keras cannot compute on JAX or MLX."""
    import keras

    name = {"jax": "JAX", "mlx": "MLX"}.get(keras.backend.backend())
    if name == "MLX" and (steps := config.optimizer.gradient_accumulation_steps) > 1:
        raise ValueError(
            f"optimizer.gradient_accumulation_steps: expected 1 on MLX, where keras-mlx cannot yet wait with a step, "
            f"got {steps}; raise train.batch_size instead, or set the environment variable KERAS_BACKEND to another"
        )
    if not config.train.frozen_epochs or name is None:
        return
    # There, an optimizer sees the weights that learn alone, and not those of which it keeps averages as well.
    if config.optimizer.ema_momentum is not None:
        raise ValueError(
            f"train.frozen_epochs: expected 0 on {name} with optimizer.ema_momentum, got {config.train.frozen_epochs}; "
            "leave one of them out, or set the environment variable KERAS_BACKEND to tensorflow"
        )
    if not device.fused:
        raise ValueError(
            f"train.frozen_epochs: expected 0 on {name} without what is fused, got {config.train.frozen_epochs}; "
            "see accelerator.fused"
        )


def count_classes(config: Config) -> int:
    """How many classes the records have; if they are not there, as many as Cityscapes has categories."""
    from tfseg.records.labels import CATEGORIES

    try:
        return len(open_records(config.data.records).classes)
    except FileNotFoundError:
        return len(CATEGORIES)


def count_channels(config: Config) -> int:
    """How many channels the images of the records have; if they are not there, 3."""
    try:
        return open_records(config.data.records).manifest.channels
    except FileNotFoundError:
        return RGB.channels


def make_loss(config: Config, records: RecordSet | None = None):
    """Makes the loss that a config describes, with the class weights of its records if it wants them.

    Args:
        config: of the run.
        records: to learn from; None: they are opened if the class weights need them.

    Raises:
        ValueError: there are to be class weights, and the training split is missing or holds nothing but void.
        OSError: there are to be class weights, and the records cannot be read.
    """
    from tfseg.losses.segmentation_loss import SegmentationLoss

    weights = read_class_weights(config, records) if config.loss.class_weights == "manifest" else None
    return SegmentationLoss(**{**dataclasses.asdict(config.loss), "class_weights": weights})


def read_class_weights(config: Config, records: RecordSet | None = None) -> list[float]:
    """Reads how much each class weighs from the pixels of the training split; errors as of `make_loss`."""
    records, name = records or open_records(config.data.records), config.data.train_split
    if not records.split(name).has_truth:
        raise ValueError(f"{records}: split {name!r} holds nothing but void; loss.class_weights must be null for it")
    return records.class_weights(name, with_void=config.loss.ignore_class is None)
