"""The server's side of the process in which an author's function runs."""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from firstlight.analysis_kit.declaration import ServiceDeclaration
from firstlight.analysis_kit.failures import AnalysisFailed

__all__ = ["BrokenService", "Worker"]

_END = None
_START_S = 120.0
_LAST_WORDS_S = 2.0
_REASONS = {
    "SIGKILL": ", probably because it took too much memory",
    "SIGXCPU": ", because it took too much of the processor",
}


class BrokenService(Exception):
    """The author's module cannot be loaded; the message is what it raised."""


@dataclass(frozen=True)
class _Child:
    process: subprocess.Popen[str]
    heard: queue.SimpleQueue[dict[str, Any] | None]


class Worker:
    """Runs an author's function in a process of its own, one run at a time.

    The process is kept from run to run, for to import the function takes longer than many a run.
    When it dies, is ended, or has done its share, the next run gets a new one.

    Parameters
    ----------
    name
        ``module:function`` or ``file.py:function``.
    memory_mb
        What the process may take; None for no limit.
    cpu_s
        Seconds of the processor that it may take, in all its runs together; None for no limit.
        A run that takes too long is ended by whoever waits for it, but a process that outlives
        its server, deep in a library, would calculate for ever.
    runs_a_process
        After so many runs the process is replaced, since some libraries never give memory back.
    """

    def __init__(
        self,
        name: str,
        *,
        memory_mb: int | None = None,
        cpu_s: float | None = None,
        runs_a_process: int = 200,
    ) -> None:
        self._name = name
        self._limits = (memory_mb or 0, math.ceil(cpu_s or 0))
        self._runs_a_process = runs_a_process
        self._child: _Child | None = None
        self._runs = 0
        self._ending = threading.Event()

    def start(self) -> ServiceDeclaration:
        """Begin the process, and learn what the service says of itself.

        Raises
        ------
        BrokenService
            The function cannot be loaded.
        """
        command = [sys.executable, "-m", "firstlight.analysis_kit.child", self._name]
        command += map(str, self._limits)
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={"OMP_NUM_THREADS": "1", **os.environ},
            # A key on the terminal reaches a whole group; and a group is ended as one, with
            # whatever processes the function has begun.
            start_new_session=True,
        )
        child = _Child(process, queue.SimpleQueue())
        threading.Thread(target=_listen, args=(child,), daemon=True).start()
        self._child, self._runs = child, 0
        if self._ending.is_set():  # closed meanwhile, by another thread
            self._end()
        try:
            first = child.heard.get(timeout=_START_S)
        except queue.Empty:
            first = {"broken": f"it took more than {_START_S:.0f} s to import"}
        if first is _END or "ready" not in first:
            told = self._how_it_ended(child) if first is _END else str(first.get("broken"))
            self._end()
            raise BrokenService(told.strip() or "it gave no reason")
        facts = first["ready"]
        return ServiceDeclaration(**{**facts, "input_data_types": tuple(facts["input_data_types"])})

    def run(
        self,
        body: Mapping[str, Any],
        *,
        timeout: float,
        tell: Callable[[float, str], None],
    ) -> dict[str, Any]:
        """The answer to one request; also where the process dies, or takes too long.

        Parameters
        ----------
        timeout
            Seconds; the process is ended then.
        tell
            Gets the progress: a fraction and a message.
        """
        child: _Child | None = None
        until = time.monotonic() + timeout
        try:
            child = self._ready_child()
            if not self._begin(child, body, until):
                # It died before it had read the request, which is another run's doing.
                self._end()
                child = self._ready_child()
                self._begin(child, body, until)
            return self._answer(child, until, tell)
        except BrokenService as fault:
            if self._ending.is_set():
                return _stopped()
            return _failure(f"the service cannot be loaded: {str(fault).splitlines()[-1]}")
        except subprocess.TimeoutExpired:
            self._end()
            return _failure(f"the analysis took more than {timeout:.0f} s and was ended")
        except (OSError, EOFError, ValueError):  # the last is a pipe closed from this side
            told = self._how_it_ended(child) if child else "its process ended"
            self._end()
            if self._ending.is_set():
                return _stopped()
            return _failure(f"the analysis died: {told}")

    def close(self) -> None:
        """End the process, and a run that is in it. Any thread may call it."""
        self._ending.set()
        self._end()

    def _ready_child(self) -> _Child:
        """The process; a new one where it has died meanwhile."""
        if self._child is not None and self._child.process.poll() is not None:
            self._end()
        if self._child is None:
            self.start()
        if (child := self._child) is None:  # closed meanwhile
            raise EOFError
        return child

    def _begin(self, child: _Child, body: Mapping[str, Any], until: float) -> bool:
        """Hand the request over; whether the process has it."""
        assert child.process.stdin is not None  # noqa: S101, it is a pipe
        try:
            child.process.stdin.write(json.dumps(dict(body)) + "\n")
            child.process.stdin.flush()
        except OSError:
            return False
        return self._hear(child, until) is not _END

    def _answer(
        self, child: _Child, until: float, tell: Callable[[float, str], None]
    ) -> dict[str, Any]:
        while (heard := self._hear(child, until)) is not _END:
            if "progress" in heard:
                tell(*heard["progress"])
            if "answer" in heard:
                self._runs += 1
                if self._runs >= self._runs_a_process:
                    self._end()
                found: dict[str, Any] = heard["answer"]
                return found
        raise EOFError

    def _hear(self, child: _Child, until: float) -> dict[str, Any] | None:
        """What the process says next; nothing more where it has ended."""
        try:
            return child.heard.get(timeout=max(until - time.monotonic(), 0.0))
        except queue.Empty:
            raise subprocess.TimeoutExpired(self._name, 0) from None

    def _how_it_ended(self, child: _Child) -> str:
        try:
            status = child.process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            return "its process closed its output"
        if status >= 0:
            return f"its process ended with exit status {status}"
        name = signal.Signals(-status).name
        return f"its process was ended by {name}{_REASONS.get(name, '')}"

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        _kill(child.process)
        child.process.wait()
        for pipe in (child.process.stdin, child.process.stdout):
            if pipe is not None:
                _close(pipe)


def _kill(process: subprocess.Popen[str]) -> None:
    if not hasattr(os, "killpg"):  # Windows
        process.kill()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # gone already; the latter is macOS's word for it
        process.kill()


def _close(pipe: Any) -> None:
    try:
        pipe.close()
    except OSError:
        return  # what was not yet written has nobody to read it


def _listen(child: _Child) -> None:
    """Hand on what the process says, until its output ends."""
    assert child.process.stdout is not None  # noqa: S101, it is a pipe
    try:
        for line in child.process.stdout:
            child.heard.put(json.loads(line))
    except ValueError:
        pass  # cut off, or closed from this side
    child.heard.put(_END)


def _stopped() -> dict[str, Any]:
    return _failure("the service was stopped during the analysis", hint="start it anew")


def _failure(message: str, hint: str | None = None) -> dict[str, Any]:
    return AnalysisFailed(message, hint=hint).as_document()
