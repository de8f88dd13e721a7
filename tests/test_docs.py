"""What README and docs/ say is so: commands and settings exist, links lead on, numbers come from committed files."""

import ast
import csv
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import tfseg
from benchmarks import (
    attack_serve,
    bench_augment,
    bench_convert,
    bench_inference,
    bench_pipeline,
    bench_runtimes,
    bench_serve,
    bench_serve_runtimes,
    bench_step,
    screen_recipe,
)
from docs import generated
from tfseg.__main__ import VERBS
from tfseg.config.parse import load_config
from tfseg.config.settings import SECTIONS, SETTINGS
from tfseg.evaluation.comparison import Comparison
from tfseg.evaluation.comparison_page import lay_out
from tfseg.exporters import parity
from tfseg.io import renamed
from tfseg.tuning.space import read_space
from tfseg.visualization.tables import percent

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
README = PAGES["README.md"]


def shell_lines(text: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").replace("&&", "\n").splitlines()]
    return [line.strip() for line in lines if line.strip()]


# Once each, though several pages have some of them.
LINES = [*dict.fromkeys(line for page in PAGES.values() for line in shell_lines(page))]
COMMANDS = [line for line in LINES if line.startswith(("python ", "tfseg "))]


@cache
def help_of(program: tuple[str, ...]) -> str:
    result = subprocess.run([sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.long
@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_their_flags(line):
    program, *words = shlex.split(line, comments=True)
    if program == "tfseg":
        words = ["-m", f"tfseg.{words[0]}", *words[1:]]
    length = 2 if words[0] == "-m" else 1
    if words[1] == "tfseg.data_service":
        length = 3  # its --help lists two commands
    text = help_of(tuple(words[:length]))
    if words[1].removeprefix("tfseg.") in generated.WITH_SETTINGS:
        text += " ".join(f"--{name}" for name in SETTINGS)
    for word in words[length:]:
        if " " in word:  # flags that a benchmark hands to the service
            assert {flag for flag in word.split() if flag.startswith("--")} <= {
                *help_of(("-m", "tfseg.serve")).split()
            }, word
        elif word.startswith("--"):
            assert re.search(rf"{re.escape(word.partition('=')[0])}\b", text), f"{word} is not in its --help"
        if word.startswith("configs/"):
            assert (ROOT / word).is_file()


def test_there_are_commands():
    assert len(COMMANDS) >= 60


# Pages whose blocks of YAML are no settings: a label map, and files of Kubernetes and Docker.
OTHER_YAML = {"docs/label_map.md", "docs/network.md"}
BLOCKS = [
    block
    for name, page in PAGES.items()
    if name not in OTHER_YAML
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
]


@pytest.mark.parametrize("settings", BLOCKS)
def test_settings_are_those_of_a_run_or_a_search(settings, tmp_path):
    searched = "low:" in settings
    run = "run_dir: run\ndata:\n  records: somewhere\n"
    if searched:
        run += "  fit: crop\naugment: {brightness: 0.1, contrast: 0.1, hue: 10.0}\n"
    (tmp_path / "run.yaml").write_text(run if searched else run + settings, encoding="utf-8")
    config = load_config(tmp_path / "run.yaml")
    if searched:
        (tmp_path / "space.yaml").write_text(settings, encoding="utf-8")
        read_space(tmp_path / "space.yaml", config)


# Whose names look like those of settings: YOLO's, and those of an export.
FILES = ("data.yaml", "model.bin", "model.onnx", "model.xml")


def test_settings_that_are_named_exist():
    named = {
        name
        for page, text in PAGES.items()
        if not page.startswith("docs/results/")
        for name in re.findall(r"`(?:--)?([a-z]+\.[a-z_]+)\b[^`]*`", text)
        if name.partition(".")[0] in SECTIONS and name not in FILES
    }
    assert len(named) > 20 and named <= set(SETTINGS), named - set(SETTINGS)


def test_the_reference_has_every_verb_flag_and_setting():
    flags, settings = generated.commands(), generated.settings()
    for verb in VERBS:
        assert f"## tfseg {verb}\n" in flags
    assert "{option} --label-map MAP\n" in flags and "{option} --dispatcher ADDRESS\nRequired: such as" in flags
    for key in SETTINGS:
        assert f"{{confval}} {key}\n" in settings
    assert "{confval} data.cache\n:type: ram or disk or null\n:default: `null`\nKeeps decoded pixels" in settings


@pytest.mark.parametrize("name", ["quickstart", "your_data"])
def test_a_notebook_is_run_and_uses_public_names(name):
    cells = json.loads((ROOT / f"examples/{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
    lines = [line for cell in code for line in "".join(cell["source"]).splitlines() if not line.startswith("!")]
    used = set(re.findall(r"\btfseg\.(\w+)", "\n".join(lines)))
    assert used and used <= {*tfseg.__all__}


def test_the_reference_has_every_public_name_once():
    listed = [name for names in generated.API.values() for name in names]
    assert sorted(listed) == sorted({*tfseg.__all__} - {"__version__"})


PYTHON = [
    (name, block) for name, text in PAGES.items() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
]


@pytest.mark.parametrize(("name", "block"), PYTHON, ids=[name for name, _ in PYTHON])
def test_python_is_valid_and_uses_public_names(name, block):
    parts = [*ast.walk(ast.parse(block, name))]
    compile(block, name, "exec")
    used = {part.attr for part in parts if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "tfseg"}
    assert used <= {*tfseg.__all__}, used - {*tfseg.__all__}
    imported = {part.module for part in parts if isinstance(part, ast.ImportFrom) and part.module}
    assert not any(module.partition(".")[0] == "tfseg" for module in imported), "write import tfseg, and tfseg.NAME"


def test_guides_show_python():
    pages = "augmentation cityscapes convert evaluate export losses models pipeline predict recipe train your_data"
    assert {f"docs/{page}.md" for page in pages.split()} | {"README.md"} <= {name for name, _ in PYTHON}


def test_the_changelog_names_what_was_renamed():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n## 0.1.0")[0]
    pairs = [*renamed.SETTINGS.items()]
    pairs += [(old, new) for flags in renamed.FLAGS.values() for old, (new, _) in flags.items()]
    for old, new in pairs:
        assert re.search(rf"^\|.*`{old}\b.*\|.*`{new}\b", text, re.MULTILINE), f"{old} -> {new}"


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {target for page in PAGES.values() for target in re.findall(r"`make ([a-z-]+)", page)}
    targets |= {match[1] for line in LINES if (match := re.match(r"make ([a-z-]+)", line))}
    assert {"demo", "test", "docs"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_every_page_is_on_the_site():
    tables = re.findall(r"```\{toctree\}\n(.*?)```", PAGES["docs/index.md"] + PAGES["docs/benchmarks.md"], re.DOTALL)
    entries = {line for table in tables for line in table.splitlines() if line and not line.startswith(":")}
    pages = {name.removeprefix("docs/").removesuffix(".md") for name in PAGES} - {"README", "index"}
    assert {page for page in pages if not page.startswith("results/")} == entries - {"results/*/README"}


def test_the_demo_comes_from_the_committed_results():
    page = PAGES["docs/results/demo/README.md"]
    seconds, iou = (
        re.search(rf"\| {row} \| (\S+) \| (\S+) \|", page).groups() for row in ("seconds in all", "mean IoU of 7, %")
    )
    for name, measured in zip(("demo", "demo_b3"), iou, strict=True):
        metrics = json.loads((ROOT / f"docs/results/{name}/metrics.json").read_text(encoding="utf-8"))
        assert percent(metrics["mean_iou"]) == measured
    short, tour = (" ".join(PAGES[name].split()) for name in ("README.md", "docs/tour.md"))
    for text in (short, tour):
        assert f"[{seconds[0]} seconds]" in text and f"mean IoU of {iou[0]} %" in text
    assert f"{seconds[1]} seconds, {iou[1]} %" in tour
    assert f"{seconds[1]} seconds and reaches {iou[1]} %" in short


@pytest.mark.parametrize("name", ["camvid", "camvid_11"])
def test_numbers_of_several_seeds_come_from_the_committed_results(name):
    report = json.loads((ROOT / f"docs/results/{name}/repeat.json").read_text(encoding="utf-8"))
    seeds = report["seeds"]
    of_classes = report["iou"], seeds["iou_deviation"], report["iou_intervals"], *seeds["iou"]
    of_mean = report["mean_iou_interval"], *seeds["mean_iou"]
    rows = [
        [name, percent(iou), percent(deviation), " to ".join(map(percent, interval)), *map(percent, of_seeds)]
        for name, iou, deviation, interval, *of_seeds in [
            *zip(report["classes"], *of_classes, strict=True),
            (
                f"mean over {len(report['iou']) - 1}, void left out",
                report["mean_iou"],
                seeds["mean_iou_deviation"],
                *of_mean,
            ),
        ][1:]
    ]
    width = max(len(row[0]) for row in rows)
    assert table_rows(PAGES[f"docs/results/{name}/README.md"], "IoU %".ljust(width)) == rows


def test_camvid_stands_beside_other_starts():
    page = PAGES["docs/results/camvid/README.md"]
    report, scratch = (
        json.loads((ROOT / f"docs/results/camvid/{name}.json").read_text(encoding="utf-8"))
        for name in ("repeat", "scratch/metrics")
    )
    cells = [percent(scratch["mean_iou"]), *map(percent, scratch["iou"][1:])]
    assert f"| [camvid.yaml from random weights](scratch/config.yaml) | {' | '.join(cells)} |" in page
    long = json.loads((ROOT / "docs/results/camvid/long/metrics.json").read_text(encoding="utf-8"))
    cells = [percent(long["mean_iou"]), *map(percent, long["iou"][1:])]
    assert f"| [camvid.yaml, 128 epochs](long/config.yaml) | {' | '.join(cells)} |" in page
    gains = [100 * (long["mean_iou"] - report["mean_iou"]), 100 * (long["iou"][3] - report["iou"][3])]
    worth = f"worth {gains[0]:.1f} points, {gains[1]:.1f} of `object`, for {long['seconds'] / 60:.0f} minutes"
    assert worth in page.replace("\n", " ")
    assert f"worth {100 * (report['mean_iou'] - scratch['mean_iou']):.1f} points" in page
    assert f"took {scratch['seconds'] / 60:.0f} minutes" in page
    first = json.loads((ROOT / "docs/results/seeds/compare.json").read_text(encoding="utf-8"))["runs"][0]["iou"][1:]
    ours = [percent(report["mean_iou"]), *map(percent, report["iou"][1:])]
    for text, start in ((README, r"tfseg, `configs/camvid.yaml`"), (page, r"camvid\.yaml \|")):
        theirs = [percent(sum(first) / 7), *map(percent, first)]
        for row, cells in ((start, ours), (r"\[?the recipe that tfseg started from", theirs)):
            assert re.search(rf"^\| {row}.*", text, re.MULTILINE)[0].endswith(f" | {' | '.join(cells)} |")


def test_peers_come_from_the_committed_results():
    page, folder = PAGES["docs/results/peers/README.md"], ROOT / "docs/results"
    names = (
        "camvid/repeat.json",
        "peers/smp/scores-val.json",
        "camvid/scratch/metrics.json",
        "peers/yolo26/scores-val.json",
    )
    rows = [json.loads((folder / name).read_text(encoding="utf-8")) for name in names]
    assert [row[2:] for row in table_rows(page, "trained with")] == [
        [percent(row["mean_iou"]), *map(percent, row["iou"][1:])] for row in rows
    ]
    ours, smp, scratch, yolo = (row["mean_iou"] for row in rows)
    for one, other in ((ours, smp), (ours, yolo), (yolo, scratch)):
        assert f"{100 * (one - other):.1f} points" in " ".join(page.split())
    cells = re.search(r"^\| segmentation_models_pytorch, .*", README, re.MULTILINE)[0].split(" | ")[1:]
    assert [cell.strip(" |") for cell in cells] == [percent(rows[1]["mean_iou"]), *map(percent, rows[1]["iou"][1:])]
    for name in ("smp", "yolo26"):
        measured = results(f"peers/{name}/results.json")
        assert (measured["recipe"], measured["minutes"], measured["threads"]) == ("fitted", 75.0, 1)
        assert f"{measured['images']:,} images in {measured['epochs']} epochs" in page


def results(name: str) -> dict | list:
    return json.loads((ROOT / "docs/results" / name).read_text(encoding="utf-8"))["results"]


def table_rows(text: str, first_cell: str) -> list[list[str]]:
    """Cells of the rows of the table whose head begins with a cell."""
    head = text.index(f"| {first_cell} |")
    lines = text[head : text.index("\n\n", head)].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_what_the_audit_finds_comes_from_the_committed_results():
    page = PAGES["docs/results/audit/README.md"]
    with_model, alone = (results(f"audit/{name}.json") for name in ("camvid", "camvid_alone"))
    for kind in ("wrong class", "shifted mask", "duplicate", "all"):
        counts = [with_model[f"{kind}, all"]["planted"], *(it[f"{kind}, all"]["found"] for it in (with_model, alone))]
        assert f"| {kind} | {' | '.join(map(str, counts))} |" in page


def test_speed_of_the_converter_comes_from_the_committed_results():
    rates = {
        workers: {name: statistics.median(measured) for name, measured in names.items()}
        for workers, names in results("convert/speed.json").items()
    }
    for label, *cells in table_rows(PAGES["docs/convert.md"], "images/s"):
        name = "converter" if label == "the whole conversion" else re.search(r"[\w-]+$", label)[0].replace("-", "_")
        expected = [f"{rates[workers][name.lower()]:.0f}" for workers in ("1", "2")]
        assert cells == expected, label


def test_codecs_come_from_the_committed_results():
    table = PAGES["docs/results/convert/README.md"]
    rows = bench_convert.codec_table(results("convert/codecs.json"))
    assert "\n".join(rows) in table
    for row in table_rows(PAGES["docs/convert.md"], "size"):
        assert f"| {' | '.join(row)} |" in rows


def anchors_of(page: str) -> set[str]:
    """What links can lead to in a page: its headings, in small letters, without marks, blanks as hyphens."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / name).parent / path if path else ROOT / name
        assert place.exists(), target
        if anchor and place.suffix == ".md":
            page = os.path.relpath(place, ROOT)
            assert anchor in anchors_of(PAGES[Path(page).as_posix()]), target


def test_loaders_come_from_the_committed_results():
    by_kind = results("pipeline/peers.json")["2"]
    rates = {what: {name: statistics.median(rounds) for name, rounds in by.items()} for what, by in by_kind.items()}
    rates = {bench_pipeline.LABELS.get(what, what): by for what, by in rates.items()}
    for what, name, cells in ((row[0], row[1], row[2:]) for row in table_rows(PAGES["docs/pipeline.md"], "images")):
        ours, theirs = rates[what]["tfseg"], rates[what][name]
        assert cells == [f"{theirs:.0f}", "" if name == "tfseg" else f"{ours / theirs:.1f}x"], name


def test_gain_of_the_augmentation_comes_from_the_committed_results():
    runs = json.loads((ROOT / "docs/results/seeds/compare.json").read_text(encoding="utf-8"))["runs"]
    rows = table_rows(PAGES["docs/augmentation.md"], "CamVid, three seeds")
    for row, run in zip(rows, runs, strict=True):
        assert row[1:] == [percent(run["mean_iou"]), *map(percent, run["iou"][1:])]
    camvid, cityscapes = (load_config(ROOT / f"configs/{name}_augmented.yaml") for name in ("camvid", "cityscapes_320"))
    assert camvid.augment == cityscapes.augment


def test_speed_of_the_pipeline_comes_from_the_committed_results():
    text = PAGES["docs/results/pipeline/README.md"]
    for name, bound in (("speed", "decode only"), ("cached", "copy only"), ("raw", "copy only")):
        rows = bench_pipeline.table(results(f"pipeline/{name}.json"), bound, f"of {bound}")
        assert "\n".join(rows) in text
    shares = [row[4] for row in table_rows(text, "cores") if row[2] in ("pipeline", "pipeline with a seed")]
    assert f"{min(shares)} to {max(shares)}." in " ".join(PAGES["docs/pipeline.md"].split())
    sizes = results("pipeline/memory.json")
    assert f"{min(sizes):.0f} to {max(sizes):.0f} MiB" in text
    assert f"{bench_pipeline.slope(sizes):+.2f} MiB per epoch" in text


def test_learnt_weights_come_from_the_committed_results():
    page = PAGES["docs/results/weights/README.md"]
    keras, timm = (results(f"weights/{name}.json")["differences"] for name in ("keras", "timm"))
    rows = [
        [f"EfficientNet-Lite{n}", f"{keras[f'Lite{n}, Keras']:.1e}", f"{timm[f'Lite{n}, timm']:.1e}"] for n in range(3)
    ]
    assert table_rows(page, "classifier") == rows
    pairs = {}
    for found in results("weights/networks.json"):
        pairs.setdefault((found["encoder"], f"{found['library']} `{found['network']}`"), []).append(found)
    rows = [
        [*pair, f"{max(seed['largest'] for seed in seeds):.3g}", f"{max(seed['difference'] for seed in seeds):.1e}"]
        for pair, seeds in pairs.items()
    ]
    assert table_rows(page, "encoder") == rows


def test_the_screened_choices_come_from_the_committed_results():
    page = PAGES["docs/results/screening/README.md"]
    measured = results("screening/screening.json")
    for rows in (
        screen_recipe.effects_table(measured["effects"]),
        screen_recipe.runs_table(measured["runs"], ["object", "human", "vehicle"]),
    ):
        assert "\n".join(rows) in page


def test_hard_example_mining_comes_from_the_committed_results():
    rows = []
    for name in ("dice", "all", "hard"):
        found = json.loads((ROOT / f"docs/results/screening/mining-{name}.json").read_text(encoding="utf-8"))
        low, high = map(percent, found["mean_iou_interval"])
        rows.append(
            [percent(found["mean_iou"]), f"{low} to {high}", *(percent(found["iou"][index]) for index in (3, 6, 7))]
        )
    assert [row[1:] for row in table_rows(PAGES["docs/results/screening/README.md"], "loss")] == rows


def test_the_finalists_come_from_the_committed_results():
    folder = ROOT / "docs/results/finalists"
    rows = [
        [
            path.parts[-3],
            path.parts[-2].removeprefix("seed-"),
            percent(metrics["mean_iou"]),
            *map(percent, metrics["iou"][1:]),
        ]
        for path in folder.glob("runs/*/seed-*/metrics.json")
        for metrics in [json.loads(path.read_text(encoding="utf-8"))]
    ]
    assert sorted(table_rows(PAGES["docs/results/finalists/README.md"], "skips")) == sorted(rows) and rows


def test_signals_to_workers_come_from_the_committed_results():
    found = results("workers/workers.json")
    rows = []
    for verb in ("convert", "verify", "explore", "audit"):
        own = {tuple(kind.split()[1::2]): count for kind, count in found["counts"].items() if kind.startswith(verb)}
        signals = [
            sum(count for (name, _), count in own.items() if name == signal)
            for signal in ("SIGKILL", "SIGSTOP", "SIGTERM", "SIGSEGV")
        ]
        ends = [sum(count for (_, code), count in own.items() if code == wanted) for wanted in "01"]
        rows.append([verb, *map(str, signals + ends)])
    page = PAGES["docs/results/workers/README.md"]
    assert table_rows(page, "command") == rows and f"{found['longest']} s" in page and found["faults"] == 0


STEPS = ("avx2", "avx2_lite0", "avx2_two_cores", "avx512", "avx512_lite0")


def test_speed_of_the_step_comes_from_the_committed_results():
    text, columns = PAGES["docs/results/step/README.md"], []
    for name in STEPS:
        measured = results(f"step/{name}.json")
        rows = bench_step.table(measured, batch=4)
        assert "\n".join(rows) in text and "\n".join(bench_step.compare(measured)) in text
        assert bench_step.find_slower(measured) == []
        if name.startswith("avx512"):
            continue
        columns += [[row.split("|")[column].split()[0] for row in rows[2:]] for column in (6, 7)]
    assert [row[1:] for row in table_rows(PAGES["docs/how_it_works.md"], "images/s")] == [
        list(row) for row in zip(*columns, strict=True)
    ]
    first = [bench_step.summarize(results("step/avx2.json")[kind]).first for kind in ("plain", "expanded")]
    assert f"{first[1]:.0f} instead of {first[0]:.0f} s" in " ".join(PAGES["docs/how_it_works.md"].split())


def test_speed_with_avx_512_comes_from_the_committed_results():
    section = PAGES["docs/results/step/README.md"].partition("## With AVX-512, an earlier state")[2]
    rows = [[cell.strip() for cell in line.split("|")] for line in section.splitlines()]
    expected = []
    for name, batch in (("float32", 4), ("mixed_bfloat16", 4), ("two_cores", 8)):
        for kind, rounds in results(f"step/{name}.json").items():
            seconds = [
                statistics.median(value for one in rounds for value in one[key]) for key in ("steps", "inferences")
            ]
            expected.append([kind, *(f"{batch / value:.2f}" for value in seconds)])
    assert [[row[1], *row[5:7]] for row in rows if row[1:] and row[1] in ("plain", "tfseg", "torch")] == expected


def test_cost_of_inference_comes_from_the_committed_results():
    rows = bench_inference.table(results("inference/two_cores.json"))
    assert "\n".join(rows) in PAGES["docs/results/inference/README.md"]
    gib = [f"{float(row.split('|')[5].replace(',', '')) / 1024:.1f}" for row in (rows[2], rows[3], rows[7])]
    text = " ".join(PAGES["docs/predict.md"].split())
    assert "takes {} GiB, by sliding window of 512x1024 {}, mirrored and at three scales {}".format(*gib) in text


def test_the_service_under_attack_comes_from_the_committed_results():
    before, after = (results(f"serve/{name}.json") for name in ("attack_before", "attack"))
    text = PAGES["docs/results/serve/README.md"]
    assert "\n".join(attack_serve.compare(before, after)) in text
    assert not any(one["restarts"] for one in after.values()) and max(one["stop"] for one in after.values()) < 10


def test_the_service_under_load_comes_from_the_committed_results():
    text = PAGES["docs/results/serve/README.md"]
    load, fuzz = results("serve/load.json"), results("serve/fuzz.json")
    assert "\n".join(bench_serve.table(load)) in text
    assert ", ".join(f"{status} ({count:,})" for status, count in fuzz["statuses"].items()) in " ".join(text.split())
    assert load["exit"] == fuzz["exit"] == 0 and fuzz["same"] and sum(fuzz["statuses"].values()) == 10_000
    assert not any(one["failures"] for one in load["rounds"]) and max(fuzz["statuses"]) < "500"


def test_runtimes_come_from_the_committed_results():
    text = PAGES["docs/results/runtimes/README.md"]
    for name in ("lite0", "b3"):
        measured = results(f"runtimes/{name}.json")
        assert "\n".join(bench_runtimes.table(measured)) in text
        assert all(measured[exact]["other"] < 1e-4 for exact in ("onnxruntime", "openvino", "litert"))
    served, sizes = results("runtimes/serve.json"), results("runtimes/sizes.json")
    assert "\n".join(bench_serve_runtimes.table(served)) in text
    assert "\n".join(bench_serve_runtimes.table_of_sizes(sizes)) in text
    assert not any(one["failures"] or one["exit"] for rounds in [*served.values(), *sizes.values()] for one in rounds)


def test_cost_of_the_augmentation_comes_from_the_committed_results():
    measured = results("augment/speed.json")
    rows = bench_augment.table(measured["augment"], measured["step"])
    assert "\n".join(rows) in PAGES["docs/augmentation.md"]


def test_curves_of_both_precisions_come_from_the_committed_results():
    folder, columns = ROOT / "docs/results/precision", []
    for seed in (0, 1):
        for precision in ("float32", "mixed_bfloat16"):
            with (folder / f"{precision}_{seed}.csv").open(encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            columns.append([f"{float(row['loss']):.3f}" for row in rows])
            columns.append([percent(float(row["val_mean_iou"])) for row in rows])
    expected = [[str(epoch), *cells] for epoch, cells in enumerate(zip(*columns, strict=True), start=1)]
    assert table_rows((folder / "README.md").read_text(encoding="utf-8"), "epoch") == expected
    for loss, half in ((columns[0], columns[2]), (columns[4], columns[6])):
        assert max(abs(float(a) - float(b)) for a, b in zip(loss, half, strict=True)) < 0.01


@pytest.mark.parametrize("name", ["finalists", "seeds"])
def test_comparisons_come_from_the_committed_results(name):
    folder = ROOT / "docs/results" / name
    result = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    assert lay_out(Comparison.from_dict(result)) in (folder / "README.md").read_text(encoding="utf-8")


def test_parity_of_the_formats_comes_from_the_committed_results():
    report = json.loads((ROOT / "docs/results/export/parity.json").read_text(encoding="utf-8"))
    for name in ("docs/export.md", "docs/results/export/README.md"):
        assert parity.lay_out(report) in PAGES[name]
    assert not parity.list_misses(report)


def test_smaller_numbers_come_from_the_committed_results():
    folder = ROOT / "docs/results/quantized"
    for path in folder.glob("*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        assert parity.lay_out(report) in PAGES["docs/results/quantized/README.md"]
        assert abs(report["formats"]["LiteRT int8, float16"]["iou_change"]) < 0.0005
        assert (
            f"{-100 * report['formats']['LiteRT int8']['iou_change']:.2f}" in PAGES["docs/results/quantized/README.md"]
        )


def test_the_hour_of_load_comes_from_the_committed_results():
    load, text = results("runtimes/mixed.json"), PAGES["docs/results/runtimes/README.md"]
    minutes = load["minutes"]
    assert len(minutes) == 60 and not any(minute["failures"] for minute in minutes) and load["exits"] == [0]
    assert f"{sum(sum(minute['answers'].values()) for minute in minutes):,} requests" in text
    first, eleventh, last = (sum(minutes[place]["memory"]) for place in (0, 10, 59))
    assert f"from {first:.0f} MiB after the first minute to {eleventh:.0f} after eleven\nand {last:.0f} after" in text
