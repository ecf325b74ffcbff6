"""PSF: the image of a star, over one Image."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, reconstructor

from firstlight.errors import InternalError
from firstlight.models.base import Base
from firstlight.models.data_root import data_path
from firstlight.models.provenance import Product

if TYPE_CHECKING:
    from firstlight.algorithms.psf.model import PsfModel

__all__ = ["PSF"]


class PSF(Product, Base):
    """How a point source looks at any place of an image; the model is a file, read when used."""

    __tablename__ = "psfs"

    sources_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("source_lists.id"), index=True)
    """The stars it was learned from, and so the image."""
    fwhm: Mapped[float]
    """Pixels, in the middle of the image."""
    n_stars: Mapped[int]
    varies: Mapped[bool]
    """Whether it changes over the image."""
    filename: Mapped[str] = mapped_column(String(512), unique=True)
    sha256: Mapped[str | None] = mapped_column(String(64))

    def __init__(self, **columns: object) -> None:
        super().__init__(**columns)
        self._model: PsfModel | None = None

    @reconstructor
    def _forget_model(self) -> None:
        self._model = None

    @property
    def model(self) -> PsfModel:
        """The PSF itself."""
        if self._model is None:
            if not self.filename:
                raise InternalError("this PSF has neither a model nor a file")
            from firstlight.formats.psf_file import read_psf  # noqa: PLC0415, slow to load

            self._model = read_psf(data_path(self.filename))
        return self._model

    @model.setter
    def model(self, model: PsfModel) -> None:
        self._model = model
        self.n_stars, self.varies = model.stars, model.varies
