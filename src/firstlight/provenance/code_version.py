"""What software made a product: firstlight itself and the numerical libraries below it."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib import metadata

import firstlight
from firstlight.provenance.fingerprint import fingerprint

__all__ = ["NUMERICAL_LIBRARIES", "software_id", "software_versions"]

# Libraries whose version may change a number in a product.
NUMERICAL_LIBRARIES = ("astropy", "cdshealpix", "numba", "numpy", "pyerfa", "scipy", "sep")


@lru_cache(maxsize=1)
def software_versions() -> dict[str, str]:
    """Versions of Python, firstlight and the numerical libraries, and the processor family."""
    versions = {name: metadata.version(name) for name in NUMERICAL_LIBRARIES}
    versions["firstlight"] = firstlight.__version__
    versions["python"] = platform.python_version()
    versions["machine"] = platform.machine()
    return versions


@lru_cache(maxsize=1)
def software_id() -> str:
    """Fingerprint of `software_versions`."""
    return fingerprint(software_versions())
