"""Processor time of a PostgreSQL server on this machine, which is not that of its clients."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import event

from firstlight.models.database import Database

__all__ = ["BothMeter"]


class BothMeter:
    """Processor seconds of this process and of the server processes that answer it.

    Of an embedded database, and of a server on another machine, nothing is added.

    Parameters
    ----------
    database
        Before its first connection is made.
    """

    def __init__(self, database: Database) -> None:
        self._processes: set[int] = set()
        if not database.is_sqlite:
            event.listen(database.engine, "connect", self._note)

    def _note(self, connection: Any, _record: object) -> None:
        self._processes.add(connection.info.backend_pid)

    def server(self) -> float:
        """Seconds of the server."""
        spent = 0
        for process in self._processes:
            with suppress(FileNotFoundError):
                # Nanoseconds on a processor; the other accounts count hundredths of a second.
                spent += int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
        return spent / 1e9

    def both(self) -> float:
        """Seconds of both."""
        return time.process_time() + self.server()
