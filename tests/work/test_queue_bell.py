"""Who takes jobs is told of them, and waits where there are none or no room."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy.exc import OperationalError

from firstlight.work import queue_bell
from firstlight.work.engine import Lane
from firstlight.work.queue_bell import QueueBell

SOON = 20.0


class Taker:
    """Goes through `await_job` again and again in a thread, and counts."""

    def __init__(self, bell: QueueBell, lane: Lane) -> None:
        self.came = threading.Semaphore(0)
        self.bell, self.lane, self.ended = bell, lane, False
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while not self.ended:
            self.bell.await_job(self.lane)
            self.came.release()

    def is_told(self, within: float = SOON) -> bool:
        return self.came.acquire(timeout=within)


@pytest.fixture
def patient(monkeypatch):
    """Nobody goes by himself: whoever is told was told by the bell."""
    monkeypatch.setattr(queue_bell, "_ANYWAY_S", 600.0)


def test_a_lane_is_told_once_of_what_is_asked_for_here(patient):
    bell = QueueBell(set, lambda lane: True)
    heavy, quick = Taker(bell, Lane.HEAVY), Taker(bell, Lane.QUICK)
    assert heavy.is_told()
    assert quick.is_told()  # of what waited before
    bell.ring(Lane.HEAVY)
    assert heavy.is_told()
    assert not heavy.is_told(0.1)
    assert not quick.is_told(0.0)


def test_what_others_ask_for_is_seen_in_the_record(patient):
    waiting: set[Lane] = set()
    bell = QueueBell(lambda: waiting, lambda lane: True)
    asked = Taker(bell, Lane.ASKED)
    assert asked.is_told()
    bell.start()
    assert not asked.is_told(0.1)
    waiting.add(Lane.ASKED)
    assert asked.is_told()
    asked.ended = True
    bell.close()


def test_a_job_waits_until_there_is_room(patient):
    full = threading.Event()
    bell = QueueBell(set, lambda lane: not full.is_set())
    heavy = Taker(bell, Lane.HEAVY)
    assert heavy.is_told()
    full.set()
    bell.ring(Lane.HEAVY)
    assert not heavy.is_told(0.1)
    full.clear()
    bell.ring()  # room has come, and what had rung is not forgotten
    assert heavy.is_told()


def test_a_record_that_cannot_be_read_is_read_again(patient, monkeypatch):
    answers = iter([OperationalError("select", {}, Exception("away")), {Lane.QUICK}])

    def look() -> set[Lane]:
        answer = next(answers, set())
        if isinstance(answer, Exception):
            raise answer
        return answer

    bell = QueueBell(look, lambda lane: True)
    quick = Taker(bell, Lane.QUICK)
    assert quick.is_told()
    bell.start()
    assert quick.is_told()
    quick.ended = True
    bell.close()


def test_nobody_waits_once_it_is_closed(patient):
    bell = QueueBell(set, lambda lane: False)
    taker = Taker(bell, Lane.HEAVY)
    bell.start()
    assert not taker.is_told(0.1)
    taker.ended = True
    bell.close()
    assert taker.is_told()
