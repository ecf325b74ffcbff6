"""A PSF as a file: its arrays by name, nothing that could run."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from firstlight.algorithms.psf.model import PsfModel
from firstlight.errors import BadFile, MissingError

__all__ = ["BadPsf", "MissingPsf", "read_psf", "write_psf"]


class BadPsf(BadFile):
    """The file does not hold a PSF."""

    code = "psf.bad"


class MissingPsf(MissingError):
    """The PSF's file does not exist."""

    code = "psf.missing"


def write_psf(model: PsfModel) -> bytes:
    """Encode a PSF; the same one gives the same bytes."""
    stream = io.BytesIO()
    arrays: dict[str, Any] = {f.name: np.asarray(getattr(model, f.name)) for f in fields(model)}
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def read_psf(path: str | os.PathLike[str]) -> PsfModel:
    """Read what `write_psf` made.

    Raises
    ------
    MissingPsf, BadPsf
        There is no such file, or it holds something else.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return PsfModel(
                profile=_numbers(arrays["profile"], 4),  # type: ignore[arg-type]  # as many as named
                bends=arrays["bends"],
                nets=arrays["nets"],
                spacing=float(arrays["spacing"]),
                middle=_numbers(arrays["middle"], 2),  # type: ignore[arg-type]  # as many as named
                reach=_numbers(arrays["reach"], 2),  # type: ignore[arg-type]  # as many as named
                totals=arrays["totals"],
                radius=int(arrays["radius"]),
                stars=int(arrays["stars"]),
            )
    except FileNotFoundError:
        raise MissingPsf(subject=str(path)) from None
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
    ) as fault:
        raise BadPsf(subject=str(path), found=str(fault)) from fault


def _numbers(array: np.ndarray, count: int) -> tuple[float, ...]:
    if array.shape != (count,):
        raise ValueError(f"{count} numbers expected, shape {array.shape} found")
    return tuple(float(value) for value in array)
