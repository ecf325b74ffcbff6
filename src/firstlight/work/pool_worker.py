"""The life of one worker process: set up once, then jobs one by one until the parent goes."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import threading
from multiprocessing import connection

from firstlight.work import freed_memory
from firstlight.work.engine import JsonValue
from firstlight.work.handlers import call_handler, report_of, resolve
from firstlight.work.retry import Report

__all__ = ["MODULES_VARIABLE", "TAKEN", "serve"]

MODULES_VARIABLE = "FIRSTLIGHT_WORKER_MODULES"  # names of what all share, with spaces between
TAKEN = b'"taken"'
_REST_S = 2.0  # without a job: then others may need the memory more
_NICE = 5  # who waits for an answer of the parent goes first


def serve(channel: connection.Connection, initializer: str | None, argument: JsonValue) -> None:
    """Answer each request ``{"handler", "payload"}`` with `TAKEN`, then with a `Report` dict.

    A report of the setup comes first; the process ends there if that failed.
    Both directions carry JSON, so that what a job returns is never unpickled by the parent.
    """
    # A session of its own: Ctrl-C in the terminal reaches the parent alone, and the parent can
    # end a worker together with the programs that the worker has started.
    os.setsid()
    os.nice(_NICE)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _die_with_parent()
    services: object = None

    def set_up() -> Report:
        nonlocal services
        if initializer is not None:
            services = resolve(initializer)(argument)
        return Report()

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # parent is gone
        ready = report_of(set_up, initializer or "")
        channel.send_bytes(json.dumps(ready.as_dict()).encode())
        while ready.cause is None:
            if not channel.poll(_REST_S):
                freed_memory.give_back()
            request = json.loads(channel.recv_bytes())
            # From here on a death is charged to this job.
            channel.send_bytes(TAKEN)
            report = call_handler(request["handler"], request["payload"], services)
            channel.send_bytes(json.dumps(report.as_dict()).encode())


def _die_with_parent() -> None:
    """End this process and its children when the parent ends in any way, even by kill -9."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
