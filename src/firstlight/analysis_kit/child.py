"""The process in which an author's function runs: requests come in, progress and answers go out.

``python -m firstlight.analysis_kit.child MODULE:FUNCTION [MEGABYTES [SECONDS]]``: what it may
take of memory and of the processor, 0 for no limit. Each message is one line of JSON. What the
function prints goes to standard error, for standard output is the way out.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from dataclasses import asdict
from typing import IO, Any

from firstlight.analysis_kit.loading import NotAService, load
from firstlight.analysis_kit.progress import Progress
from firstlight.analysis_kit.running import answer

__all__ = ["main"]

_BROKEN = 3  # exit status where the function could not be loaded


def main(arguments: list[str]) -> int:
    """Answer requests until there is nobody to answer. Returns only where nothing was loaded."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    requests, out = _take_the_pipes()
    _limit(*(int(each) for each in arguments[1:]))
    try:
        service = load(arguments[0])
    except NotAService as fault:
        _say(out, broken=str(fault))
        return _BROKEN
    except BaseException:  # noqa: BLE001, whatever an author's module raises is told
        _say(out, broken=traceback.format_exc())
        return _BROKEN
    declaration = {
        **asdict(service.declaration),
        "parameters": dict(service.declaration.parameters),
    }
    _say(out, ready=declaration, is_declared=service.is_declared)
    progress = Progress(lambda fraction, message: _say(out, progress=[fraction, message]))
    while True:
        body = json.loads(requests.get())
        _say(out, begun=True)
        _say(out, answer=answer(service, body, progress))
        sys.stderr.flush()


def _take_the_pipes() -> tuple[queue.SimpleQueue[str], IO[str]]:
    """Requests as they come in, and the way out; the function's own input and output are others.

    When the server is gone this process ends at once: nobody waits for what it would give.
    """
    incoming = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in incoming:
            requests.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return requests, outgoing


def _say(out: IO[str], **message: Any) -> None:
    out.write(json.dumps(message, allow_nan=False, default=str) + "\n")
    out.flush()


def _limit(megabytes: int = 0, seconds: int = 0) -> None:
    try:
        import resource  # noqa: PLC0415, not on Windows, where there are no such limits
    except ModuleNotFoundError:
        return
    if megabytes:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    if seconds:  # the first signal says what it was, the second one cannot be caught
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
