"""measure_changes: numbers on each candidate, and whether it is kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.candidates.cuts import DELETION_CUTS, Cut, apply_cuts
from firstlight.algorithms.candidates.measures import KnownStars, Measures, saturated_pixels
from firstlight.algorithms.photometry.magnitudes import (
    AB_ZERO_POINT_UJY,
    flux_ujy,
    magnitude_error,
)
from firstlight.algorithms.sources.sharpest_stars import point_sources
from firstlight.formats.cutout_file import CutoutRows
from firstlight.models.base import finite_or_none
from firstlight.models.measurement import Measurement, MeasurementSet
from firstlight.models.sky_search import place
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.changes import measure_changes
from firstlight.pipeline.real_bogus_choice import RealBogusModel, choose_model
from firstlight.pipeline.settings import MeasureChangesSettings
from firstlight.pipeline.step import Step, Workpiece

__all__ = ["MeasureChanges"]

UNLIKE = "it does not look like the new sources that the model was trained on"
_OWN_COLUMNS = frozenset({"flux", "flux_error", "x", "y"})


class MeasureChanges(Step):
    """Fit the PSF to each candidate, measure its shape, cut what cannot be new, score the rest.

    Parameters
    ----------
    settings
        Cuts, and the model that tells real from bogus.
    """

    name = "measure_changes"
    version = "5"
    makes = "measurements"
    product_class = MeasurementSet
    after = ("preprocess", "find_sources", "fit_psf", "find_changes", "solve_photometry")

    def __init__(self, settings: MeasureChangesSettings) -> None:
        self.settings = settings
        self._model: RealBogusModel = choose_model(settings.model)
        self._cuts = _cuts(settings.cuts)

    def parameters(self) -> dict[str, Any]:
        """All settings, and the version of the model."""
        return {**self.settings.critical(), "model_version": self._model.version}

    def run(self, piece: Workpiece) -> MeasurementSet:
        """Measure the piece's cutouts."""
        cutouts, image, used = piece.cutouts, piece.image, piece.reference
        assert cutouts is not None  # noqa: S101, the recipe runs the earlier steps before
        assert image is not None  # noqa: S101, likewise
        assert used is not None  # noqa: S101, the caller chose it
        assert piece.psf is not None  # noqa: S101, the recipe runs the earlier steps before
        rows = cutouts.rows
        measures = measure_changes(rows, piece.psf.fwhm, _known_stars(piece))
        reasons, real = self.judge(measures)
        made = MeasurementSet(
            cutouts_id=cutouts.id,
            image_id=image.id,
            difference_id=cutouts.difference_id,
            reference_id=used.reference.id,
            n_candidates=len(rows),
            n_kept=sum(not why for why in reasons),
            model=f"{self.settings.model} {self._model.version}",
        )
        made.measurements = _rows(piece, rows, measures, real, reasons)
        piece.notes |= {"candidates": made.n_candidates, "kept": made.n_kept}
        return made

    def judge(self, measures: Measures) -> tuple[list[list[str]], NDArray[np.float64]]:
        """All that speaks against each candidate, and its probability of being a new source."""
        judged = apply_cuts(measures, self._cuts)
        real = self._model.score(measures)
        reasons = [
            list(why) if probability >= self.settings.real_above else [*why, UNLIKE]
            for why, probability in zip(judged.reasons, real.tolist(), strict=True)
        ]
        return reasons, real


def _cuts(changed: dict[str, tuple[float | None, float | None]]) -> tuple[Cut, ...]:
    """The cuts that come with firstlight, with those of the settings in their place."""
    kept = [cut for cut in DELETION_CUTS if cut.measure not in changed]
    reasons = {cut.measure: cut.reason for cut in DELETION_CUTS}
    own = [
        Cut(
            measure,
            reasons.get(measure, f"{measure} is outside of what the settings allow"),
            -np.inf if lowest is None else lowest,
            np.inf if highest is None else highest,
        )
        for measure, (lowest, highest) in changed.items()
        if lowest is not None or highest is not None
    ]
    return (*kept, *own)


def _known_stars(piece: Workpiece) -> KnownStars:
    assert piece.sources is not None  # noqa: S101, the recipe runs the earlier steps before
    assert piece.image is not None  # noqa: S101, likewise
    table = piece.sources.table
    x, y, light = (np.asarray(table[c], np.float64) for c in ("x", "y", "total_flux"))
    stars = point_sources(table) & np.isfinite(light)
    return KnownStars(x[stars], y[stars], light[stars], *saturated_pixels(piece.image.flags))


def _rows(
    piece: Workpiece,
    rows: CutoutRows,
    measures: Measures,
    real: NDArray[np.float64],
    reasons: list[list[str]],
) -> list[Measurement]:
    image, wcs, zero = piece.image, piece.wcs, piece.zero_point
    assert image is not None  # noqa: S101, the recipe runs the earlier steps before
    assert wcs is not None  # noqa: S101, likewise
    assert zero is not None  # noqa: S101, likewise
    columns = measures.columns()
    told = {name: column.tolist() for name, column in columns.items() if name not in _OWN_COLUMNS}
    ra, dec = wcs.projection.pixel_to_sky(measures.x, measures.y)
    error = np.sqrt(np.maximum(columns["xx"] + columns["yy"], 0.0) / 2.0) * wcs.pixel_scale
    # Those of the map: its errors hold what the subtraction leaves at bright galaxies.
    flux, flux_err = rows.found.flux, rows.found.flux_error
    made = []
    for n in range(len(rows)):
        row = Measurement(
            number=n,
            mjd=image.mjd,
            filter=image.filter,
            x=float(measures.x[n]),
            y=float(measures.y[n]),
            position_err=finite_or_none(error[n]),
            score=float(rows.found.score[n]),
            flux=float(flux[n]),
            flux_err=float(flux_err[n]),
            real=float(real[n]),
            is_kept=not reasons[n],
            why_not=reasons[n],
            flags=int(rows.found.flags[n]),
            measures={name: _json(column[n]) for name, column in told.items()},
            **_brightness(float(flux[n]), float(flux_err[n]), zero),
        )
        place(row, float(ra[n]), float(dec[n]))
        made.append(row)
    return made


def _brightness(flux: float, error: float, zero: ZeroPoint) -> dict[str, float | None]:
    """µJy and AB magnitudes; magnitudes of what is below no noise are left out."""
    light, noise = flux_ujy((flux, error), zero.zero_point, zero.ab_offset).tolist()
    size = abs(light)
    bright = size > 0 and math.isfinite(noise)
    return {
        "flux_ujy": finite_or_none(light),
        "flux_err_ujy": finite_or_none(noise),
        "mag": AB_ZERO_POINT_UJY - 2.5 * math.log10(size) if bright else None,
        "mag_err": finite_or_none(magnitude_error(size, noise)) if bright else None,
    }


def _json(value: Any) -> Any:
    """JSON knows neither NaN nor infinity."""
    if isinstance(value, list):
        return [_json(each) for each in value]
    return value if np.isfinite(value) else None
