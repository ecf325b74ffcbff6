"""Small programs of ours that run apart from the server, within limits."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from firstlight.errors import RemoteError
from firstlight.formats.result_errors import ResultUnreadable

__all__ = ["LimitedPrograms", "ReaderBusy"]

log = logging.getLogger("firstlight.analyses")

# No setting, password or key of ours is in the environment of a program that reads what
# strangers have sent.
_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONHOME",
    "VIRTUAL_ENV", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR",
)  # fmt: skip
_QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "HDF5_PLUGIN_PRELOAD": "::",  # never look for plug-ins
    "PYTHONDONTWRITEBYTECODE": "1",
}
_LOG_SHOWN = 2000


class ReaderBusy(RemoteError):
    """Too many results are being read at the same time."""

    code = "analysis.reader_busy"


class LimitedPrograms:
    """Runs programs of ours, a few at a time.

    Parameters
    ----------
    at_once
        That may run at the same time.
    memory_bytes
        Of address space that one may take, beyond what Python needs.
    timeout_s
        Seconds that one may take, and also that one may wait for its turn.
    file_bytes
        Of one file that one may write.
    """

    def __init__(
        self, *, at_once: int, memory_bytes: int, timeout_s: float, file_bytes: int
    ) -> None:
        self._turns = threading.BoundedSemaphore(at_once)
        self._memory_bytes = memory_bytes
        self._timeout_s = timeout_s
        self._file_bytes = file_bytes

    def run(self, module: str, job: dict[str, Any], folder: Path) -> None:
        """Run a module with one argument of JSON: the job, its folder, its limits.

        Raises
        ------
        ResultUnreadable
            It took too long, or did not end well.
        ReaderBusy
            Its turn did not come.
        """
        process = {
            "memory_bytes": self._memory_bytes,
            "cpu_s": self._timeout_s,
            "file_bytes": self._file_bytes,
        }
        told = json.dumps({**job, "folder": str(folder), "process": process})
        if not self._turns.acquire(timeout=self._timeout_s):
            raise ReaderBusy(hint="send it again")
        try:
            self._run([sys.executable, "-P", "-m", module, told], folder)
        finally:
            self._turns.release()

    def _run(self, command: list[str], folder: Path) -> None:
        kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with tempfile.TemporaryFile() as errors:
            running = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=folder,
                env=kept | _QUIET,
                start_new_session=True,
            )
            try:
                code = running.wait(self._timeout_s)
            except subprocess.TimeoutExpired as fault:
                raise ResultUnreadable(
                    "reading the results takes too long", expected=f"at most {self._timeout_s:g} s"
                ) from fault
            finally:
                _end(running)
            errors.seek(0)
            said = errors.read(1 << 16).decode("utf-8", "replace")[-_LOG_SHOWN:]
        if said:
            log.warning("%s: %s", command[3], said)
        if code != 0:
            raise ResultUnreadable(
                found="ended by the system" if code < 0 else "no memory left, or a damaged file"
            )


def _end(running: subprocess.Popen[bytes]) -> None:
    """See to it that nothing of a program is left."""
    if running.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(running.pid, signal.SIGKILL)
            else:
                running.kill()
        running.wait()
