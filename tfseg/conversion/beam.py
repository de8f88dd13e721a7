"""The conversion as an Apache Beam pipeline, for data sets that one machine would take too long for.

An element is one shard: a worker reads its images, writes the file, and notes beside it what it wrote. Nothing but
names goes through the pipeline, so any runner will do whose workers have tfseg installed and reach --root and --out, in
a store or on a disk that they share. The launching process gathers the notes and writes the manifest, see journal.py.
The files are those of a conversion without Beam, byte for byte, and an interrupted one resumes, with Beam or not.

Dataflow and Flink start their workers in containers. This image has all they need, where the launching machine has the
same apache-beam, here 2.77, and Python, here 3.12:

    FROM apache/beam_python3.12_sdk:2.77.0
    COPY LICENSE README.md pyproject.toml /tfseg/
    COPY tfseg /tfseg/tfseg
    RUN pip install '/tfseg[cloud]'

    python -m tfseg.convert --root gs://B/cityscapes --out gs://B/records --size 512x1024
        --runner DataflowRunner --project P --region R --temp_location gs://B/tmp --sdk_container_image IMAGE
        --runner FlinkRunner --flink_master HOST:8081 --environment_type DOCKER --environment_config IMAGE

Launching on Dataflow takes `pip install 'apache-beam[gcp]'`, on Flink or Spark a Java.
"""

import dataclasses
import functools
import io
import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from tfseg.conversion.converter import WriteParts
from tfseg.conversion.reading.faults import BadFilesError, Fault
from tfseg.conversion.writing import encoding, journal, shards, updates
from tfseg.conversion.writing.encoding import Settings
from tfseg.conversion.writing.journal import Entry
from tfseg.conversion.writing.plan import Part
from tfseg.conversion.writing.shards import Task
from tfseg.conversion.writing.updates import Old
from tfseg.io.escaping import printable

if TYPE_CHECKING:
    import apache_beam  # pyright: ignore[reportMissingImports]  an extra
    from apache_beam.options.pipeline_options import PipelineOptions  # pyright: ignore[reportMissingImports]  an extra

# What DirectRunner comes down to, when it has not downloaded a program, Prism, to hand the pipeline to.
_IN_THIS_PROCESS = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"

OPEN_PORTS = (
    "for several workers, DirectRunner opens ports on every interface, without a key or encryption: whoever reaches "
    "them can pose as a worker; keep strangers out by a firewall or a network namespace, see docs/network.md"
)

_raised: list[BaseException] = []  # by workers that are threads of this process; Beam hands on no more than their text


def make_writer(runner: str, arguments: Sequence[str] = ()) -> WriteParts:
    """Prepares a pipeline to be the `write_parts` of one `converter.convert`.

    Args:
        runner: as Beam names it: "DirectRunner", "DataflowRunner", "FlinkRunner", "SparkRunner", "PortableRunner".
        arguments: words for Beam's own command line, such as ["--project", "P"].

    Raises:
        ValueError: Beam is not installed, or refuses the runner or the arguments.
    """
    _require_beam()
    from apache_beam import Pipeline  # pyright: ignore[reportMissingImports]  an extra
    from apache_beam.options.pipeline_options import PipelineOptions  # pyright: ignore[reportMissingImports]  an extra
    from apache_beam.runners.portability.portable_runner import PortableRunner  # pyright: ignore[reportMissingImports]  an extra

    name = _IN_THIS_PROCESS if runner.lower() in ("direct", "directrunner") else runner
    options = PipelineOptions([f"--runner={name}", *arguments])
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            pipeline = Pipeline(options=options)
            given = options.get_all_options(retain_unknown_options=True)
    except (ValueError, ImportError) as error:
        raise ValueError(f"--runner {runner}: {' '.join(str(error).split())}") from None
    except SystemExit:  # by the parser of Beam, the last of its many lines says why
        raise ValueError(complaint.getvalue().strip().rpartition(" error: ")[2]) from None
    unknown = given.keys() - PipelineOptions([]).get_all_options().keys()
    if unknown and not isinstance(pipeline.runner, PortableRunner):  # it asks its server, which may know more
        raise ValueError(f"--{min(unknown)}: neither this program nor Beam has such an option")
    if name == _IN_THIS_PROCESS and given.get("direct_running_mode") in ("multi_threading", "multi_processing"):
        print(f"warning: {OPEN_PORTS}", file=sys.stderr, flush=True)
    return functools.partial(_write_parts, options=options, runner=runner)


