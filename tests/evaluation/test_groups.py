"""Repeats beside repeats and single runs, whose evaluation is a literal."""

import json
import math

import numpy as np
import pytest
from helper_scores import BASE, BETTER, write_run, write_scores

from tfseg import compare
from tfseg.evaluation.comparison import Comparison, compare_runs
from tfseg.evaluation.comparison_page import lay_out
from tfseg.evaluation.groups import list_runs


def found(hits):
    """Two images, in each of which so many of 20 pixels of flat are found, and all ten of sky."""
    return [[[0, 0, 0], [20 - hits, hits, 0], [0, 0, 10]]] * 2


def write_repeat(folder, *hits, settings=""):
    """A repeat of which each seed, 0 and up, finds so many of the 20 pixels of flat in an image."""
    folder.mkdir()
    for seed, count in enumerate(hits):
        run = write_run(folder / f"seed-{seed}", settings, matrices=found(count))
        with (run / "config.yaml").open("a") as file:
            file.write(f"train: {{seed: {seed}}}\n")
        (run / "metrics.json").write_text("{}")
    return folder


def test_table_by_hand(tmp_path, capsys):
    """Flat: 0.5, 0.6, 0.7 against 0.8, 0.85, 0.9, where Welch's t of 2.94 degrees of freedom is 3.22."""
    base, other = write_repeat(tmp_path / "base", 10, 12, 14), write_repeat(tmp_path / "other", 16, 17, 18)
    compare.main([str(base), str(other)])
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:6]]
    assert [rows[0], *rows[2:]] == [
        ["IoU %", "base, 3 seeds", "deviation", "other, 3 seeds", "deviation", "difference (95 %)"],
        ["flat", "60.0", "10.0", "85.0", "5.0", "+25.0 (4.2 to 45.8) *"],
        ["sky", "100.0", "0.0", "100.0", "0.0", "+0.0 (0.0 to 0.0)"],
        ["mean over 2, void left out", "80.0", "5.0", "92.5", "2.5", "+12.5 (2.1 to 22.9) *"],
        ["its 95 % interval", "67.6 to 92.4", "", "86.3 to 98.7", "", ""],
    ]
    assert lines[7:] == [
        "2 images of val. In brackets: 95 % interval of the difference to base, by 10,000 draws",
        "of images, the same for all runs, and by Student's t for the seeds; * marks intervals without 0.",
        "Scores of a repeat are means over its seeds; deviation is the standard deviation over them.",
        "Intervals show what other images and other seeds might change, together.",
        "",
        "All settings are the same.",
    ]


def test_a_single_run_beside_a_repeat_is_named(tmp_path):
    single, repeat = write_run(tmp_path / "single", matrices=found(9)), write_repeat(tmp_path / "repeat", 10, 14)
    text = lay_out(compare_runs([single, repeat]))
    head = [cell.strip() for cell in text.splitlines()[0].strip("|").split("|")]
    assert head == ["IoU %", "single", "repeat, 2 seeds", "deviation", "difference (95 %)"]
    assert "change, together; but not what another seed of\nsingle might, of which there is only one.\n" in text
    assert "| train.seed | 0 | [0, 1] |" in text


