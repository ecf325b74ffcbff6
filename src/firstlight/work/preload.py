"""Loads what all workers share, into the process that they are forked from.

That process imports modules by name and nothing else, so this one works by being imported there,
and nowhere else. What it is to load comes in the environment.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os

from firstlight.work.pool_worker import MODULES_VARIABLE

__all__: list[str] = []


def _load(names: list[str]) -> None:
    # All of it stays. To look for garbage among it takes a quarter of the time of loading, and
    # in each worker it would touch, and so copy, the memory that they share.
    gc.disable()
    for name in names:
        with contextlib.suppress(ImportError):  # the first job that needs it will tell
            importlib.import_module(name)
    gc.freeze()
    gc.enable()


_load(os.environ.get(MODULES_VARIABLE, "").split())
