"""fit_psf: the image of a star, over the image."""

from __future__ import annotations

from typing import Any

import numpy as np

from firstlight.models.psf import PSF
from firstlight.pipeline.image_sky import map_sky
from firstlight.pipeline.psf_stars import learn_psf
from firstlight.pipeline.step import Step, StepImpossible, Workpiece
from firstlight.pipeline.steps.find_sources import FALLBACK_FWHM

__all__ = ["FitPsf", "NoPsfStars"]


class NoPsfStars(StepImpossible):
    """There are too few clear stars to learn the PSF from."""

    code = "psf.too_few_stars"


class FitPsf(Step):
    """Learn the PSF from the clear, single stars of the source list."""

    name = "fit_psf"
    version = "3"
    makes = "psf"
    product_class = PSF
    after = ("preprocess", "find_sources")

    def parameters(self) -> dict[str, Any]:
        """None."""
        return {}

    def run(self, piece: Workpiece) -> PSF:
        """Make the PSF of the piece's image.

        Raises
        ------
        NoPsfStars
            There are too few stars.
        """
        image, sources = piece.image, piece.sources
        assert image is not None  # noqa: S101, the recipe runs the earlier steps before
        assert sources is not None  # noqa: S101, likewise
        piece.sky = sky = piece.sky or map_sky(image.data, image.flags)
        table = sources.table
        places = (
            np.asarray(table["x"], np.float64),
            np.asarray(table["y"], np.float64),
            np.asarray(table["total_flux"], np.float64),
        )
        width = sources.fwhm or FALLBACK_FWHM
        noise = np.where(image.weight > 0, np.square(sky.rms), np.float32(np.inf))
        model = learn_psf((image.data - sky.level, noise, image.flags), table, places, width)
        if model is None:
            raise NoPsfStars(
                subject=piece.exposure.filename,
                field=f"section {piece.section_id}",
                found=f"{sources.n_sources} sources",
                expected="some clear, single stars well above the noise",
            )
        made = PSF(sources_id=sources.id, fwhm=float(width))
        made.model = model
        piece.notes["stars"] = model.stars
        return made
