"""What was read of stored sections, so that it is not read again for every exposure."""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine

from firstlight.instruments.sections import SectionHistory

__all__ = ["Histories"]


class Histories:
    """Stored sections of one instrument, per database, shared by all its instances."""

    def __init__(self) -> None:
        self.loaded: WeakKeyDictionary[Engine, tuple[float, SectionHistory]] = WeakKeyDictionary()
        self.instances: WeakKeyDictionary[Engine, dict[int, Any]] = WeakKeyDictionary()
        self.lock = threading.RLock()

    def forget(self, engine: Engine) -> None:
        """Let what one database said be read anew."""
        with self.lock:
            self.loaded.pop(engine, None)
            self.instances.pop(engine, None)
