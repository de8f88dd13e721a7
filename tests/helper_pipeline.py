"""What tests of the pipeline share."""

from tfseg.pipeline.pipeline import TrainStream
from tfseg.pipeline.settings import TrainSettings
from tfseg.records.record_set import open_records


def train_batches(records, split, *, epoch=0, step=0, share=None, only_ids=False, **settings):
    """Makes training batches by settings that are written as arguments."""
    stream = TrainStream(open_records(records), split, TrainSettings(**settings))
    return stream.batches(epoch=epoch, step=step, share=share, only_ids=only_ids)