def test_only_seeds_that_have_ended_count(tmp_path):
    repeat = write_repeat(tmp_path / "repeat", 10, 12, 20)
    (repeat / "seed-2/metrics.json").unlink()
    seeds = compare_runs([repeat, write_run(tmp_path / "run", matrices=found(10))]).runs[0].of_seeds
    assert seeds.seeds == [0, 1] and seeds.mean_iou == pytest.approx([0.75, 0.8])
    for seed in range(2):
        (repeat / f"seed-{seed}/metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match="repeat: no training of this repeat has ended; the command that began"):
        list_runs(repeat)


def test_seeds_that_do_not_differ_leave_the_intervals_of_images(tmp_path):
    runs = write_run(tmp_path / "base"), write_run(tmp_path / "better", matrices=BETTER)
    alone = compare_runs(runs)
    repeats = [write_repeat(tmp_path / name, 0, 0, 0) for name in "ab"]
    for repeat, matrices in zip(repeats, (BASE, BETTER), strict=True):
        for seed in range(3):
            write_scores(repeat / f"seed-{seed}", matrices)
    together = compare_runs(repeats)
    for run, group in zip(alone.runs, together.runs, strict=True):
        np.testing.assert_allclose(group.scores.mean_iou_interval, run.scores.mean_iou_interval)
    np.testing.assert_allclose(
        together.runs[1].difference.iou_intervals[1:], alone.runs[1].difference.iou_intervals[1:]
    )


def test_seeds_that_differ_widen_the_interval(tmp_path):
    pairs = [
        [write_repeat(tmp_path / f"{name}{width}", 12 - width, 12, 12 + width) for name in "ab"] for width in (1, 4)
    ]
    low, wide = (compare_runs(pair).runs[1].difference.mean_iou_interval for pair in pairs)
    assert wide[0] < low[0] < 0 < low[1] < wide[1]


def test_two_seeds_say_little_but_no_score_leaves_its_range(tmp_path):
    repeats = [write_repeat(tmp_path / name, 6, 14) for name in "ab"]
    one, other = compare_runs(repeats).runs
    assert one.scores.iou_intervals[1] == [0, 1] and other.difference.iou_intervals[1] == [-1, 1]


def test_a_run_that_is_part_of_a_repeat_is_not_compared_with_it(tmp_path):
    repeat = write_repeat(tmp_path / "repeat", 10, 12)
    with pytest.raises(ValueError, match="repeat: is given twice"):
        compare_runs([repeat, repeat / "seed-1"])


def test_runs_of_other_settings_are_no_repeat(tmp_path):
    repeat = write_repeat(tmp_path / "repeat", 10, 12)
    with (repeat / "seed-1/config.yaml").open("a") as file:
        file.write("augment: {flip: 0.5}\n")
    with pytest.raises(ValueError, match=r"seed-1: is no repeat of .*seed-0, .* \(augment\.flip was 0\.0 and"):
        list_runs(repeat)


def test_records_are_the_same_wherever_they_lie(tmp_path):
    repeat = write_repeat(tmp_path / "repeat", 10, 12)
    config = repeat / "seed-1/config.yaml"
    config.write_text(config.read_text().replace("records: city", "records: /moved/city"))
    with pytest.raises(ValueError, match=r'\(data\.records was "city" and is "/moved/city"\)'):
        list_runs(repeat)
    for run in repeat.iterdir():
        (run / "records.json").write_text('{"records": "anywhere", "manifest": "abc"}')
    assert len(list_runs(repeat)) == 2


def test_a_seed_that_was_scored_otherwise_is_refused(tmp_path):
    repeat = write_repeat(tmp_path / "repeat", 10, 12)
    write_scores(repeat / "seed-1", found(12), flip=True)
    with pytest.raises(ValueError, match=r"seed-1: was scored by .*, and .*seed-0 by"):
        compare_runs([repeat, write_run(tmp_path / "run", matrices=found(10))])


def test_files_hold_the_seeds_and_are_read_again(tmp_path, capsys):
    repeats = [write_repeat(tmp_path / name, *hits) for name, hits in (("a", (10, 12)), ("b", (14, 15)))]
    compare.main([*map(str, repeats), "--out", str(tmp_path / "out")])
    content = json.loads((tmp_path / "out/compare.json").read_text())
    seeds = content["runs"][1]["seeds"]
    assert seeds["seeds"] == [0, 1] and seeds["iou"] == [[None, 0.7, 1], [None, 0.75, 1]]
    assert seeds["iou_deviation"] == [None, pytest.approx(0.05 / math.sqrt(2)), 0]
    comparison = Comparison.from_dict(content)
    assert lay_out(comparison) == lay_out(compare_runs(repeats))
    assert list(comparison.runs[0].runs) == ["a, seed 0", "a, seed 1"]
    assert (tmp_path / "out/curves.png").is_file()
