"""Runs are sent by another process, which is there only while it is needed."""

import pytest

from firstlight.services.analyses.run_sender import RunSender, SendingFailed, send_for_a_while
from firstlight.work.retry import Cause, Report

ADDRESS = "http://192.0.2.7:8000"


class Queue:
    """Says what is due; `turns` is how often it has work still when asked."""

    def __init__(self, due=False, turns=0):
        self.due = due
        self.turns = turns
        self.runs = 0

    def any_due(self):
        return self.due

    def run(self):
        self.runs += 1
        self.turns -= 1
        return 0.0

    @property
    def at_work(self):
        return self.turns > 0


class Helper:
    """Answers what it was made with, and remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.started = self.closed = 0

    def start(self):
        self.started += 1

    def run(self, handler, payload, *, key, timeout_s=None):
        self.asked.append((handler, payload, timeout_s))
        return self.answers.pop(0)

    def close(self):
        self.closed += 1


def make(queue, helper):
    return RunSender(
        queue=queue,
        helper=lambda: helper,
        send="send",
        finish="finish",
        address=lambda: ADDRESS,
        every_s=0.25,
    )


def test_no_process_while_nothing_is_due():
    helper = Helper()
    sender = make(Queue(), helper)
    assert sender.run() == 0.25
    sender.close()
    assert (helper.started, helper.asked, helper.closed) == (0, [], 0)


def test_it_is_asked_again_at_once_while_it_has_work():
    queue, helper = Queue(due=True), Helper(Report(result=True), Report(result=False))
    sender = make(queue, helper)
    assert sender.run() == 0.0
    queue.due = False  # claimed: what is under way is not due
    assert sender.run() == 0.25
    assert sender.run() == 0.25  # and is left alone now
    assert [each[:2] for each in helper.asked] == [("send", {"address": ADDRESS})] * 2
    assert helper.started == 1


def test_calls_that_are_under_way_may_end():
    helper = Helper(Report(result=True), Report())
    sender = make(Queue(due=True), helper)
    sender.run()
    sender.close()
    handler, _, limit = helper.asked[-1]
    assert handler == "finish"
    assert 0 < limit < 60
    assert helper.closed == 1


def test_a_process_that_died_is_told_and_used_again():
    died = Report(error={"message": "killed by SIGKILL", "hint": None}, cause=Cause.WORKER_DIED)
    helper = Helper(died, Report(result=False))
    sender = make(Queue(due=True), helper)
    with pytest.raises(SendingFailed) as fault:
        sender.run()
    assert fault.value.found == "killed by SIGKILL"
    assert sender.run() == 0.25
    assert helper.started == 1


def test_it_is_closed_even_where_the_last_calls_do_not_end():
    slow = Report(error={"message": "too slow", "hint": None}, cause=Cause.TIMED_OUT)
    helper = Helper(Report(result=True), slow)
    sender = make(Queue(due=True), helper)
    sender.run()
    with pytest.raises(SendingFailed):
        sender.close()
    assert helper.closed == 1


def test_a_turn_ends_when_nothing_is_left():
    queue = Queue(turns=3)
    assert send_for_a_while(queue) is False
    assert queue.runs == 3


def test_a_turn_ends_after_a_while(monkeypatch):
    monkeypatch.setattr("firstlight.services.analyses.run_sender._TURN_S", 0.05)
    queue = Queue(turns=10**9)
    assert send_for_a_while(queue) is True
