"""Artificial transients in a real image: put in, and looked for by the very steps of the recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from firstlight.algorithms.candidates.find import find_candidates
from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.photometry.completeness import Completeness, fit_completeness, inject
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA
from firstlight.algorithms.sources.sharpest_stars import point_sources
from firstlight.errors import InvalidInput
from firstlight.formats.tables import TableData
from firstlight.models.base import finite_or_none
from firstlight.pipeline.changes import cut_changes, measure_changes, subtract_aligned
from firstlight.pipeline.image_sky import detection_variance
from firstlight.pipeline.sky_frame import SkyFrame, Subtracted
from firstlight.pipeline.step import StepImpossible, Workpiece
from firstlight.pipeline.steps.find_changes import FindChanges
from firstlight.pipeline.steps.measure_changes import MeasureChanges
from firstlight.pipeline.steps.subtract import Subtract, subtracted

__all__ = ["FakeWish", "Fakes", "NoRoom", "inject_and_find"]

Floats = NDArray[np.float64]

MATCH = 1.0  # FWHM between a fake and what is taken for it
APART = 8.0  # FWHM between fakes, and from what has changed in truth
BRIGHTER, FAINTER = 3.0, 1.0  # magnitudes around the limiting one
HOST_SNR = 10.0
_BIN = 0.5  # magnitudes
_TRIES = 20
_TOLD_ABOVE = 8.0  # signal-to-noise ratio of fakes that tell the bias: fainter ones are chosen


class NoRoom(StepImpossible):
    """There is no room for artificial transients in this image."""

    code = "fakes.no_room"


@dataclass(frozen=True)
class FakeWish:
    """How many fakes, and where.

    Attributes
    ----------
    number
        So many, or as many as there is room for.
    hosted
        Share of them that lie on galaxies, where there are any.
    seed
        Of places, magnitudes and photons: the same one gives the same fakes.
    """

    number: int = 100
    hosted: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.number <= 100_000:
            raise InvalidInput(field="number", found=self.number, expected="1 to 100000")
        if not 0 <= self.hosted <= 1:
            raise InvalidInput(field="hosted", found=self.hosted, expected="0 to 1")


@dataclass(frozen=True)
class Fakes:
    """What became of them.

    Attributes
    ----------
    table
        One row a fake: ``x, y`` (pixels), ``mag``, ``flux`` (electrons), ``hosted``, ``found``
        (above the threshold), ``kept`` (nothing spoke against it), and of those found ``score``,
        ``measured``, ``measured_err`` (electrons) and ``real``; else NaN. ``forced`` and
        ``forced_err`` are the flux and error that the difference tells at the very place of
        each: no threshold has chosen them.
    found, kept
        Completeness before and after all cuts.
    bias, bias_err
        Mean of measured over injected flux, less one, of those found with a signal-to-noise ratio
        of at least eight; NaN without any.
    """

    table: TableData
    found: Completeness
    kept: Completeness
    bias: float
    bias_err: float

    def summary(self) -> dict[str, Any]:
        """Completeness and bias in bins of magnitude, JSON values."""
        table = self.table
        mag, found, kept = (np.asarray(table[name]) for name in ("mag", "found", "kept"))
        ratio = np.asarray(table["measured"]) / np.asarray(table["flux"]) - 1.0
        place = np.floor(mag / _BIN).astype(int)
        bins = []
        for number in np.unique(place):
            here = place == number
            seen = here & found
            bins.append(
                {
                    "mag": float((number + 0.5) * _BIN),
                    "fakes": int(here.sum()),
                    "found": float(found[here].mean()),
                    "kept": float(kept[here].mean()),
                    "bias": float(np.median(ratio[seen])) if seen.any() else None,
                }
            )
        return {
            "bins": bins,
            "limit_found": finite_or_none(self.found.limit),
            "limit_found_err": finite_or_none(self.found.limit_err),
            "limit_kept": finite_or_none(self.kept.limit),
            "limit_kept_err": finite_or_none(self.kept.limit_err),
            "bias": finite_or_none(self.bias),
            "bias_err": finite_or_none(self.bias_err),
        }


def inject_and_find(
    piece: Workpiece,
    steps: tuple[Subtract, FindChanges, MeasureChanges],
    wish: FakeWish,
) -> Fakes:
    """Put transients into the piece's image and look for them; the piece stays as it is.

    Parameters
    ----------
    piece
        With all products up to the PSF, the zero point and the reference.
    steps
        Of the recipe, as they would run on it.

    Raises
    ------
    NoRoom
        No place of the image is free.
    FirstlightError
        As the steps of the recipe.
    """
    subtract, find, measure = steps
    changed = subtracted(piece, subtract.settings.method)
    rng = np.random.default_rng(wish.seed)
    x, y, hosted = _places(piece, changed, find.settings.threshold, wish, rng)
    mag, flux = _magnitudes(piece, len(x), rng)
    pixels = inject(changed.new.pixels, changed.new.psf, (x, y, flux), rng)
    new = _with_pixels(changed.new, piece, pixels)
    subtraction = subtract_aligned(new, changed.reference, subtract.settings.method)
    rows = cut_changes(new, changed.reference, subtraction, find.settings.threshold)
    measures = measure_changes(rows, new.fwhm, new.known_stars())
    reasons, real = measure.judge(measures)
    clean = np.array([not why for why in reasons], dtype=bool)
    at = _matches((x, y), (rows.found.x, rows.found.y), rows.found.score, MATCH * new.fwhm)
    seen = at >= 0
    taken = np.where(seen, at, 0)

    def of_found(values: NDArray[Any]) -> Floats:
        told = np.full(len(x), np.nan)
        told[seen] = np.asarray(values, np.float64)[taken[seen]]
        return told

    kept = seen & (clean[taken] if len(clean) else False)
    forced, forced_err = subtraction.flux_at(x, y)
    columns = {
        "x": x, "y": y, "mag": mag, "flux": flux, "hosted": hosted, "found": seen, "kept": kept,
        "score": of_found(rows.found.score), "measured": of_found(rows.found.flux),
        "measured_err": of_found(rows.found.flux_error), "real": of_found(real),
        "forced": forced, "forced_err": forced_err,
    }  # fmt: skip
    electrons = dict.fromkeys(
        ("flux", "measured", "measured_err", "forced", "forced_err"), "electron"
    )
    table = TableData(columns, units={"x": "pix", "y": "pix"} | electrons)
    bias, bias_err = _bias(columns)
    return Fakes(table, fit_completeness(mag, seen), fit_completeness(mag, kept), bias, bias_err)


def _with_pixels(frame: SkyFrame, piece: Workpiece, pixels: NDArray[np.float32]) -> SkyFrame:
    """The frame with other pixels, and the noise that these would have told."""
    assert piece.sky is not None  # noqa: S101, the subtraction has mapped it
    assert piece.image is not None  # noqa: S101, likewise
    variance = detection_variance(pixels, piece.sky, frame.flags)
    variance[piece.image.weight <= 0] = np.inf
    return replace(frame, pixels=pixels, variance=variance)


def _places(
    piece: Workpiece,
    changed: Subtracted,
    threshold: float,
    wish: FakeWish,
    rng: np.random.Generator,
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Free places, some of them on galaxies, none where something has changed already."""
    frame = changed.new
    ny, nx = frame.shape
    flags = frame.flags | changed.reference.flags
    hidden = (flags & np.uint16(UNUSABLE | Flag.NO_DATA)) != 0
    hidden |= ~np.isfinite(changed.subtraction.flux_error)
    margin = 2.0 * frame.fwhm
    there = find_candidates(changed.subtraction, frame.fwhm, threshold=threshold)
    taken = list(zip(there.x.tolist(), there.y.tolist(), strict=True))
    wanted = round(wish.hosted * wish.number)
    hosts = _hosts(piece, frame)
    drawn: list[tuple[float, float, bool]] = []
    for _ in range(_TRIES):
        if len(drawn) >= wish.number:
            break
        with_host = max(0, wanted - sum(each[2] for each in drawn)) if len(hosts) else 0
        picked = hosts[rng.integers(0, len(hosts), with_host)] if with_host else np.zeros((0, 3))
        spread = picked[:, 2:] * rng.normal(0.0, 0.6, (len(picked), 2))
        # As many as are wanted in all: where there is hardly any room few of them hit it.
        free = rng.uniform(0.0, (nx - 1, ny - 1), (wish.number, 2))
        places = np.vstack([picked[:, :2] + spread, free])
        for number, (x, y) in enumerate(places):
            inside = margin < x < nx - 1 - margin and margin < y < ny - 1 - margin
            if not inside or hidden[round(y), round(x)] or len(drawn) == wish.number:
                continue
            if not any(np.hypot(x - a, y - b) < APART * frame.fwhm for a, b in taken):
                drawn.append((float(x), float(y), number < len(picked)))
                taken.append((float(x), float(y)))
    if not drawn:
        raise NoRoom(subject=frame.name, expected="usable pixels away from its borders")
    columns = np.array(drawn)
    return columns[:, 0], columns[:, 1], columns[:, 2].astype(bool)


