"""The only place where objects are wired.

A name is loaded when it is first asked for (PEP 562): most of the house hangs on each, and a
command that starts workers has them load their part of it before it loads its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firstlight.factory.outside import (
        compare_files,
        compile_kernels,
        diagnose,
        fetch_sample,
        measure_file,
        simulate_colour_night,
        simulate_night,
        simulate_pair,
        simulate_site,
        solve_file,
    )
    from firstlight.factory.preloading import preload_workers
    from firstlight.factory.workspace import Factory

__all__ = [
    "Factory",
    "compare_files",
    "compile_kernels",
    "diagnose",
    "fetch_sample",
    "measure_file",
    "preload_workers",
    "simulate_colour_night",
    "simulate_night",
    "simulate_pair",
    "simulate_site",
    "solve_file",
]

_ELSEWHERE = {"Factory": "workspace", "preload_workers": "preloading"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ELSEWHERE.get(name, 'outside')}"), name)
