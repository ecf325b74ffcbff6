"""Alert packets: Avro, with the schema in each file, cutouts inside.

The schema is ours (``alert_schema.json``), with LSST's names where it has the thing. Files of
others, such as ZTF's, are read as they describe themselves.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from firstlight.errors import BadFile, MissingDependency

__all__ = [
    "NJY_OF_UJY",
    "SCHEMA_VERSION",
    "BadAlert",
    "encode_alert",
    "read_alerts",
    "stamp_bytes",
]

SCHEMA_VERSION = "1.0"
NJY_OF_UJY = 1000.0
_AVRO = b"Obj\x01"
MOST_BYTES = 64 << 20
"""A file of alerts may be so large."""


class BadAlert(BadFile):
    """The file does not hold alert packets."""

    code = "alert.bad"


def encode_alert(packet: Mapping[str, Any]) -> bytes:
    """Write one packet as a file of its own.

    Parameters
    ----------
    packet
        As the schema has it; values of other types are refused.

    Raises
    ------
    MissingDependency
        fastavro is not installed.
    """
    stream = io.BytesIO()
    # Without a random mark between blocks, the same packet gives the same bytes.
    _fastavro().writer(
        stream, _schema(), [packet], codec="deflate", sync_marker=bytes(16), strict=True
    )
    return stream.getvalue()


def read_alerts(content: bytes, *, name: str = "alert") -> list[dict[str, Any]]:
    """Read the packets of a file, ours or another survey's.

    Raises
    ------
    BadAlert
        It is no Avro file, or too large.
    MissingDependency
        fastavro is not installed.
    """
    if len(content) > MOST_BYTES:
        raise BadAlert(
            subject=name, found=f"{len(content)} bytes", expected=f"at most {MOST_BYTES}"
        )
    if not content.startswith(_AVRO):
        found = repr(content[:16])
        raise BadAlert(subject=name, found=found, expected="an Avro file: it begins with Obj")
    reader = _fastavro().reader
    try:
        return [dict(packet) for packet in reader(io.BytesIO(content))]
    except Exception as fault:  # the reader stumbles over bad bytes in as many ways as there are
        raise BadAlert(subject=name, found=f"{type(fault).__name__}: {fault}") from fault


def stamp_bytes(pixels: NDArray[np.float32]) -> bytes:
    """A stamp ``(k, k)`` as FITS packed with gzip; the same one gives the same bytes."""
    stream = io.BytesIO()
    fits.PrimaryHDU(np.asarray(pixels, np.float32)).writeto(stream)
    return gzip.compress(stream.getvalue(), 6, mtime=0)


@cache
def _schema() -> Any:
    text = (files("firstlight.formats") / "alert_schema.json").read_text(encoding="utf-8")
    return _fastavro().parse_schema(json.loads(text))


def _fastavro() -> ModuleType:
    try:
        import fastavro  # noqa: PLC0415, an extra
    except ModuleNotFoundError as fault:
        raise MissingDependency(
            "alert packets need fastavro",
            expected="the package fastavro",
            hint="pip install 'firstlight[alerts]'",
        ) from fault
    return fastavro
