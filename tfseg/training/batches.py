"""The batches of a training and of its validations."""

from tfseg.config.schema import Config
from tfseg.io.command import parse_size
from tfseg.records.record_set import RecordSet


def make_batches(
    config: Config,
    records: RecordSet,
    epoch: int = 0,
    step: int = 0,
    share: tuple[int, int] = (0, 1),
    replicas: int = 1,
):
    """Makes a worker's training batches, from a step of an epoch on, and the validation batches.

    Args:
        config: which describes them.
        records: of which they are made.
        epoch: counted from 0.
        step: of the epoch, counted from 0.
        share: which worker of how many.
        replicas: devices of all workers.
    """
    from tfseg.pipeline.pipeline import make_eval_batches

    data = config.data
    if data.service:
        epoch = step = 0  # its batches come as they are ready: there is no place to resume from
    records.check_truth(data.val_split)
    val_batches = make_eval_batches(
        records,
        data.val_split,
        size=data.eval_size,
        batch_size=count_validated(config, records, replicas),
    )
    return make_training_batches(config, records, epoch, step, share), val_batches


def make_training_batches(
    config: Config, records: RecordSet, epoch: int, step: int, share: tuple[int, int], only_ids: bool = False
):
    """Makes a worker's training batches, see `make_batches` and `pipeline.make_train_batches`."""
    from tfseg.pipeline.crops import RandomCrop
    from tfseg.pipeline.order import Share
    from tfseg.pipeline.pipeline import make_train_batches
    from tfseg.pipeline.settings import TrainSettings

    data = config.data
    low, high = data.crop_scale
    settings = TrainSettings(
        size=parse_size(data.size),
        batch_size=config.train.batch_size // share[1],
        fit=data.fit,
        crop=RandomCrop((low, high), data.cat_max_ratio, data.rare_class_sampling),
        shuffle_buffer=data.shuffle_buffer,
        ram_budget=data.ram_budget,
        seed=config.train.seed,
        cache=data.cache,
        service=data.service,
    )
    own = Share(*share) if share[1] > 1 else None
    return make_train_batches(records, data.train_split, settings, epoch=epoch, step=step, share=own, only_ids=only_ids)


def count_validated(config: Config, records: RecordSet, replicas: int = 1) -> int:
    """How many images are validated at once: as many as have no more pixels than one device trains on, at least 1.

    Scores are those of the whole split, whatever this is; losses that are sums over a batch, as Dice, are of these.

    Args:
        config: of the run.
        records: with the validation split.
        replicas: devices that share a training batch; the first of them validates.
    """
    trained, size = parse_size(config.data.size), config.data.eval_size
    size = size or records.size or trained  # None: of their own sizes, one at a time
    batch = config.train.batch_size // replicas
    return max(batch * trained[0] * trained[1] // (size[0] * size[1]), 1)