def _hosts(piece: Workpiece, frame: SkyFrame) -> Floats:
    """Extended sources of the image: x, y, and sigma of their light, pixels ``(n, 3)``."""
    assert piece.sources is not None  # noqa: S101, the subtraction has taken them
    table = piece.sources.table
    width = np.asarray(table["fwhm"], np.float64)
    clear = (np.asarray(table["snr"]) > HOST_SNR) & np.isfinite(width)
    extended = clear & ~point_sources(table) & (width > 1.3 * frame.fwhm)
    columns = np.asarray(table["x"]), np.asarray(table["y"]), width / FWHM_OF_SIGMA
    return np.column_stack([np.asarray(c, np.float64)[extended] for c in columns])


def _magnitudes(piece: Workpiece, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """AB magnitudes around the limiting one, and electrons."""
    zero = piece.zero_point
    assert zero is not None  # noqa: S101, the caller has looked
    limit = zero.limiting_magnitude
    if limit is None:
        raise StepImpossible("the limiting magnitude is not known", subject=piece.exposure.filename)
    mag = rng.uniform(limit - BRIGHTER, limit + FAINTER, count)
    return mag + zero.ab_offset, 10.0 ** (0.4 * (zero.zero_point - mag))


def _matches(
    fakes: tuple[Floats, Floats], found: tuple[Floats, Floats], score: Floats, reach: float
) -> NDArray[np.intp]:
    """Number of the nearest positive candidate within reach of each fake; -1 without."""
    positive = np.flatnonzero(score > 0)
    at = np.full(len(fakes[0]), -1, np.intp)
    if not len(positive):
        return at
    tree = cKDTree(np.column_stack([found[0][positive], found[1][positive]]))
    apart, nearest = tree.query(np.column_stack(fakes))
    at[apart <= reach] = positive[nearest[apart <= reach]]
    return at


def _bias(columns: dict[str, Any]) -> tuple[float, float]:
    """Weighted mean of measured over injected flux, less one, and its error."""
    snr = columns["flux"] / columns["measured_err"]
    told = columns["found"] & (snr >= _TOLD_ABOVE)
    if not told.any():
        return float("nan"), float("nan")
    weight = snr[told] ** 2
    ratio = columns["measured"][told] / columns["flux"][told] - 1.0
    return float(np.average(ratio, weights=weight)), float(1.0 / np.sqrt(weight.sum()))
