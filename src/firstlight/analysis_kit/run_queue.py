"""The runs of a service: taken in, run one after the other, and handed back to the portal."""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from firstlight.analysis_kit.callbacks import CallbackSettings, Caller
from firstlight.analysis_kit.declaration import ServiceDeclaration
from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.kept_runs import KeptRuns
from firstlight.analysis_kit.worker import Worker

__all__ = ["Acceptance", "QueueSettings", "RunQueue"]

_LOG = logging.getLogger("firstlight.analysis")
_REMEMBERED = 2000
_END = None


class Acceptance(StrEnum):
    """What became of a request."""

    TAKEN = "taken"
    KNOWN = "known"  # the same run was taken before
    FULL = "full"
    STOPPING = "stopping"


@dataclass(frozen=True)
class QueueSettings:
    """How runs are run.

    Attributes
    ----------
    parallel
        Runs at the same time, each in a process of its own.
    most_waiting
        Runs that are taken in and not yet handed back; beyond that requests are turned away.
    memory_mb
        What one process may take; None for no limit.
    keep
        A folder that keeps accepted runs, so that they outlive the service.
    stop_s
        When the service stops, so long is tried to tell the portal what became of its runs.
    """

    parallel: int = 1
    most_waiting: int = 100
    memory_mb: int | None = None
    keep: Path | None = None
    stop_s: float = 10.0
    callbacks: CallbackSettings = field(default_factory=CallbackSettings)


@dataclass(frozen=True)
class _Run:
    key: str
    number: int
    body: Mapping[str, Any] = field(repr=False)  # it holds the secret of the callback
    caller: Caller = field(repr=False)

    def __str__(self) -> str:
        return f"run {self.number} of {self.body.get('resource_id') or 'an object'}"


class RunQueue:
    """Takes runs in, bounded, and sees each of them through.

    Whatever happens to a run, the portal is told: results, a fault, a process that died, or that
    the service was stopped. What could not be told is in the log.

    Parameters
    ----------
    name
        ``module:function`` or ``file.py:function``.
    """

    def __init__(self, name: str, settings: QueueSettings) -> None:
        self._settings = settings
        self._workers = [
            Worker(name, memory_mb=settings.memory_mb) for _ in range(settings.parallel)
        ]
        self._kept = None if settings.keep is None else KeptRuns(settings.keep)
        self._waiting: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()
        self._here: OrderedDict[str, bool] = OrderedDict()  # by key; whether it is not done
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._deliveries: set[threading.Thread] = set()
        self._timeout = 0.0
        self._number = 0

    def start(self) -> ServiceDeclaration:
        """Load the function, begin to run, and take up what an earlier service left.

        Raises
        ------
        BrokenService
            The function cannot be loaded.
        """
        declaration = self._workers[0].start()
        self._timeout = declaration.timeout
        for worker in self._workers:
            thread = threading.Thread(target=self._work, args=(worker,), daemon=True)
            thread.start()
            self._threads.append(thread)
        for key, body in (self._kept.left() if self._kept else {}).items():
            _LOG.info("a run of %s is taken up again", body.get("resource_id"))
            self._enter(key, body)
        return declaration

    def accept(self, body: Mapping[str, Any]) -> Acceptance:
        """Take a run in; it is on disk when this returns, where runs are kept."""
        key = hashlib.sha256(str(body["callback_url"]).encode()).hexdigest()[:32]
        with self._lock:
            if self._stopping.is_set():
                return Acceptance.STOPPING
            if key in self._here:
                return Acceptance.KNOWN
            if self._unfinished() >= self._settings.most_waiting:
                return Acceptance.FULL
            self._here[key] = True
        if self._kept is not None:
            try:
                self._kept.put(key, body)
            except OSError as fault:
                _LOG.error("a run cannot be kept, and is turned away: %s", fault)
                with self._lock:
                    self._here.pop(key)
                return Acceptance.FULL
        self._enter(key, body)
        return Acceptance.TAKEN

    def unfinished(self) -> int:
        """Runs that were taken in and are not yet handed back."""
        with self._lock:
            return self._unfinished()

    def stop(self) -> None:
        """Stop: tell the portal of every run that will not be done, or keep it for later."""
        with self._lock:
            self._stopping.set()
        for worker in self._workers:
            worker.close()
        for _ in self._threads:
            self._waiting.put(_END)
        until = time.monotonic() + self._settings.stop_s
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))
        with self._lock:
            left = list(self._deliveries)
        for thread in left:
            thread.join(max(until - time.monotonic(), 0.0))
        if self.unfinished():
            _LOG.error("%d runs were not handed back", self.unfinished())

    def _enter(self, key: str, body: Mapping[str, Any]) -> None:
        with self._lock:
            self._here[key] = True
            self._number += 1
            number = self._number
        caller = Caller(body, self._settings.callbacks, self._stopping)
        self._waiting.put(_Run(key, number, body, caller))

    def _unfinished(self) -> int:
        return sum(self._here.values())

    def _work(self, worker: Worker) -> None:
        while (run := self._waiting.get()) is not _END:
            if self._stopping.is_set():
                self._abandon(run)
                continue
            try:
                document = self._result(worker, run)
            except Exception:  # noqa: BLE001, whatever it is, the portal hears of its run
                _LOG.exception("%s", run)
                document = _failure("the service itself failed; its log says why")
            if self._stopping.is_set() and self._kept and document["status"] != "success":
                self._kept.put(run.key, run.body)  # ended by the stop: it begins anew next time
                continue
            self._hand_back(run, document)

    def _result(self, worker: Worker, run: _Run) -> dict[str, Any]:
        _LOG.info("%s begins", run)
        left = run.caller.seconds_left
        if left <= 0:
            return _failure("the run waited until it was too late")
        if self._kept and not self._kept.begin(run.key):
            return _failure("the service died during this run, each time it was tried")
        began = time.monotonic()
        document = worker.run(run.body, timeout=min(self._timeout, left), tell=run.caller.progress)
        took = time.monotonic() - began
        _LOG.info("%s: %s after %.1f s: %s", run, document["status"], took, document["message"])
        return document

    def _abandon(self, run: _Run) -> None:
        if self._kept is None:
            self._hand_back(run, _failure("the service was stopped before this run began"))

    def _hand_back(self, run: _Run, document: Mapping[str, Any]) -> None:
        """Call the portal from a thread of its own: a slow portal does not hold up the next run."""
        thread = threading.Thread(target=self._deliver, args=(run, document), daemon=True)
        with self._lock:
            self._deliveries.add(thread)
        thread.start()

    def _deliver(self, run: _Run, document: Mapping[str, Any]) -> None:
        try:
            outcome = run.caller.deliver(document)
            if outcome.arrived:
                _LOG.info("%s: handed back", run)
            else:
                _LOG.error("%s: not handed back: %s", run, outcome.why)
            if self._kept and outcome.is_final:
                self._kept.drop(run.key)
        finally:
            with self._lock:
                self._deliveries.discard(threading.current_thread())
                self._here[run.key] = False
                while len(self._here) > _REMEMBERED and not next(iter(self._here.values())):
                    self._here.popitem(last=False)


def _failure(message: str) -> dict[str, Any]:
    return AnalysisFailed(message).as_document()
