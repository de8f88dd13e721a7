from tfseg.tables import scores_table

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


def test_scores_table_of_no_pixels():
    assert scores_table({**SCORES, "support": [0, 0, 0]}).splitlines()[2].endswith(" - |")
