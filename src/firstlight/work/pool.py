"""A pool of worker processes for work that needs a whole CPU.

Unlike ``concurrent.futures`` it survives the death of a worker (only the job that the worker had
is charged), ends one job without ending the others, and leaves no process behind when its own
process is killed. Each `run` blocks the thread that calls it; the pool has no thread of its own.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from multiprocessing import connection, forkserver, resource_tracker
from typing import TYPE_CHECKING

from firstlight.errors import InternalError
from firstlight.work.engine import JsonValue, WorkerSetup, to_json
from firstlight.work.pool_worker import MODULES_VARIABLE, serve
from firstlight.work.retry import Cause, Report

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

__all__ = [
    "JobCancelled",
    "JobTimedOut",
    "PoolClosed",
    "ProcessPool",
    "WorkerDied",
    "load_modules",
]

_LOADER = "firstlight.work.preload"
# One job, one CPU: what the libraries' own threads would gain, the neighbours would lose.
_THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# What image arrays leave behind is kept for the next ones: asking the system for it again costs a
# sixth of the time of a section, most of it to fill pages with zeros. A worker that has nothing to
# do gives it back. For glibc; others ignore it.
_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2 << 30)}
_borrowing_environment = threading.Lock()
_borrowing_main = threading.Lock()


class WorkerDied(InternalError):
    """The worker process died while it had the job."""

    code = "work.worker_died"


class JobTimedOut(InternalError):
    """The job took longer than its kind allows."""

    code = "work.timed_out"


class PoolClosed(BaseException):
    """The pool was closed under a job. Not an Exception: it says nothing about the job."""


class JobCancelled(BaseException):
    """The job was cancelled. Not an Exception: it is not a fault."""


class _Gone(Exception):
    """The process at the other end has died."""


class _Worker:
    """One worker process and the channel to it. Used by one thread at a time, save `kill`."""

    def __init__(self, setup: WorkerSetup) -> None:
        context = multiprocessing.get_context("forkserver")
        self._channel, theirs = context.Pipe()
        self._process: ForkServerProcess = context.Process(
            target=serve, args=(theirs, setup.initializer, setup.argument), daemon=True
        )
        with _borrowing_main, _plain_main():
            self._process.start()
        theirs.close()
        self._ready = False

    def alive(self) -> bool:
        return self._process.is_alive()

    def set_up(self) -> Report:
        """Wait until the worker has done its setup; tells what became of that."""
        if self._ready:
            return Report()
        report = Report.from_dict(json.loads(self._receive(None) or b""))
        self._ready = report.cause is None
        return report

    def give(self, handler: str, payload: JsonValue) -> None:
        """Hand over a job, and see it taken."""
        request = to_json({"handler": handler, "payload": payload})
        try:
            self._channel.send_bytes(request.encode())
        except OSError as error:
            raise _Gone from error
        self._receive(None)

    def report(self, timeout_s: float | None) -> Report | None:
        """Wait for the end of the job at hand; None when it has not come in time."""
        message = self._receive(timeout_s)
        return None if message is None else Report.from_dict(json.loads(message))

    def _receive(self, timeout_s: float | None) -> bytes | None:
        ready = connection.wait([self._channel, self._process.sentinel], timeout_s)
        if not ready:
            return None
        try:
            # A worker that answers and then dies has answered.
            if self._channel.poll():
                return self._channel.recv_bytes()
        except (EOFError, OSError) as error:
            raise _Gone from error
        raise _Gone

    def kill(self) -> None:
        """End the process, and whatever it has started. Safe from any thread, and twice."""
        if self._process.pid is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def bury(self) -> int | None:
        """Kill, wait for the end, free what it held.

        Returns
        -------
        int | None
            The exit code, negative for a signal.
        """
        self.kill()
        self._process.join()
        exit_code = self._process.exitcode
        self._channel.close()
        self._process.close()
        return exit_code


class _Seat:
    """A place in the pool: a worker, or the room for one, and the job that it has."""

    def __init__(self) -> None:
        self.worker: _Worker | None = None
        self.key: str | None = None
        self.cancelled = False


class ProcessPool:
    """Worker processes that run handlers by name.

    Parameters
    ----------
    workers
        How many handlers run at once.
    setup
        What each worker does before its first job.
    """

    def __init__(self, workers: int, setup: WorkerSetup | None = None) -> None:
        self.size = workers
        self._setup = setup or WorkerSetup()
        self._changed = threading.Condition()
        self._seats = [_Seat() for _ in range(workers)]
        self._idle = list(self._seats)
        self._waiting: set[str] = set()
        self._refused: set[str] = set()
        self._closed = False

    def start(self) -> None:
        """Start the workers without waiting for them. Optional: `run` starts what it needs."""
        load_modules(self._setup.preload)
        threading.Thread(target=self._warm_up, name="pool-start", daemon=True).start()

    def _warm_up(self) -> None:
        for _ in self._seats:
            try:
                seat = self._take_seat(None)
            except PoolClosed:
                return
            try:
                if seat.worker is None:
                    self._seat_worker(seat)
            except (OSError, EOFError):
                return  # told by the first job, which will try again
            finally:
                with self._changed:
                    # To the other end of the line, so that the next turn finds an empty seat.
                    self._idle.insert(0, seat)
                    self._changed.notify_all()

    def __enter__(self) -> ProcessPool:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(
        self,
        handler: str,
        payload: JsonValue,
        *,
        key: str,
        timeout_s: float | None = None,
        on_start: Callable[[], None] | None = None,
    ) -> Report:
        """Run one handler in the next free worker, and wait for it.

        Parameters
        ----------
        key
            What `cancel` knows this call by.
        timeout_s
            Counted from the moment a worker has the job; the worker is killed after it.
        on_start
            Called in this thread when a worker has the job.

        Raises
        ------
        PoolClosed, JobCancelled
            The call was ended from outside.
        """
        seat = self._take_seat(key)
        try:
            worker = self._give(seat, handler, payload)
            if isinstance(worker, Report):
                return worker
            if on_start is not None:
                on_start()
            return self._await_report(seat, worker, timeout_s, handler)
        finally:
            with self._changed:
                seat.key, seat.cancelled = None, False
                self._idle.append(seat)
                self._changed.notify_all()

    def cancel(self, key: str) -> bool:
        """End the call of that key, by killing its worker where it has one.

        Returns
        -------
        bool
            Whether there was such a call.
        """
        with self._changed:
            for seat in self._seats:
                if seat.key == key:
                    seat.cancelled = True
                    if seat.worker is not None:
                        seat.worker.kill()
                    return True
            if key in self._waiting:
                self._refused.add(key)
                self._changed.notify_all()
                return True
        return False

    def close(self) -> None:
        """Kill all workers; every call that is under way raises `PoolClosed`. Safe twice."""
        with self._changed:
            self._closed = True
            for seat in self._seats:
                if seat.worker is not None:
                    seat.worker.kill()
            self._changed.notify_all()
        with self._changed:
            # Calls that had a worker give their seats back as soon as they have seen its end.
            self._changed.wait_for(lambda: len(self._idle) == self.size, timeout=3.0)
            for seat in self._idle:
                if seat.worker is not None:
                    seat.worker.bury()
                    seat.worker = None

    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""
        with self._changed:
            workers = [seat.worker for seat in self._seats if seat.worker is not None]
        return [w._process.pid for w in workers if w.alive() and w._process.pid]  # noqa: SLF001 - one module

    def _take_seat(self, key: str | None) -> _Seat:
        with self._changed:
            if key is not None:
                self._waiting.add(key)
            try:
                self._changed.wait_for(lambda: self._idle or self._closed or key in self._refused)
                if self._closed:
                    raise PoolClosed
                if key in self._refused:
                    raise JobCancelled
                seat = self._idle.pop()
                seat.key = key
                return seat
            finally:
                self._waiting.discard(key or "")
                self._refused.discard(key or "")

    def _seat_worker(self, seat: _Seat) -> _Worker:
        load_modules(self._setup.preload)  # of a pool that nobody has started
        worker = _Worker(self._setup)
        with self._changed:
            seat.worker = worker
            if self._closed or seat.cancelled:
                worker.kill()
        return worker

    def _give(self, seat: _Seat, handler: str, payload: JsonValue) -> _Worker | Report:
        """Hand the job to a living worker; deaths before that are not the job's fault."""
        trouble: Exception | None = None
        for _ in range(3):
            try:
                worker = seat.worker or self._seat_worker(seat)
                setup = worker.set_up()
                if setup.cause is not None:
                    self._bury(seat)
                    return setup
                worker.give(handler, payload)
            except (_Gone, OSError, EOFError) as error:
                trouble = error
                self._bury(seat)
                self._raise_if_ended(seat)
                continue
            return worker
        died = WorkerDied("No worker lives to take a job", subject=handler, found=trouble)
        return Report(error=dict(died.as_dict()), cause=Cause.WORKER_DIED)

    def _await_report(
        self, seat: _Seat, worker: _Worker, timeout_s: float | None, handler: str
    ) -> Report:
        began = time.monotonic()
        try:
            report = worker.report(timeout_s)
        except _Gone:
            exit_code = self._bury(seat)
            self._raise_if_ended(seat)
            died = WorkerDied(
                subject=handler,
                found=_describe(exit_code),
                hint="if it was killed: lack of memory? run fewer workers",
            )
            return Report(error=dict(died.as_dict()), cause=Cause.WORKER_DIED)
        if report is not None:
            return report
        self._bury(seat)
        self._raise_if_ended(seat)
        slow = JobTimedOut(
            subject=handler,
            found=f"{time.monotonic() - began:.1f} s",
            expected=f"at most {timeout_s} s",
        )
        return Report(error=dict(slow.as_dict()), cause=Cause.TIMED_OUT)

    def _bury(self, seat: _Seat) -> int | None:
        with self._changed:
            worker, seat.worker = seat.worker, None
        return None if worker is None else worker.bury()

    def _raise_if_ended(self, seat: _Seat) -> None:
        with self._changed:
            if self._closed:
                raise PoolClosed
            if seat.cancelled:
                raise JobCancelled


def _describe(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"


def load_modules(names: tuple[str, ...]) -> None:
    """Begin to load modules into the process that all workers are forked from; does not wait.

    That process is started here, with its libraries held to one thread, unless it lives already:
    then it has what it was first told to load. It has SIGINT blocked, which its children inherit:
    Ctrl-C is for the parent to answer, also while modules are still being loaded there.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload([_LOADER])
    variables = dict.fromkeys(_THREAD_LIMITS, "1") | _MEMORY | {MODULES_VARIABLE: " ".join(names)}
    with _borrowing_environment, _environment(variables):
        # The tracker first, because starting it unblocks SIGINT as a side effect.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _plain_main() -> Iterator[None]:
    """Hide ``__main__`` while a process starts, or the worker would run the user's script again.

    Handlers are importable by name and never live in ``__main__``.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
