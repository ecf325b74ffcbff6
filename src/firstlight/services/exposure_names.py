"""Exposures by what people call them."""

from __future__ import annotations

import uuid

from sqlalchemy import ColumnElement, or_

from firstlight.models.exposure import Exposure

__all__ = ["file_named", "named"]


def named(exposure: str) -> ColumnElement[bool]:
    """Whether a row is the exposure of this id, or of the name that it is shown by."""
    try:
        return Exposure.id == uuid.UUID(exposure)
    except ValueError:
        return (Exposure.label == exposure) | (Exposure.base_filename == exposure)


def file_named(exposure: str) -> ColumnElement[bool]:
    """As `named`; the file's name and its end count, too. Reads all exposures."""
    end = Exposure.filename.endswith(f"/{exposure}", autoescape=True)
    return or_(named(exposure), Exposure.filename == exposure, end)
