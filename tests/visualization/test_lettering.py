import io
import warnings

import numpy as np
import pytest

from tfseg.conversion.reader import Pair
from tfseg.exploration import figures as explore_figures
from tfseg.exploration import survey
from tfseg.visualization import figures, lettering
from tfseg.visualization.figures import Sample, draw_confusion, draw_panel
from tfseg.visualization.lettering import as_text, find_font, fonts_for, lay_out_legend

SIGN = "\u2335"  # in DejaVu Sans Mono, which Matplotlib brings, and not in DejaVu Sans


def names_of(count, kind):
    stem = {"short": "c", "plain": "class number", "long": 30 * "wide " + "W", "chinese": "道路", "signs": SIGN}[kind]
    return [f"{stem} {number}" for number in range(count)]


def survey_of(names):
    """A survey of images that hold each of the classes, and of a raw mask value for each."""
    count = len(names)
    counts = [survey.Count(id, name, name, (9, id % 256, 9), 10 + id, 1 / count, 1) for id, name in enumerate(names)]
    split = survey.Split(
        *(1, 1, None, [{"height": 48, "width": 64, "images": 1}], {}, {}, [0.0] * 3, [0.0] * 3, [0] * 3, [0] * 3),
        *(True, counts, counts, [1.0] * count, [[1] * count] * 8),
    )
    mask = (np.arange(48 * 64) % count).astype(np.uint8).reshape(48, 64)
    example = Pair("道路", np.zeros((48, 64, 3), np.uint8), mask, mask, "png", "png")
    colors = [[9, id % 256, 9] for id in range(count)]
    splits = {"train": split, "val": split}
    return survey.Survey("place", "raw", "folders", None, [], splits, names, colors, example, "train")


def check(figure):
    """Draws a figure: no letter is missing, and its legend lies within it and over none of its axes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), dpi=100)
    for legend in figure.legends:
        extent, whole = legend.get_window_extent(), figure.bbox
        assert extent.x0 >= 0 and extent.x1 <= whole.x1, "too wide"
        assert extent.y0 >= 0 and extent.y1 <= whole.y1, "too high"
        assert len(legend.get_texts()) >= 1
        lowest = min(axis.get_tightbbox().y0 for axis in figure.axes if axis.get_visible() and axis.axison)
        assert extent.y1 <= lowest + 1
    for axis in figure.axes:
        if legend := axis.get_legend():
            assert legend.get_window_extent().y0 >= 0 and legend.get_window_extent().x1 <= figure.bbox.x1 + 1
        assert axis.get_window_extent().height > 50 or not axis.axison


@pytest.fixture
def checked(monkeypatch):
    """Figures as they would have been saved, each checked."""
    saved = []

    def save(figure, path=None):
        check(figure)
        saved.append(figure)
        return b""

    monkeypatch.setattr(figures, "save_figure", save)
    monkeypatch.setattr(explore_figures, "_to_png", save)
    return saved


@pytest.mark.long
@pytest.mark.parametrize("columns", [("prediction",), figures.COLUMNS])
@pytest.mark.parametrize(("count", "kind"), [(8, "short"), (150, "plain"), (40, "long"), (40, "chinese"), (9, "signs")])
def test_legends_of_panels_have_room(checked, count, kind, columns):
    names = names_of(count, kind)
    mask = np.zeros((20, 40), np.uint8)
    sample = Sample("道路 1", np.zeros((20, 40, 3), np.uint8), mask, mask + 1, 0.5)
    draw_panel([sample], names, np.zeros((count, 3), np.uint8), "panel.png", columns)
    [figure] = checked
    assert len(figure.legends[0].get_texts()) == count + 2 * ("error" in columns)
    assert figure.axes[0].get_window_extent().width > 300  # of 500


@pytest.mark.long
@pytest.mark.parametrize(("count", "kind"), [(3, "long"), (41, "chinese"), (80, "plain")])
def test_confusions_of_many_classes(checked, count, kind):
    draw_confusion(np.eye(count, dtype=int), names_of(count, kind), "confusion.png")
    [figure] = checked
    assert figure.get_size_inches()[0] < 50
    assert len(figure.axes[0].texts) == (3 if count == 3 else 0)
    assert len(figure.axes[0].get_yticklabels()) == count


@pytest.mark.long
@pytest.mark.parametrize(("count", "kind"), [(60, "plain"), (20, "long"), (20, "chinese")])
def test_figures_of_surveys_have_room(checked, count, kind):
    survey = survey_of(names_of(count, kind))
    explore_figures.draw_rows(survey)
    explore_figures.draw_example(survey)
    assert len(checked) == 2


def test_histograms_have_the_letters(checked):
    survey = survey_of(names_of(3, "chinese"))
    explore_figures.draw_histogram(survey, "classes")
    explore_figures.draw_histogram(survey, "labels")
    assert len(checked) == 2


def test_letters_that_no_font_has_are_numbers(monkeypatch):
    monkeypatch.setattr(lettering, "_fonts", lambda: [])
    find_font.cache_clear()
    try:
        assert as_text("道 Straße \U0001f6b2 e\U000e0001\u20ff") == "\\u9053 Straße \\U0001f6b2 e\\u20ff"
    finally:
        find_font.cache_clear()


@pytest.fixture
def chinese_font(tmp_path):
    """A font that is installed for a test: that of Matplotlib, with two of its letters as Chinese ones."""
    from fontTools.ttLib import TTFont
    from matplotlib import font_manager

    font = TTFont(font_manager.findfont("DejaVu Sans"))
    for table in font["cmap"].tables:
        if table.isUnicode():
            table.cmap |= {ord("道"): "A", ord("路"): "B"}
    for record in font["name"].names:
        if record.nameID in (1, 4, 16):
            record.string = "Test Chinese"
    font.save(tmp_path / "chinese.ttf")
    before = list(font_manager.fontManager.ttflist)
    font_manager.fontManager.addfont(tmp_path / "chinese.ttf")
    caches = find_font, lettering._fonts, lettering._file_of
    for cache in caches:
        cache.cache_clear()
    yield "Test Chinese"
    font_manager.fontManager.ttflist[:] = before
    for cache in caches:
        cache.cache_clear()


def test_chinese_names_are_drawn_where_a_font_is_installed(checked, chinese_font, caplog):
    assert find_font("道") == chinese_font and as_text("道路 $1") == "道路 \\$1"
    draw_confusion(np.eye(2, dtype=int), ["void", "道路"], "confusion.png")
    [figure] = checked
    label = figure.axes[0].get_yticklabels()[1]
    assert label.get_text() == "道路" and chinese_font in label.get_fontfamily()
    assert not caplog.records


def test_letters_are_drawn_in_a_font_that_has_them(checked):
    import matplotlib
    from matplotlib.figure import Figure

    before = matplotlib.rcParams["font.family"]
    assert find_font("a") == "" and find_font(SIGN) == "DejaVu Sans Mono" and as_text(SIGN) == SIGN
    with fonts_for(["a", SIGN]):
        figure = Figure()
        figure.text(0, 0, f"a{SIGN}")
        check(figure)
    assert matplotlib.rcParams["font.family"] == before


def test_names_are_one_line_and_cut():
    assert as_text("a\n b\t c") == "a b c"
    assert as_text(60 * "a", 48) == 47 * "a" + "…"


def test_rows_of_a_legend():
    assert lay_out_legend(["a"] * 8, 20, 11, 10)[0] == 8
    columns, height = lay_out_legend(["class number 100"] * 150, 20, 11, 10)
    assert 8 <= columns <= 10 and 3 < height < 5
    assert lay_out_legend([], 5, 10, 9)[0] == 1
