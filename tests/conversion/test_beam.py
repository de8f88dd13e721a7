"""Apache Beam writes the very files that a conversion without it writes; the tests that need it are skipped without."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helper_sockets import read_listeners, watch
from PIL import Image

from tfseg import convert
from tfseg.conversion import beam, converter
from tfseg.conversion.finding import sources
from tfseg.conversion.reading.faults import BadFilesError, Fault
from tfseg.conversion.writing import encoding, journal, plan
from tfseg.records.ledger import LEDGER_NAME
from tfseg.records.manifest import Shard, read_manifest

TOOL = Path(__file__).parents[2] / "tools" / "make_tfrecords.py"
LOOPBACK = ["PortableRunner", "--job_endpoint", "embed", "--environment_type", "LOOPBACK"]
PROCESSES = ["DirectRunner", "--direct_num_workers", "2", "--direct_running_mode", "multi_processing"]


@pytest.fixture
def apache_beam():
    return pytest.importorskip("apache_beam")


@pytest.fixture
def raw(tmp_path):
    """A raw data set of 3 + 1 shards: images of noise, masks of one value."""
    random = np.random.default_rng(0)
    for index in range(20):
        split = "train" if index < 17 else "val"
        for kind in ("images", "masks"):
            (tmp_path / "raw" / kind / split).mkdir(parents=True, exist_ok=True)
        image = random.integers(0, 256, (12, 16, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"raw/images/{split}/{index:02d}.png"), image)
        cv2.imwrite(str(tmp_path / f"raw/masks/{split}/{index:02d}.png"), np.full((12, 16), index % 3, np.uint8))
    (tmp_path / "raw" / "map.yaml").write_text("0: void\n1: sky\n2: flat\n")
    return tmp_path / "raw"


def open_raw(raw):
    return sources.open_source(raw, None, raw / "map.yaml")


def convert_with(runner, raw, out, *arguments, **settings):
    return converter.convert(open_raw(raw), out, write_parts=beam.make_writer(runner, arguments), **settings)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def id_in(raw, shard):
    """Some sample of a shard, by the number of the shard in the plan."""
    return plan.plan_parts(open_raw(raw))[shard].samples[1].id


def count_encoded(monkeypatch, fails_at=None, error=KeyboardInterrupt):
    """Notes the id of every sample that is encoded from now on; one of them may fail."""
    encoded, encode = [], encoding.encode_sample

    def note(item, settings):
        encoded.append(item[1].id)
        if item[1].id == fails_at:
            raise error
        return encode(item, settings)

    monkeypatch.setattr(encoding, "encode_sample", note)
    return encoded


def interrupt(*_):
    raise KeyboardInterrupt


# ---- the same files


@pytest.mark.parametrize("runner", [["DirectRunner"], LOOPBACK, PROCESSES], ids=["direct", "loopback", "processes"])
def test_the_same_bytes_as_without_beam(apache_beam, raw, tmp_path, runner):
    manifest = converter.convert(open_raw(raw), tmp_path / "here", size=(6, 8))
    assert convert_with(runner[0], raw, tmp_path / "out", *runner[1:], size=(6, 8)) == manifest
    assert [len(split.shards) for split in manifest.splits.values()] == [3, 1]
    assert contents(tmp_path / "out") == contents(tmp_path / "here")
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "here", "out"}


def test_from_a_store_to_a_store(apache_beam, raw, tmp_path):
    upath = pytest.importorskip("upath")
    store = upath.UPath("memory://beam")
    for path in raw.rglob("*.*"):
        (store / "raw" / path.relative_to(raw).as_posix()).write_bytes(path.read_bytes())
    source = sources.open_source("memory://beam/raw", None, raw / "map.yaml")
    converter.convert(source, "memory://beam/out", write_parts=beam.make_writer("DirectRunner"))
    converter.convert(open_raw(raw), tmp_path / "here")
    found, here = (
        {path.name: path.read_bytes() for path in out.iterdir()} for out in (store / "out", tmp_path / "here")
    )
    assert found.pop(LEDGER_NAME) != here.pop(LEDGER_NAME)  # which has the times of the source's files
    assert found == here


def test_records_that_are_there_start_no_pipeline(apache_beam, raw, tmp_path, monkeypatch):
    manifest = converter.convert(open_raw(raw), tmp_path / "out")
    monkeypatch.setattr(apache_beam.Pipeline, "run", None)
    assert convert_with("DirectRunner", raw, tmp_path / "out") == manifest


# ---- going on


@pytest.mark.parametrize("goes_on", ["here", "DirectRunner"])
@pytest.mark.parametrize("stops", ["here", "DirectRunner"])
def test_goes_on_after_ctrl_c(apache_beam, raw, tmp_path, monkeypatch, stops, goes_on):
    def run(runner):
        writer = None if runner == "here" else beam.make_writer(runner)
        return converter.convert(open_raw(raw), tmp_path / "out", write_parts=writer)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        count_encoded(patch, fails_at=id_in(raw, 2))
        run(stops)
    finished = {path.name for path in (tmp_path / ".out.tfseg-incomplete/new").glob("*.tfrecord")}
    again = count_encoded(monkeypatch)
    manifest = run(goes_on)
    lengths = {shard.name: shard.count for split in manifest.splits.values() for shard in split.shards}
    assert 1 <= len(finished) < 4
    assert len(again) == 20 - sum(lengths[name] for name in finished)
    converter.convert(open_raw(raw), tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_finished_shards_start_no_pipeline(apache_beam, raw, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(converter, "complete_manifest", interrupt)
        convert_with("DirectRunner", raw, tmp_path / "out")
    monkeypatch.setattr(apache_beam.Pipeline, "run", None)
    assert convert_with("DirectRunner", raw, tmp_path / "out").splits["train"].count == 17


def test_other_settings_begin_anew(apache_beam, raw, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        count_encoded(patch, fails_at=id_in(raw, 2))
        convert_with("DirectRunner", raw, tmp_path / "out")
    again = count_encoded(monkeypatch)
    convert_with("DirectRunner", raw, tmp_path / "out", size=(6, 8))
    assert len(again) == 20


def test_bad_samples_are_left_out(apache_beam, raw, tmp_path):
    bad = [raw / f"images/train/{id_in(raw, shard)}.png" for shard in (0, 2)]
    for path in bad:
        path.write_bytes(path.read_bytes()[:-20])
    convert_with("DirectRunner", raw, tmp_path / "out", skip_bad=True)
    converter.convert(open_raw(raw), tmp_path / "whole", skip_bad=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    listed = (tmp_path / "out/tfseg-skipped.jsonl").read_bytes().splitlines()
    assert sorted(json.loads(line)["image"] for line in listed) == sorted(map(str, bad))


# ---- what goes wrong


def test_a_bad_image_is_told_in_one_line(apache_beam, raw, tmp_path):
    bad = raw / f"images/train/{id_in(raw, 1)}.png"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-20])
    message = f"{re.escape(str(bad))}: is cut short or damaged \\(\\d+ bytes\\); copy it again"
    with pytest.raises(ValueError, match=f"^{message}$"):
        convert_with("DirectRunner", raw, tmp_path / "out")
    kept = {path.name for path in (tmp_path / ".out.tfseg-incomplete/new").iterdir()}
    shards = {"train-00000-of-00003.tfrecord", "train-00002-of-00003.tfrecord", "val-00000-of-00001.tfrecord"}
    assert kept == {"journal.json", *shards, *(f"{name}.jsonl" for name in shards)} and not (tmp_path / "out").exists()
    bad.write_bytes(whole)
    convert_with("DirectRunner", raw, tmp_path / "out")
    converter.convert(open_raw(raw), tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_many_bad_images_are_told_in_one_line_and_leave_nothing(apache_beam, raw, tmp_path):
    (raw / "map.yaml").write_text("3: sky\n")
    for index in range(17, 23):
        for kind in ("images", "masks"):
            path = raw / kind / "train" / f"{index}.png"
            path.write_bytes((raw / kind / "train" / "00.png").read_bytes())
            (raw / kind / "val" / path.name).unlink(missing_ok=True)
            (raw / kind / "val" / "99.png").write_bytes(path.read_bytes())
    with pytest.raises(BadFilesError, match=r"not in the label map.*; and 4 bad files more$") as raised:
        convert_with("DirectRunner", raw, tmp_path / "out")
    assert str(raised.value).count("mask values") == 20 and "\n" not in str(raised.value)
    assert raised.value.count == 24
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}


@pytest.mark.parametrize("runner", [["DirectRunner"], LOOPBACK], ids=["direct", "loopback"])
def test_a_full_disk_is_told_in_one_line(apache_beam, raw, tmp_path, monkeypatch, caplog, runner):
    error = OSError("x.tfrecord: cannot be written: No space left on device")
    count_encoded(monkeypatch, fails_at=id_in(raw, 2), error=error)
    with pytest.raises(OSError, match=r"^x\.tfrecord: cannot be written: No space left on device$"):
        convert_with(runner[0], raw, tmp_path / "out", *runner[1:])
    assert not caplog.records or runner is LOOPBACK


def test_a_disk_that_is_full_when_the_note_is_written(apache_beam, raw, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("x.json.tmp: cannot be written: No space left on device")

    monkeypatch.setattr(journal, "write_note", fail)
    with pytest.raises(OSError, match=r"^x\.json\.tmp: cannot be written: No space left on device$"):
        convert_with("DirectRunner", raw, tmp_path / "out")


def test_a_failure_elsewhere_is_told_by_its_last_line(apache_beam, raw, tmp_path, monkeypatch):
    def fail(pipeline):
        raise RuntimeError("Traceback (most recent call last):\n  ...\nModuleNotFoundError: No module named 'tfseg'\n")

    monkeypatch.setattr(apache_beam.Pipeline, "run", fail)
    with pytest.raises(OSError, match=r"^DirectRunner failed: ModuleNotFoundError: No module named 'tfseg'$"):
        convert_with("DirectRunner", raw, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}


def test_ctrl_c_ends_the_work_elsewhere(apache_beam, raw, tmp_path, monkeypatch):
    class Job:
        cancelled = False

        def wait_until_finish(self):
            raise KeyboardInterrupt

        def cancel(self):
            self.cancelled = True

    job = Job()
    monkeypatch.setattr(apache_beam.Pipeline, "run", lambda pipeline: job)
    with pytest.raises(KeyboardInterrupt):
        convert_with("DirectRunner", raw, tmp_path / "out")
    assert job.cancelled


def test_workers_that_write_elsewhere_are_noticed(apache_beam, raw, tmp_path, monkeypatch):
    monkeypatch.setattr(beam, "_run", lambda pipeline, runner: None)
    with pytest.raises(OSError, match=r"has no train-00000-of-00003\.tfrecord after FlinkRunner; --out must be"):
        convert_with("FlinkRunner", raw, tmp_path / "out")


# ---- the options


def test_options_reach_beam(apache_beam):
    from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions

    options = beam.make_writer("DirectRunner", ["--project", "P", "--direct_num_workers=3"]).keywords["options"]
    assert options.view_as(GoogleCloudOptions).project == "P"
    assert options.view_as(DirectOptions).direct_num_workers == 3
    beam.make_writer("FlinkRunner", ["--an_option_of_its_server", "3"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["DirectRunner", "--qualty", "90"], "^--qualty: neither this program nor Beam has such an option$"),
        (["DirectRunner", "--direct_num_workers", "x"], "^argument --direct_num_workers: invalid int value: 'x'$"),
        (["NoRunner"], "^--runner NoRunner: Unexpected pipeline runner: NoRunner. Valid values are .*FlinkRunner"),
        (["no.such.Runner"], "^--runner no.such.Runner: No module named 'no'$"),
        (["DataflowRunner"], "^--runner DataflowRunner: .*Missing required option: project."),
    ],
)
def test_refuses_what_beam_refuses(apache_beam, arguments, message):
    with pytest.raises(ValueError, match=message) as raised:
        beam.make_writer(arguments[0], arguments[1:])
    assert "\n" not in str(raised.value)


def test_beam_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        ValueError, match=r"^Apache Beam is not installed; install it with pip install 'tf-segmentation\[beam\]'$"
    ):
        beam.make_writer("DirectRunner")


# ---- the command


def run(*arguments, **environment):
    """Runs the command in a process of its own."""
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


def test_command(apache_beam, raw, tmp_path):
    arguments = ["--root", raw, "--label-map", raw / "map.yaml", "--out", tmp_path / "out", "--size", "6x8"]
    answer = run(*arguments, "--runner", "DirectRunner", "--direct_num_workers", "1")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "4 shards to write with DirectRunner" in answer.stdout and "split  images" in answer.stdout
    assert read_manifest(tmp_path / "out").size == [6, 8]


def test_options_of_beam_are_told_from_our_own():
    arguments = ["--root", "r", "--out", "o", "--label", "a=b", "--runner", "DataflowRunner", "--project", "P"]
    options = convert.parse_arguments([*arguments, "--limit", "3", "--region=R"])
    assert options.beam_arguments == ["--label", "a=b", "--project", "P", "--region=R"]
    assert (options.runner, options.limit, options.label_map) == ("DataflowRunner", 3, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--project", "P"], "unrecognized arguments: --project P"),
        (["--runner", "DirectRunner", "--workers", "2"], "--workers counts processes of this machine; with --runner,"),
    ],
)
def test_command_refuses(arguments, message, capsys):
    with pytest.raises(SystemExit) as raised:
        convert.main(["--root", "raw", "--out", "out", *arguments])
    assert raised.value.code == 2 and message in capsys.readouterr().err


def test_help_needs_no_beam(tmp_path):
    for name in ("apache_beam", "tensorflow", "keras"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('imported {name}')")
    answer = run("--help", PYTHONPATH=os.pathsep.join([str(tmp_path), str(TOOL.parents[1])]))
    assert answer.returncode == 0 and "--runner" in answer.stdout


# ---- the notes

ENTRY = journal.Entry(Shard("train-00000-of-00002.tfrecord", 1, 4, "88d4266f"), "sources", [1], [2], [3])


def test_notes_become_entries_of_the_journal(tmp_path):
    journal.write_note(tmp_path, {"size": 1}, "val-00000-of-00001.tfrecord", [Fault("v.png: is cut short", "val", "v")])
    journal.write_note(
        tmp_path, {"size": 1}, "train-00001-of-00002.tfrecord", [Fault("t.png: is cut short", "train", "t")]
    )
    journal.write_note(tmp_path, {"size": 1}, ENTRY.shard.name, ENTRY)
    entries, failures = journal.gather_notes(tmp_path, {"size": 1}, {"other": ENTRY})
    assert entries == {"other": ENTRY, ENTRY.shard.name: ENTRY}
    assert failures == [Fault("t.png: is cut short", "train", "t"), Fault("v.png: is cut short", "val", "v")]
    assert [path.name for path in tmp_path.iterdir()] == [journal.JOURNAL_NAME]
    assert set(json.loads((tmp_path / journal.JOURNAL_NAME).read_text())["shards"]) == set(entries)


@pytest.mark.parametrize(
    "text",
    [
        '{"settings": {"size": 2}, "failures": [["x"]]}',
        '{"settings": {"size": 1}, "failures": ["x"]}',
        '{"settings": {"size": 1}, "sh',
        "[]",
        "",
    ],
)
def test_notes_of_another_conversion_are_removed(tmp_path, text):
    (tmp_path / (ENTRY.shard.name + journal.NOTE)).write_text(text)
    assert journal.gather_notes(tmp_path, {"size": 1}, {}) == ({}, [])
    assert [path.name for path in tmp_path.iterdir()] == [journal.JOURNAL_NAME]


def test_notes_that_came_after_a_store_was_listed(monkeypatch):
    upath = pytest.importorskip("upath")
    folder, listings = upath.UPath("memory://notes/out"), {}
    store, ls = type(folder.fs), type(folder.fs).ls

    def remember(self, path, detail=True, **kwargs):  # as gs and s3 do
        return listings.setdefault((path, detail), ls(self, path, detail, **kwargs))

    monkeypatch.setattr(store, "ls", remember)
    monkeypatch.setattr(store, "invalidate_cache", lambda self, path=None: listings.clear())
    (folder / "journal.json").write_text("{}")
    assert [path.name for path in folder.iterdir()] == ["journal.json"]
    journal.write_note(folder, {}, ENTRY.shard.name, ENTRY)
    assert journal.gather_notes(folder, {}, {}) == ({ENTRY.shard.name: ENTRY}, [])


def test_a_note_counts_only_with_its_shard(tmp_path):
    journal.write_note(tmp_path, {}, ENTRY.shard.name, ENTRY)
    assert journal.read_entries(tmp_path, {}, {ENTRY.shard.name: "sources"}) == {}


# ---- what the files show


def test_palettes_are_compared_over_shards(apache_beam, raw, tmp_path):
    """No worker sees the masks of two shards."""
    for number, part in enumerate(plan.plan_parts(open_raw(raw))):
        for sample in part.samples:
            image = Image.fromarray(cv2.imread(str(sample.mask), cv2.IMREAD_UNCHANGED))
            image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] if number < 2 else [0, 0, 0, 0, 255, 0, 255, 0, 0])
            image.save(sample.mask)
    with pytest.raises(BadFilesError, match=r" at index [12] of its palette, where .*; one palette must go thro"):
        convert_with("DirectRunner", raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_exif_is_ignored_with_beam_too(apache_beam, raw, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    for path in (raw / "images/train").iterdir():
        Image.open(path).save(path, exif=exif)
    manifest = convert_with("DirectRunner", raw, tmp_path / "out", exif="ignore")
    assert manifest == converter.convert(open_raw(raw), tmp_path / "here", exif="ignore")
    assert contents(tmp_path / "out") == contents(tmp_path / "here") and manifest.findings["turned"] == {"3": 17}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "ending", ["", " --direct_running_mode multi_threading", " --direct_running_mode multi_processing"]
)
def test_where_it_listens_is_in_the_guide(apache_beam, raw, tmp_path, ending):
    runner = f"--runner DirectRunner{ending}"
    words = ["--root", raw, "--out", tmp_path / "records", "--label-map", raw / "map.yaml", *runner.split()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TOOL.parents[1]), *filter(None, sys.path)])}
    listening, called, output = watch([sys.executable, TOOL, *map(str, words)], cwd=tmp_path, env=environment)
    assert (tmp_path / "records" / "manifest.json").exists(), output
    address, reach = read_listeners()[f"tfseg convert {runner}"]
    assert ("warning: for several workers, DirectRunner opens ports on every interface" in output) == bool(ending)
    if ending:
        assert (address, reach) == ("[::]:free ports", "every machine")
        assert {one.rpartition(":")[0] for one in listening} == {"::"}
    else:
        assert address == "nowhere" and listening == set()
    assert called == set()
