"""Names from data through the pages in a real browser: no script of theirs runs, and no element is made of them."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tfseg.config.schema import Config, Data
from tfseg.evaluation.comparison import Comparison
from tfseg.evaluation.comparison_page import lay_out
from tfseg.evaluation.groups import ComparedRun, IouScores
from tfseg.evaluation.run_page import Findings, make_page
from tfseg.evaluation.score_files import Evaluation
from tfseg.records.manifest import Manifest, Split
from tfseg.visualization import html
from tfseg.visualization.figures import Sample
from tfseg.visualization.tables import evaluation_tables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCRIPT = "document.body.id='evil'"
EVIL = [
    f'<img src=x onerror="{SCRIPT}">',
    f"\"'><script>{SCRIPT}</script>",
    f"</title></style></pre></code><svg onload={SCRIPT}>",
    f"| a | [x](javascript:{SCRIPT}) ![y](http://127.0.0.1:9/z.png) `c` **d**",
    "a\n\n# b\n\n- c\n<http://127.0.0.1:9>",
]
ALL = " ".join(EVIL)
COLORS = np.array([[place, 0, 0] for place in range(len(EVIL))], np.uint8)
NUMBERS = [0.5] * len(EVIL)
SCORES = {
    **{"split": ALL, "records": ALL, "resize": [[8, 8]], "classes": EVIL, "iou": NUMBERS, "f1": NUMBERS},
    **{"support": [9] * len(EVIL), "confusion_matrix": [[9] * len(EVIL)] * len(EVIL)},
    **{"mean_iou": 0.5, "mean_f1": 0.5, "mean_iou_with_void": 0.5, "mean_f1_with_void": 0.5},
    "official": {"class_iou": dict.fromkeys(EVIL, 0.5), "mean_class_iou": 0.5},
    "inference": {"window": [4, 4], "overlap": 0.5, "flip": False, "scales": [1.0]},
}
SCORES_IN_FULL = {
    **SCORES,
    **dict.fromkeys(("iou_with_void", "f1_with_void"), NUMBERS),
    "pixel_accuracy": 0.5,
}


class Elements(HTMLParser):
    """Collects what a page has: names of elements, and of the attributes that could run or fetch something."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.live = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        names = {name for name, value in attributes if name.startswith("on") or name in ("href", "srcdoc", "action")}
        names |= {name for name, value in attributes if name == "src" and not (value or "").startswith("data:")}
        self.live += [(tag, name) for name in names]


def make_report():
    pixels = np.zeros((8, 8), np.uint8)
    sample = Sample(ALL, np.zeros((8, 8, 3), np.uint8), pixels, pixels, 0.5)
    split = Split(["a"], [], [9] * len(EVIL), [0.0] * 3, [1.0] * 3)
    findings = Findings(
        run=Path(f"runs/{EVIL[2].replace('/', '')}"),
        config=Config(Data(ALL, train_split=ALL), "runs/a"),
        settings=ALL,
        metrics={"epoch": EVIL[0], "device": {ALL: ALL}, "versions": {ALL: ALL}},
        scores=SCORES,
        seconds=1.0,
        epochs=3,
        manifest=Manifest(2, ALL, {}, EVIL, [8, 8], ALL, None, {ALL: split}),
        manifest_hash=ALL,
        colors=COLORS,
        panels={f"panel-{name}": [sample] for name in ("random", "best", "worst")},
        columns=("image", "truth", "prediction", "error"),
    )
    return make_page(findings, b"curves", b"confusion")


def make_comparison():
    scores = IouScores(NUMBERS, 0.5, [[0.4, 0.6]] * len(EVIL), [0.4, 0.6])
    runs = [ComparedRun(name, Path("a"), scores, scores) for name in EVIL]
    return Comparison(ALL, EVIL, None, 3, 10, runs, {ALL: EVIL})


def in_browser(text, path):
    """What Chromium makes of a page, after its scripts have run."""
    path.write_text(text, encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={path.parent / 'profile'}"]
    done = subprocess.run([*command, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120)
    assert "<body" in done.stdout, done.stderr[-2000:]
    return done.stdout


PLAIN = {"table", "thead", "tbody", "tr", "th", "td", "p", "h1", "h2", "ul", "li", "html", "head", "body", "strong"}


def render(text):
    """Markdown as HTML, raw HTML let through."""
    reader = pytest.importorskip("markdown_it").MarkdownIt("gfm-like", {"html": True, "linkify": False})
    return f"<!DOCTYPE html><html><head></head><body>{reader.render(text)}</body></html>"


def test_the_report_has_no_element_of_a_name():
    page = Elements(make_report())
    assert page.live == [] and not page.tags & {"script", "svg", "a", "iframe"}


def test_tables_of_markdown_have_no_element_of_a_name():
    for text in (lay_out(make_comparison()), evaluation_tables(SCORES)):
        page = Elements(render(text))
        assert page.live == [] and page.tags <= PLAIN - {"strong"}
        assert text.count("\n") < 40  # a name makes no line of its own


def test_notebooks_have_no_element_of_a_name():
    for shown in (make_comparison(), Evaluation(ALL, ALL, SCORES_IN_FULL, [], None, palette=COLORS)):
        page = Elements(shown._repr_html_())
        assert page.live == [] and page.tags <= PLAIN | {"caption", "span"} - {"strong"}


def test_a_page_runs_nothing_by_its_policy():
    text = html.document("a", ["<p>b</p>"])
    assert "default-src 'none'" in text and "script-src" not in text


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, such as of apt-get install chromium")
def test_nothing_of_a_name_runs_in_a_browser(tmp_path):
    """The control, one of the names as it is, does run: the test would see it."""
    assert 'id="evil"' in in_browser(f"<!DOCTYPE html><body>{EVIL[0]}</body>", tmp_path / "control.html")
    pages = {
        "report": make_report(),
        "compare": render(lay_out(make_comparison())),
        "scores": render(evaluation_tables(SCORES)),
    }
    for name, text in pages.items():
        dom = in_browser(text, tmp_path / f"{name}.html")
        assert 'id="evil"' not in dom, name
        page = Elements(dom)
        assert page.live == [] and not page.tags & {"script", "svg", "a", "iframe"}, name


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, such as of apt-get install chromium")
def test_the_policy_stops_what_passed_for_html(tmp_path):
    text = html.document("a", [*EVIL[:3]])
    assert 'id="evil"' not in in_browser(text, tmp_path / "a.html")
    without = re.sub("<meta http-equiv[^>]*>", "", text)
    assert 'id="evil"' in in_browser(without, tmp_path / "b.html")
