"""subtract: the image minus the reference, and the score of what is left."""

from __future__ import annotations

from typing import Any

import numpy as np

from firstlight.algorithms.flags import UNUSABLE
from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.algorithms.plate.star_alignment import FrameStars
from firstlight.algorithms.sources.sharpest_stars import point_sources
from firstlight.formats.fits_image import Planes
from firstlight.models.image import Image, ImageInput, ImageKind
from firstlight.models.psf import PSF
from firstlight.models.sky_search import place
from firstlight.models.sources import SourceList
from firstlight.pipeline.changes import align_frames, on_new_pixels, subtract_aligned
from firstlight.pipeline.image_sky import detection_variance, map_sky
from firstlight.pipeline.settings import SubtractSettings
from firstlight.pipeline.sky_frame import SkyFrame, Subtracted, star_errors
from firstlight.pipeline.step import ReferenceProducts, Step, Workpiece

__all__ = ["Subtract", "frame_of", "subtracted"]


class Subtract(Step):
    """Lay the reference on the image by the stars of both, and subtract it with local PSFs.

    The difference is in electrons of the new image; beside its planes the file has ``score`` and
    ``flux_error``: the signal-to-noise ratio of a point source at each pixel, and one sigma of
    its flux.

    Parameters
    ----------
    settings
        Which method.
    """

    name = "subtract"
    version = "10"
    makes = "difference"
    product_class = Image
    after = ("preprocess", "find_sources", "fit_psf", "solve_astrometry")
    takes = ("reference",)

    def __init__(self, settings: SubtractSettings) -> None:
        self.settings = settings

    def parameters(self) -> dict[str, Any]:
        """All settings."""
        return self.settings.critical()

    def run(self, piece: Workpiece) -> Image:
        """Make the difference.

        Raises
        ------
        NotAligned, NoOverlap
            The image and its reference do not show the same field.
        """
        piece.changed = changed = _subtract(piece, self.settings.method)
        image, wcs, used = piece.image, piece.wcs, piece.reference
        assert image is not None  # noqa: S101, the recipe runs the earlier steps before
        assert wcs is not None  # noqa: S101, likewise
        assert used is not None  # noqa: S101, the caller chose it
        found = changed.subtraction
        width = _width(found.score[(found.flags & UNUSABLE) == 0])
        facts = {
            "reference": str(used.reference.id),
            "score_width": width,
            "flux_ratio": found.ratio.at((image.nx - 1) / 2.0, (image.ny - 1) / 2.0),
            "position_noise": found.residual.position,
            "relative_noise": found.residual.relative,
            "sky_scatter": found.scatter,
        }
        if used.reference.is_later_than(image.mjd):
            facts["compared_with"] = "a later reference"
        piece.notes |= facts
        made = Image(
            kind=ImageKind.DIFFERENCE.value,
            exposure_id=image.exposure_id,
            calibration={"subtract": facts | {"phases": found.phases and found.phases.lists()}},
            header=dict(image.header),
            **{name: getattr(image, name) for name in _SHARED},
        )
        if wcs.ra is not None and wcs.dec is not None:
            place(made, wcs.ra, wcs.dec)
        with np.errstate(divide="ignore"):
            weight = np.where(found.variance > 0, 1.0 / found.variance, 0.0)
        extras = {"score": found.score, "flux_error": found.flux_error}
        header = image.planes.header | wcs.cards
        made.planes = Planes(found.difference, weight, found.flags, header, extras)
        made.inputs = [
            ImageInput(role="new", number=0, input_image_id=image.id),
            ImageInput(role="reference", number=0, input_image_id=used.image.id),
        ]
        return made


_SHARED = (
    "instrument", "section_id", "filter", "binning", "temperature", "mjd", "exp_time", "gain",
    "read_noise", "saturation", "pixel_scale",
)  # fmt: skip


def subtracted(piece: Workpiece, method: str) -> Subtracted:
    """What `Subtract` left in memory; made again where it found its product done."""
    if piece.changed is None:
        piece.changed = _subtract(piece, method)
    return piece.changed


def frame_of(piece: Workpiece) -> SkyFrame:
    """The piece's image as a comparison takes it."""
    image, sources, psf = piece.image, piece.sources, piece.psf
    assert image is not None  # noqa: S101, the recipe runs the earlier steps before
    assert sources is not None  # noqa: S101, likewise
    assert psf is not None  # noqa: S101, likewise
    piece.sky = sky = piece.sky or map_sky(image.data, image.flags)
    residual = image.data - sky.level
    variance = detection_variance(residual, sky, image.flags)
    variance[image.weight <= 0] = np.inf
    name = f"{piece.exposure.filename}, section {piece.section_id}"
    return _frame(name, (residual, variance, image.flags), sources, psf)


def _reference_frame(used: ReferenceProducts) -> SkyFrame:
    planes = used.image.data, used.image.variance, used.image.flags
    name = f"reference {used.reference.field} version {used.reference.version}"
    return _frame(name, planes, used.sources, used.psf)


def _frame(name: str, planes: tuple[Any, Any, Any], sources: SourceList, psf: PSF) -> SkyFrame:
    table = sources.table
    x, y, snr, light = (np.asarray(table[c], np.float64) for c in ("x", "y", "snr", "total_flux"))
    known = np.isfinite(light)
    clear = np.flatnonzero(point_sources(table) & known)
    width = np.asarray(table["fwhm"], np.float64)
    flags = np.asarray(table["flags"]).astype(np.uint16)
    error = star_errors(snr, psf.fwhm, flags, width, clear)
    return SkyFrame(
        name=name,
        pixels=planes[0],
        variance=planes[1],
        flags=planes[2],
        psf=psf.model,
        fwhm=psf.fwhm,
        sources=FrameStars(x, y, np.where(known, light, snr), error),
        clear=clear,
    )


def _subtract(piece: Workpiece, method: str) -> Subtracted:
    assert piece.reference is not None  # noqa: S101, the caller chose it
    new, reference = frame_of(piece), _reference_frame(piece.reference)
    alignment = align_frames(new, reference)
    on_new = on_new_pixels(new, reference, alignment)
    return Subtracted(new, on_new, subtract_aligned(new, on_new, method))


def _width(score: np.ndarray) -> float:
    """Of the score where nothing changed; 1 where its errors are right. Every 11th pixel tells."""
    some = score[::11]
    some = some[some != 0]
    if not len(some):
        return 0.0
    return float(MAD_TO_SIGMA * np.median(np.abs(some - np.median(some))))
