"""What benchmarks/bench_step.py makes of its measurements."""

import pytest

from benchmarks import bench_step


def measured(step, inference, macs=2_000_000_000, nodes=1000):
    return [{"macs": macs, "nodes": nodes, "first": 9.0, "steps": [step] * 3, "inferences": [inference] * 3}]


RESULTS = {
    "matrices": [{"macs_per_second": 39e9}, {"macs_per_second": 40e9}],
    "plain": measured(2.0, 0.5),
    "expanded": measured(1.0, 0.4),
    "block": measured(0.5, 0.2, 1_000_000_000),
    "torch": measured(0.8, 0.5, 1_000_000_000, None),
}


def test_rates_stand_beside_the_share_of_what_the_processor_can_do():
    assert bench_step.table(RESULTS, batch=4)[2:] == [
        "| plain | 2.00 | 1,000 | 9.0 | 2.00 | 2.00 (0.30) | 8.00 (0.40) |",
        "| expanded | 2.00 | 1,000 | 9.0 | 1.00 | 4.00 (0.60) | 10.00 (0.50) |",
        "| block | 1.00 | 1,000 | 9.0 | 0.50 | 8.00 (0.60) | 20.00 (0.50) |",
        "| torch | 1.00 |  | 9.0 | 0.80 | 5.00 (0.38) | 8.00 (0.20) |",
    ]


def test_images_and_multiply_adds_are_compared():
    assert bench_step.compare(RESULTS)[2:] == [
        "| expanded as a share of plain | 2.00 | 2.00 | 1.25 | 1.25 |",
        "| expanded as a share of torch | 0.80 | 1.60 | 1.25 | 2.50 |",
        "| block as a share of plain | 4.00 | 2.00 | 2.50 | 1.25 |",
        "| block as a share of torch | 1.60 | 1.60 | 2.50 | 2.50 |",
    ]


@pytest.mark.parametrize(
    ("own", "named"), [((1.0, 0.4), []), ((1.0, 0.6), ["block, inference"]), ((2.1, 0.4), ["block, step"])]
)
def test_what_is_slower_than_keras_is_named(own, named):
    assert bench_step.find_slower({**RESULTS, "block": measured(*own)}) == named
