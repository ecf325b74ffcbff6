"""Image: one section, calibrated, in electrons; also the master calibrations."""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, reconstructor, relationship

from firstlight.errors import InternalError
from firstlight.formats.fits_image import Planes, read_planes
from firstlight.models.base import Base, OnSky
from firstlight.models.data_root import data_path
from firstlight.models.provenance import Product

__all__ = ["Image", "ImageInput", "ImageKind"]


class ImageKind(StrEnum):
    """What an image is."""

    SCIENCE = "science"
    MASTER_BIAS = "master_bias"
    MASTER_DARK = "master_dark"
    MASTER_FLAT = "master_flat"
    MASTER_FRINGE = "master_fringe"
    ILLUMINATION = "illumination"
    BAD_PIXELS = "bad_pixels"
    STATIC_LEVEL = "static_level"
    REFERENCE = "reference"
    DIFFERENCE = "difference"


class ImageInput(Base):
    """Which images and exposures an image was made of, and in which role."""

    __tablename__ = "image_inputs"

    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, default=0)
    input_image_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("images.id"), index=True)
    input_exposure_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("exposures.id"), index=True
    )


class Image(OnSky, Product, Base):
    """One calibrated section of an exposure, or a master calibration.

    ``data`` (electrons), ``weight`` (inverse variance, electrons**-2), ``flags`` (uint16) are
    arrays of shape ``(ny, nx)``, loaded from the file when first used. ``ra`` and ``dec`` are
    the telescope's idea of the pointing; the solution is in `WorldCoordinates`.
    """

    __tablename__ = "images"
    __table_args__ = (Index("ix_images_choice", "kind", "instrument", "section_id", "mjd"),)

    kind: Mapped[str] = mapped_column(String(16))
    exposure_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("exposures.id"), index=True)
    instrument: Mapped[str] = mapped_column(String(64))
    section_id: Mapped[str] = mapped_column(String(32))
    filter: Mapped[str | None] = mapped_column(String(64))
    binning: Mapped[str] = mapped_column(String(16), default="1x1")
    temperature: Mapped[float | None]
    mjd: Mapped[float]
    exp_time: Mapped[float | None]
    nx: Mapped[int]
    ny: Mapped[int]
    gain: Mapped[float]
    read_noise: Mapped[float]
    saturation: Mapped[float | None]
    pixel_scale: Mapped[float | None]
    """Nominal, arcseconds per pixel."""
    calibration: Mapped[dict[str, Any]]
    """For each correction: done or not, with what, and why."""
    header: Mapped[dict[str, Any]]
    filename: Mapped[str] = mapped_column(String(512), unique=True)
    filename_extensions: Mapped[list[str] | None]
    sha256: Mapped[str | None] = mapped_column(String(64))
    inputs: Mapped[list[ImageInput]] = relationship(
        foreign_keys=ImageInput.image_id, order_by=(ImageInput.role, ImageInput.number)
    )

    def __init__(self, **columns: Any) -> None:
        super().__init__(**columns)
        self._planes: Planes | None = None
        self.score: NDArray[np.float32] | None = None
        self.psf: NDArray[np.float32] | None = None

    @reconstructor
    def _forget_planes(self) -> None:
        self._planes = None
        self.score = None
        self.psf = None

    @property
    def planes(self) -> Planes:
        """All planes; read from the file when first asked for."""
        if self._planes is None:
            if not self.filename:
                raise InternalError("this image has neither pixels nor a file")
            self._planes = read_planes(self._paths())
        return self._planes

    @planes.setter
    def planes(self, planes: Planes) -> None:
        self._planes = planes
        self.ny, self.nx = planes.data.shape

    @property
    def data(self) -> NDArray[np.float32]:
        """Pixels in electrons, shape ``(ny, nx)``."""
        return self.planes.data

    @property
    def weight(self) -> NDArray[np.float32]:
        """Inverse variance, shape ``(ny, nx)``; zero where there is no value."""
        return self.planes.weight

    @property
    def variance(self) -> NDArray[np.float32]:
        """Variance in electrons squared, shape ``(ny, nx)``; infinite where weight is zero."""
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / self.weight, dtype=np.float32)

    @property
    def flags(self) -> NDArray[np.uint16]:
        """Bits of `algorithms.flags.Flag`, shape ``(ny, nx)``."""
        return self.planes.flags

    @property
    def raw_header(self) -> dict[str, Any]:
        """The section's own header, as written to the file."""
        return self.planes.header

    def get_fullpath(self, *, as_list: bool = False) -> str | list[str]:
        """Path of the file on this machine, fetched from the server where needed."""
        paths = self._paths()
        return paths if as_list or self.filename_extensions else paths[0]

    def _paths(self) -> list[str]:
        names = [self.filename + extension for extension in self.filename_extensions or [""]]
        return [str(data_path(name)) for name in names]

    def free(self) -> None:
        """Let go of the pixels; they are read again when needed."""
        if self.sha256 is not None:
            self._planes = None
