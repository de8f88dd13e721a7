from tfseg.visualization.tables import official_table, plain_table, scores_table

SCORES = {
    "classes": ["void", "flat", "sky"],
    "iou": [None, 0.8641, float("nan")],
    "f1": [None, 0.92709, float("nan")],
    "support": [100, 300, 0],
    "mean_iou": 0.8641,
    "mean_iou_with_void": 0.5,
    "mean_f1": 0.927,
    "mean_f1_with_void": 0.6,
}


def test_scores_table_by_hand():
    assert scores_table(SCORES).splitlines() == [
        "| class                      | IoU % | F1 % | share of pixels % |",
        "| -------------------------- | ----: | ---: | ----------------: |",
        "| void                       |     - |    - |              25.0 |",
        "| flat                       |  86.4 | 92.7 |              75.0 |",
        "| sky                        |     - |    - |               0.0 |",
        "| mean over 2, void left out |  86.4 | 92.7 |                   |",
        "| mean over 3, void counted  |  50.0 | 60.0 |                   |",
    ]


def test_void_that_is_learned_counts_in_the_only_mean():
    learned = {**SCORES, "learn_void": True, "iou": [0.1, 0.8641, None], "f1": [0.2, 0.92709, None]}
    assert scores_table(learned).splitlines()[2:] == [
        "| void                      |  10.0 | 20.0 |              25.0 |",
        "| flat                      |  86.4 | 92.7 |              75.0 |",
        "| sky                       |     - |    - |               0.0 |",
        "| mean over 3, void counted |  50.0 | 60.0 |                   |",
    ]


def test_scores_table_of_no_pixels():
    assert scores_table({**SCORES, "support": [0, 0, 0]}).splitlines()[2].endswith(" - |")


def test_official_tables_by_hand():
    """Two, of a model of the 19 classes; instances are of some alone."""
    means = {"mean_category_iou": 0.9, "mean_category_iiou": 0.7, "mean_class_iou": 0.8}
    by_name = {"category_iou": {"flat": 0.9, "sky": None}, "category_iiou": {"flat": 0.7}, "class_iou": {"road": 0.8}}
    assert official_table({**by_name, **means}).splitlines() == [
        "| category | official IoU % | iIoU % |",
        "| -------- | -------------: | -----: |",
        "| flat     |           90.0 |   70.0 |",
        "| sky      |              - |      - |",
        "| mean     |           90.0 |   70.0 |",
        "",
        "| class | official IoU % |",
        "| ----- | -------------: |",
        "| road  |           80.0 |",
        "| mean  |           80.0 |",
    ]


def test_chinese_letters_take_two_columns():
    scores = {**SCORES, "classes": ["void", "道路", "sky"]}
    lines = scores_table(scores).splitlines()
    assert lines[3] == "| 道路                       |  86.4 | 92.7 |              75.0 |"


ROWS = [["split", "images", "flat %", "道路 %"], ["train", "12", "1.50", "98.50"], ["val", "3", "0.00", "100.00"]]


def test_a_plain_table_as_it_is():
    assert plain_table(ROWS, 40) == [
        "split  images  flat %  道路 %",
        "train      12    1.50   98.50",
        "  val       3    0.00  100.00",
    ]


def test_a_plain_table_that_does_not_fit_is_turned():
    assert plain_table(ROWS, 28) == [
        "split   train     val",
        "images     12       3",
        "flat %   1.50    0.00",
        "道路 %  98.50  100.00",
    ]


def test_a_plain_table_of_150_classes():
    heads, row = ["split", *(f"class number {number} %" for number in range(150))], ["train", *150 * ["0.67"]]
    lines = plain_table([heads, row])
    assert len(lines) == 151 and max(map(len, lines)) < 40
