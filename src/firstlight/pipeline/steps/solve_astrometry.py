"""solve_astrometry: where an image is on the sky."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray

from firstlight.algorithms.plate.plate_solve import (
    FIELD_LOW,
    NotSolved,
    PlateSolution,
    Prior,
    Stars,
    StarsNear,
    plate_solve,
    solve_blindly,
    verify_projection,
)
from firstlight.algorithms.plate.quads import QuadTable
from firstlight.algorithms.sky.projection import Projection
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.formats.tables import TableData
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.image import Image
from firstlight.models.sky_search import place
from firstlight.pipeline.polishing import MeasuredPlaces, polished
from firstlight.pipeline.settings import SolveAstrometrySettings
from firstlight.pipeline.step import Step, StepImpossible, Workpiece

__all__ = ["NotSolvedError", "OtherSolver", "SolveAstrometry"]

Floats = NDArray[np.float64]

# Reasons after which the whole sky is worth a search.
ELSEWHERE = frozenset({"no_match", "no_index"})


class OtherSolver(Protocol):
    """Another program that can be asked, for example `formats.solve_field.SolveField`."""

    @property
    def installed(self) -> bool:
        """Whether it is there."""

    def solve(
        self,
        x: Floats,
        y: Floats,
        flux: Floats,
        shape: tuple[int, int],
        prior: Prior | None = None,
    ) -> Projection | None:
        """A proposal, or None."""


class NotSolvedError(StepImpossible):
    """The image was not solved."""

    code = "astrometry.not_solved"


class SolveAstrometry(Step):
    """Plate solving: hinted, then blind, then by another program; always verified by odds.

    Only what the reference catalogue confirms is accepted, whoever proposed it. The projection
    is then fitted again to all clean stars by their errors, where these are enough.

    Parameters
    ----------
    settings
        How far the header may be off, and what may be tried.
    catalog
        Reference stars.
    quads
        Gives the index of the whole sky when a blind search needs it.
    other
        Asked when all else failed, where it is installed and the settings allow it.
    """

    name = "solve_astrometry"
    version = "2"
    makes = "wcs"
    product_class = WorldCoordinates
    after = ("find_sources",)

    def __init__(
        self,
        settings: SolveAstrometrySettings,
        *,
        catalog: ReferenceCatalog,
        quads: Callable[[], QuadTable] | None,
        other: OtherSolver | None = None,
    ) -> None:
        self.settings = settings
        self._other = other if settings.solve_field else None
        self._catalog = catalog
        self._quads = quads if settings.blind else None

    def parameters(self) -> dict[str, Any]:
        """All settings, and the catalogue's release."""
        return {**self.settings.critical(), "catalog": self._catalog.release}

    def run(self, piece: Workpiece) -> WorldCoordinates:
        """Solve the piece's source list.

        Raises
        ------
        NotSolvedError
            With the reason; a solution that may be a chance coincidence is not accepted.
        """
        image, sources = piece.image, piece.sources
        assert image is not None  # noqa: S101, the recipe runs the earlier steps before
        assert sources is not None  # noqa: S101, likewise
        table = sources.table
        pixels = np.stack([table["x"], table["y"], _brightness(table)])
        answer = self._solve(image, pixels)
        if isinstance(answer, NotSolved):
            raise NotSolvedError(
                f"not solved: {answer.reason}",
                subject=piece.exposure.filename,
                field=f"section {piece.section_id}",
                found=f"{pixels.shape[1]} sources",
            )
        solution, stars = polished(
            answer, _places(table), (image.ny, image.nx), self._stars_near(image)
        )
        piece.notes |= {"how": answer.how, "expected": answer.n_expected, "polished_by": stars}
        return self._product(solution, image, sources.id)

    def _stars_near(self, image: Image) -> StarsNear:
        """The catalogue at the time of the image."""
        epoch = float(Time(image.mjd, format="mjd").jyear)

        def stars_near(ra: float, dec: float, radius: float) -> Stars:
            stars = self._catalog.cone(ra, dec, radius, epoch=epoch)
            return stars.ra, stars.dec, stars.mag

        return stars_near

    def _solve(self, image: Image, pixels: Floats) -> PlateSolution | NotSolved:
        shape = (image.ny, image.nx)
        stars_near = self._stars_near(image)
        prior = self._prior(image)
        shallow = self._too_shallow(prior, shape)
        if shallow is not None:
            return shallow
        x, y, light = pixels
        answer = plate_solve(x, y, light, shape, stars_near, prior=prior)
        if isinstance(answer, NotSolved) and answer.code in ELSEWHERE and self._quads is not None:
            scale, index = (prior.scale_low, prior.scale_high), self._quads()
            answer = solve_blindly(answer, x, y, light, shape, stars_near, scale=scale, index=index)
        if isinstance(answer, NotSolved) and answer.code in ELSEWHERE:
            answer = self._ask_other(answer, pixels, shape, stars_near, prior)
        return answer

    def _too_shallow(self, prior: Prior, shape: tuple[int, int]) -> NotSolved | None:
        """Why no search is worth its time, where the catalogue cannot serve so small a field.

        With a pointing the stars that there are tell, and `plate_solve` says how many.
        """
        if prior.ra is not None or prior.scale_high is None:
            return None
        width = max(shape) * prior.scale_high / 3600.0
        if width >= FIELD_LOW:
            return None
        return NotSolved(
            f"the header has no pointing, and with at most {width:.2g} degrees the field is "
            f"smaller than the {FIELD_LOW:g} that {self._catalog.name} serves in a blind search",
            "catalogue_too_shallow",
        )

    def _ask_other(
        self,
        answer: NotSolved,
        pixels: Floats,
        shape: tuple[int, int],
        stars_near: StarsNear,
        prior: Prior,
    ) -> PlateSolution | NotSolved:
        """What another program proposes, if the catalogue's stars confirm it."""
        if self._other is None or not self._other.installed:
            return answer
        x, y, light = pixels
        proposal = self._other.solve(x, y, light, shape, prior)
        if proposal is None:
            return replace(answer, reason=f"{answer.reason}; solve-field found nothing either")
        judged = verify_projection(x, y, light, shape, stars_near, projection=proposal)
        if isinstance(judged, PlateSolution):
            return replace(judged, how="solve-field")
        told = "; solve-field's answer is not confirmed by the catalogue"
        return replace(answer, reason=answer.reason + told)

    def _prior(self, image: Image) -> Prior:
        scale, tolerance = image.pixel_scale, self.settings.scale_tolerance
        return Prior(
            ra=image.ra,
            dec=image.dec,
            radius=self.settings.hint_radius,
            scale_low=scale * (1 - tolerance) if scale else None,
            scale_high=scale * (1 + tolerance) if scale else None,
        )

    def _product(
        self, solution: PlateSolution, image: Image, sources_id: object
    ) -> WorldCoordinates:
        projection = solution.projection.with_inverse((image.ny, image.nx))
        ra, dec = projection.pixel_to_sky((image.nx - 1) / 2, (image.ny - 1) / 2)
        corners = projection.footprint((image.ny, image.nx))
        scale = projection.pixel_scale
        made = WorldCoordinates(
            sources_id=sources_id,
            cards=projection.to_header(),
            catalog=f"{self._catalog.name} {self._catalog.release}",
            method=solution.how,
            pixel_scale=scale,
            rms_pixels=solution.rms,
            rms_arcsec=solution.rms * scale,
            n_matched=len(solution.detected),
            log_odds=float(solution.log_odds),
            radius=float(np.max(angular_separation(ra, dec, *corners))),
        )
        place(made, float(ra), float(dec))
        return made


def _places(table: TableData) -> MeasuredPlaces:
    x, y = (np.asarray(table[name], float) for name in ("x", "y"))
    x_err, y_err, flags = (np.asarray(table[name]) for name in ("x_err", "y_err", "flags"))
    return MeasuredPlaces(x, y, x_err, y_err, flags)


def _brightness(table: TableData) -> Floats:
    """Flux in the middle aperture; the matched filter's signal where that is not known."""
    flux = np.asarray(table["flux"])
    middle = flux[:, flux.shape[1] // 2]
    return np.where(np.isfinite(middle) & (middle > 0), middle, np.asarray(table["snr"]))
