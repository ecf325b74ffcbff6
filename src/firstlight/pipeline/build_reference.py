"""build_reference: several images of a field as one deep image, with all a subtraction takes."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from firstlight.algorithms.coaddition.coadd import Coadd, weighted_mean
from firstlight.algorithms.coaddition.proper_coadd import proper_coadd
from firstlight.algorithms.resampling.image_pair import AlignedImage
from firstlight.formats.fits_image import Planes
from firstlight.models.image import Image, ImageInput, ImageKind
from firstlight.models.provenance import Product
from firstlight.models.reference import Reference
from firstlight.models.sky_search import place
from firstlight.models.sources import SourceList
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.image_stack import ImageStack, SolvedImage, stack_images
from firstlight.pipeline.passing_things import find_passing, without
from firstlight.pipeline.recipe import Recipe
from firstlight.pipeline.step import Step, StepImpossible, Workpiece
from firstlight.pipeline.steps.fit_psf import FitPsf
from firstlight.pipeline.steps.solve_photometry import NoZeroPoint
from firstlight.provenance.fingerprint import product_id
from firstlight.provenance.lineage import Lineage

__all__ = ["METHODS", "BuiltReference", "ReferenceBuilder", "TooFewImages"]

VERSION = "3"
STEPS = ("find_sources", "fit_psf", "solve_astrometry", "solve_photometry")


class TooFewImages(StepImpossible):
    """There are too few images for a reference."""

    code = "reference.too_few_images"


@dataclass(frozen=True, eq=False)
class BuiltReference:
    """What came of it, unsaved.

    Attributes
    ----------
    products
        Image, sources, PSF, place, zero point if there is one: in the order of their rows.
    reference
        The row that names them all; without its version.
    """

    products: list[Product]
    reference: Reference


def _weighted(frames: Sequence[AlignedImage], scales: Sequence[float]) -> Coadd:
    return weighted_mean(frames, scales)


def _clipped(frames: Sequence[AlignedImage], scales: Sequence[float]) -> Coadd:
    return weighted_mean(without(frames, find_passing(frames, scales)), scales)


def _proper(frames: Sequence[AlignedImage], scales: Sequence[float]) -> Coadd:
    with tempfile.TemporaryDirectory(prefix="firstlight-") as folder:
        return proper_coadd(frames, scales, outliers=find_passing(frames, scales, Path(folder)))


METHODS: dict[str, Callable[[Sequence[AlignedImage], Sequence[float]], Coadd]] = {
    "weighted": _weighted,
    "clipped": _clipped,
    "proper": _proper,
}
"""By their names in settings: all pixels; without outliers; without, nothing lost of seeing."""


class ReferenceBuilder:
    """Makes references with the steps of a recipe.

    Parameters
    ----------
    recipe
        Its steps find the sources, the place and the zero point, as they do in single images.
    method
        One of `METHODS`.
    """

    def __init__(self, recipe: Recipe, method: str) -> None:
        self.method = method
        steps: dict[str, Step] = {step.name: step for step in recipe.steps}
        steps["fit_psf"] = FitPsf()
        self._steps = steps
        solved = recipe.lineages["solve_photometry"]
        # Where a step takes a calibrated image, it gets the coadd.
        known = {"preprocess": Lineage("coadd", VERSION, {"method": method}, (solved,))}
        for name in STEPS:
            upper = tuple(known[before] for before in steps[name].after)
            known[name] = Lineage(name, steps[name].version, steps[name].parameters(), upper)
        self._lineages = known
        last = (known["fit_psf"], known["solve_photometry"])
        self.lineage = Lineage("build_reference", VERSION, {}, last)
        """Of the whole; all others are upstream of it."""

    def expected_id(self, section_id: str, zero_points: Sequence[uuid.UUID]) -> uuid.UUID:
        """The id of the reference that is made of these images, told by their zero points.

        The first is the one whose pixels it takes; the order of the others does not matter.
        """
        return product_id(self.lineage.id, _inputs(zero_points), section_id)

    def build(
        self, field_name: str, images: Sequence[SolvedImage], min_images: int
    ) -> BuiltReference:
        """Make a reference.

        Parameters
        ----------
        field_name
            What it shows.
        images
            Of one section; the first gives its pixels, its epoch is that of all.
        min_images
            So many must be left when those are out that do not fit.

        Raises
        ------
        TooFewImages
            With the reasons.
        StepImpossible
            The deep image has too few stars, or cannot be solved.
        """
        with tempfile.TemporaryDirectory(prefix="firstlight-") as folder:
            stack = stack_images(images, Path(folder))
            if len(stack.frames) < min_images:
                raise TooFewImages(
                    subject=f"{field_name}, section {images[0].image.section_id}",
                    found=f"{len(stack.frames)} of {len(images)}: {_in_words(stack.left_out)}",
                    expected=f"at least {min_images}",
                )
            coadd = METHODS[self.method](stack.frames, stack.scales)
        made = self._image(coadd, stack, images)
        return self._finished(field_name, made, stack, images)

    def _image(self, coadd: Coadd, stack: ImageStack, images: Sequence[SolvedImage]) -> Image:
        first = images[0].image
        made = Image(
            kind=ImageKind.REFERENCE.value,
            mjd=float(np.mean([each.image.mjd for each in stack.members])),
            calibration={"coadd": self._facts(stack)},
            header={},
            **{name: getattr(first, name) for name in _SHARED},
        )
        wcs = images[0].wcs
        if wcs.ra is not None and wcs.dec is not None:
            place(made, wcs.ra, wcs.dec)
        with np.errstate(divide="ignore"):
            weight = np.where(coadd.variance > 0, 1.0 / coadd.variance, 0.0)
        made.planes = Planes(coadd.pixels, weight, coadd.flags)
        ids = [each.zero_point.id for each in images]
        made.made_by(self._lineages["preprocess"], dict(_inputs(ids)), first.section_id)
        made.inputs = [
            ImageInput(image_id=made.id, role="coadd", number=n, input_image_id=each.image.id)
            for n, each in enumerate(stack.members)
        ]
        return made

    def _facts(self, stack: ImageStack) -> dict[str, Any]:
        return {
            "done": True,
            "method": self.method,
            "images": [each.name for each in stack.members],
            "flux_ratios": [round(scale, 5) for scale in stack.scales],
            "left_out": stack.left_out,
            "exp_time": float(sum(each.image.exp_time or 0.0 for each in stack.members)),
        }

    def _finished(
        self, field_name: str, made: Image, stack: ImageStack, images: Sequence[SolvedImage]
    ) -> BuiltReference:
        """Sources, PSF, place, zero point, and the row that names them."""
        piece = Workpiece(images[0].exposure, made.section_id, image=made)
        ids: dict[str, uuid.UUID] = {"coadd": made.id}
        products: list[Product] = [made]
        for name in STEPS:
            step = self._steps[name]
            try:
                product = step.run(piece)
            except NoZeroPoint:
                # A subtraction finds the ratio of fluxes itself.
                continue
            product.made_by(self._lineages[name], dict(ids), made.section_id)
            setattr(piece, step.makes, product)
            products.append(product)
            ids[name] = product.id
        row = self._row(field_name, piece, stack)
        row.made_by(
            self.lineage,
            dict(_inputs([each.zero_point.id for each in images])),
            made.section_id,
        )
        return BuiltReference(products, row)

    def _row(self, field_name: str, piece: Workpiece, stack: ImageStack) -> Reference:
        image, sources, wcs, psf = piece.image, piece.sources, piece.wcs, piece.psf
        assert image is not None  # noqa: S101, it is the coadd
        assert sources is not None  # noqa: S101, the steps ran
        assert wcs is not None  # noqa: S101, likewise
        assert psf is not None  # noqa: S101, likewise
        zero = piece.zero_point
        epochs = [each.image.mjd for each in stack.members]
        ra, dec = wcs.projection.footprint((image.ny, image.nx))
        row = Reference(
            image_id=image.id,
            sources_id=sources.id,
            psf_id=psf.id,
            wcs_id=wcs.id,
            zero_point_id=None if zero is None else zero.id,
            field=field_name,
            instrument=image.instrument,
            section_id=image.section_id,
            filter=image.filter,
            mjd_start=min(epochs),
            mjd_end=max(epochs),
            n_images=len(epochs),
            fwhm=psf.fwhm,
            seeing=psf.fwhm * wcs.pixel_scale,
            limiting_magnitude=_depth(image, sources, zero),
            corners=[[float(a), float(d)] for a, d in zip(ra, dec, strict=True)],
            radius=wcs.radius,
            method=self.method,
            usable=True,
            measures={**self._facts(stack), "binning": image.binning},
        )
        if wcs.ra is not None and wcs.dec is not None:
            place(row, wcs.ra, wcs.dec)
        return row


_SHARED = (
    "instrument", "section_id", "filter", "binning", "temperature", "exp_time", "gain",
    "read_noise", "saturation", "pixel_scale",
)  # fmt: skip


def _inputs(zero_points: Sequence[uuid.UUID]) -> Mapping[str, object]:
    return {
        "pixels_of": zero_points[0],
        "images": " ".join(sorted(str(ident) for ident in zero_points)),
    }


def _in_words(left_out: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in left_out.items()) or "no more were given"


def _depth(image: Image, sources: SourceList, zero: ZeroPoint | None) -> float | None:
    """Five sigma of a point source, by the variance of the coadd.

    The scatter of its pixels, which `find_sources` measures, is less: resampling has moved noise
    between neighbours.
    """
    if zero is None or zero.limiting_magnitude is None:
        return None
    some = image.weight[::4, ::4]
    some = some[some > 0]
    if not len(some) or sources.noise <= 0:
        return zero.limiting_magnitude
    true = float(np.median(some)) ** -0.5
    return float(zero.limiting_magnitude - 2.5 * np.log10(true / sources.noise))
