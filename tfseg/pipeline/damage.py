"""What is wrong with the records, where TensorFlow stops on them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.records import verifier
from tfseg.records.record_set import RecordSet

# Errors that do not come of what is read, and whose check would take minutes.
NOT_OF_DATA = (tf.errors.ResourceExhaustedError, tf.errors.UnavailableError, tf.errors.AbortedError)


@contextmanager
def explain_read_errors(records: RecordSet) -> Iterator[None]:
    """Names the file and the record that are damaged, where TensorFlow stops on them in words of its own.

    Args:
        records: which are read within.

    Raises:
        ValueError: TensorFlow raised an error, and the records have faults; the message is the first of a record.
        tf.errors.OpError: it raised one, and the records are sound, or it ran out of memory or lost another process.
    """
    try:
        yield
    except NOT_OF_DATA:
        raise
    except tf.errors.OpError as error:
        print(
            f"{printable(records)}: TensorFlow stopped with an error; checking the records", file=sys.stderr, flush=True
        )
        faults = verifier.find_faults(records.folder)
        if not faults:
            raise
        first = min(faults, key=lambda fault: fault.index is None)  # sums, files and the manifest stop no reader
        more = f"{len(faults) - 1} more: {command.program('verify')} {records} lists all"
        raise ValueError(f"{first}; {more if len(faults) > 1 else verifier.ADVICE}") from error
