"""Who waits at a terminal sees for what; a pipe hears nothing of it."""

import io

import pytest
from rich.console import Console

from firstlight.cli import console
from firstlight.cli.console import awaited, waiting


@pytest.fixture(params=[True, False], ids=["terminal", "pipe"])
def heard(request, monkeypatch):
    heard = io.StringIO()
    monkeypatch.setattr(console, "notes", Console(file=heard, force_terminal=request.param))
    return heard


def test_what_is_waited_for_is_said(heard):
    with waiting("opening the workspace"):
        pass
    assert ("opening the workspace" in heard.getvalue()) == console.notes.is_terminal


def test_it_is_gone_while_a_thing_is_worked_at(heard):
    seen = []
    for thing in awaited("looking", iter([1, 2])):
        heard.truncate(heard.seek(0))
        seen.append(thing)
        assert "looking" not in heard.getvalue()
    assert seen == [1, 2]
    assert ("looking" in heard.getvalue()) == console.notes.is_terminal


def test_a_fault_passes(heard):
    def broken():
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(awaited("looking", broken()))