def _require_beam() -> None:
    logging.disable(logging.WARNING)  # Beam warns of parts of it that are not installed
    try:
        import apache_beam  # noqa: F401  # pyright: ignore[reportMissingImports]  an extra
    except ModuleNotFoundError as error:
        if error.name != "apache_beam":
            raise
        raise ValueError("Apache Beam is not installed; install it with pip install 'tf-segmentation[beam]'") from None
    finally:
        logging.disable(logging.NOTSET)


def _write_parts(
    parts: Sequence[Part],
    folder: Path,
    settings: Settings,
    journal_settings: dict,
    *,
    options: "PipelineOptions",
    runner: str,
    old: Old | None = None,
) -> dict[str, Entry]:
    """Writes the shards that are not finished yet; see `converter.WriteParts`.

    Raises:
        ValueError: files of the source are bad.
        OSError: a file cannot be read or written, or the runner has failed.
    """
    import apache_beam as beam  # pyright: ignore[reportMissingImports]  an extra

    entries, tasks = shards.find_tasks(parts, folder, journal_settings, old)
    if tasks:
        print(f"{printable(folder)}: {len(tasks)} shards to write with {runner}", flush=True)
        if old is not None:  # an element has what is of its shard
            old = dataclasses.replace(old, kept={}, sources={}, warn=_print_warning)
        work = functools.partial(
            _convert_part, folder=folder, settings=settings, journal_settings=journal_settings, old=old
        )
        pipeline = beam.Pipeline(options=options)
        # Create spreads its elements over the workers by itself.
        _ = pipeline | "Parts" >> beam.Create(tasks) | "Convert" >> beam.Map(work)
        _run(pipeline, runner)
    entries, failures = journal.gather_notes(folder, journal_settings, entries)
    if failures:
        raise BadFilesError(failures)
    if lacking := [part.name for part in parts if part.name not in entries]:
        raise OSError(f"{folder}: has no {lacking[0]} after {runner}; --out must be a place that all workers reach")
    return entries


def _run(pipeline: "apache_beam.Pipeline", runner: str) -> None:
    """Runs a pipeline to its end, here or elsewhere."""
    for name in ("common", "worker"):  # they log a traceback of what a worker in this process raises
        logging.getLogger(f"apache_beam.runners.{name}").setLevel(logging.CRITICAL)
    _raised.clear()
    try:
        result = pipeline.run()
        try:
            result.wait_until_finish()
        except (KeyboardInterrupt, SystemExit):
            result.cancel()  # the workers elsewhere
            raise
    except BaseException as error:
        if _raised:
            raise _raised[0] from None
        if not isinstance(error, Exception):
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise OSError(f"{runner} failed: {reason[-1]}") from error


def _convert_part(
    task: Task,
    folder: Path,
    settings: Settings,
    journal_settings: dict,
    old: Optional[Old],  # noqa: UP045  Beam 2.71 reads this as a type of its own, and cannot read `Old | None`
) -> None:
    """Writes one shard and its note, in a worker. A runner may well call it twice: it writes the same."""
    try:
        outcome = _write_shard(task, folder, settings, old)
        journal.write_note(folder, journal_settings, task.part.name, outcome)
    except BaseException as error:
        _raised.append(error)
        raise


def _write_shard(task: Task, folder: Path, settings: Settings, old: Old | None) -> Entry | list[Fault]:
    """Writes one shard, or says which files are bad: an exception would only make the runner try again."""
    part, sources, kept = task
    inspection = shards.Inspection(settings.label_map)
    outcomes = (encoding.attempt(job, settings) for job in shards.list_jobs(task, inspection))
    if old is not None:
        outcomes = updates.merge_kept(part, kept, outcomes, old, settings)
    try:
        return shards.write_part(part, folder, inspection.take(part.samples, outcomes), sources)
    except BadFilesError:
        return inspection.faults


def _print_warning(text: str) -> None:
    print(f"warning: {printable(text)}", file=sys.stderr, flush=True)
