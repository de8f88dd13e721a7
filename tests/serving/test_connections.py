"""Connections at their limits, without sockets."""

import time

import pytest

pytest.importorskip("gunicorn")

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from tfseg.serving import connections as module
from tfseg.serving import server
from tfseg.serving.connections import Connections, Phase


class Fake:
    """A connection in a phase, for so many seconds, which may take so many more."""

    def __init__(self, number, phase=Phase.WAIT, age=10.0, left=10.0):
        self.peer, self.phase, self.is_open = ("127.0.0.1", number), phase, True
        self.since, self.deadline = time.monotonic() - age, time.monotonic() + left

    def abort(self):
        self.is_open = False


def open_all(*fakes, most=2):
    cut = []
    connections = Connections(most, 1, cut.append)
    for fake in fakes:
        connections.add(fake)
    return connections, [fake.is_open for fake in fakes], cut


def test_a_new_connection_takes_the_place_of_the_one_that_is_waited_for_longest():
    _, are_open, cut = open_all(Fake(1, age=5), Fake(2, Phase.BODY, age=7), Fake(3, age=0))
    assert are_open == [True, False, True] and cut == ["full"]


def test_who_waits_for_us_keeps_its_place():
    _, are_open, _ = open_all(Fake(1, Phase.WORK, age=60), Fake(2, age=1), Fake(3, age=0))
    assert are_open == [True, False, True]
    _, are_open, _ = open_all(Fake(1, Phase.WORK), Fake(2, Phase.WORK), Fake(3, age=0))
    assert are_open == [True, True, False]


def test_nobody_is_cut_off_who_has_just_come():
    connections, are_open, _ = open_all(*(Fake(number, age=0) for number in range(4)))
    assert are_open == [True, True, False, False] and len(connections) == 2


def test_who_is_too_slow_is_cut_off():
    connections, _, cut = open_all(Fake(1, left=-1), Fake(2, Phase.ANSWER, left=-1), Fake(3), most=3)
    connections.sweep()
    assert len(connections) == 1 and connections.find(("127.0.0.1", 3)).is_open and cut == ["slow", "slow"]


def test_who_has_an_answer_and_still_sends_is_not_counted_as_slow():
    lingering = Fake(1, Phase.LINGER, left=-1)
    connections, _, cut = open_all(lingering, Fake(2, Phase.LINGER))
    connections.sweep()
    assert not lingering.is_open and connections.find(("127.0.0.1", 2)).is_open and cut == []


def test_at_the_end_only_those_stay_that_have_asked():
    fakes = [Fake(number, phase) for number, phase in enumerate(Phase)]
    connections, _, _ = open_all(*fakes, most=9)
    connections.close_idle()
    assert [fake.phase for fake in fakes if fake.is_open] == [Phase.BODY, Phase.WORK, Phase.ANSWER]


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "room"),
    [(1024, 1024, 1024, 896), (256, 4096, 1128, 1000), (256, 512, 512, 384), (2000, 4096, None, 1000)],
)
def test_room_for_connections_below_the_limit_of_files(soft, hard, raised, room, monkeypatch):
    limits = []
    monkeypatch.setattr(server.resource, "getrlimit", lambda kind: (soft, hard))
    monkeypatch.setattr(server.resource, "setrlimit", lambda kind, given: limits.append(given))
    assert server.make_room() == room
    assert limits == ([(raised, hard)] if raised else [])


def test_no_room_at_all(monkeypatch):
    monkeypatch.setattr(server.resource, "getrlimit", lambda kind: (64, 64))
    monkeypatch.setattr(server.resource, "setrlimit", lambda kind, given: None)
    with pytest.raises(ValueError, match="only 64 files may be open at a time; the service takes 256"):
        server.make_room()


def test_gunicorn_has_what_is_replaced_in_it():
    """Its next release may call these otherwise; then they would never be called."""
    for name in (
        "_on_headers_complete",
        "_on_body",
        "_send_error_response",
        "_close_transport",
        "_is_websocket_upgrade",
    ):
        assert name in vars(ASGIProtocol) and name in vars(module.Connection)
    assert "_serve" in vars(ASGIWorker)


def test_the_times_are_shorter_than_what_they_protect():
    assert module.PATIENCE < 1 and max(module.FIRST_BYTE, module.HEAD) <= 10
