from tfseg.io.words import are, count_of


def test_one_thing_and_others():
    assert [f"{count_of(count, 'frame')} {are(count)} left" for count in (0, 1, 2, 1200)] == [
        "0 frames are left",
        "1 frame is left",
        "2 frames are left",
        "1,200 frames are left",
    ]
