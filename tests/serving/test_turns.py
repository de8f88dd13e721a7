"""One after the other, with pauses, and few who wait."""

import gc
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("werkzeug")

from tfseg.serving.turns import Turns
from tfseg.serving.uploads import Refused


def test_a_turn_is_followed_by_a_pause():
    turns, start = Turns(share=0.5), time.monotonic()
    for _ in range(3):
        with turns.take(start + 10):
            time.sleep(0.02)
    assert 0.1 <= time.monotonic() - start < 1  # three turns, two pauses


def test_what_is_waited_for_in_a_turn_is_no_part_of_it():
    turns, start = Turns(share=0.01), time.monotonic()

    @contextmanager
    def wait():
        assert gc.isenabled()
        time.sleep(0.1)
        yield

    for _ in range(2):  # else, 9.9 s would be between them
        with turns.take(start + 5, wait()):
            assert not gc.isenabled()
    assert gc.isenabled()


def test_few_may_wait_and_not_for_ever():
    turns, begun, go_on = Turns(waiting=2), threading.Event(), threading.Event()

    def hold(deadline):
        with turns.take(deadline):
            begun.set()
            go_on.wait(10)

    threads = [threading.Thread(target=hold, args=(time.monotonic() + 10,)) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    with pytest.raises(Refused, match="too many images as numbers"), turns.take(time.monotonic() + 0.05):
        pass  # it waits, in vain
    threads[1].start()
    while turns._places._value:
        time.sleep(0.001)
    with pytest.raises(Refused), turns.take(time.monotonic() + 10):
        pass  # there is no place to wait
    go_on.set()
    for thread in threads:
        thread.join()


def test_what_fails_in_its_turn_gives_it_back():
    turns = Turns()
    for _ in range(20):
        with pytest.raises(KeyError), turns.take(time.monotonic() + 10):
            assert not gc.isenabled()
            raise KeyError
    assert gc.isenabled()
