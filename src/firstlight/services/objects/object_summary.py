"""What a list shows of a light curve, kept ready: counts, first, last, brightest, mean.

The numbers are kept for each audience of points apart, so that a viewer is shown those of the
points that they may see, and of no others.
"""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Uuid, delete, exists, func, select, type_coerce
from sqlalchemy.orm import Session
from sqlalchemy.types import NullType

from firstlight.algorithms.photometry.magnitudes import AB_ZERO_POINT_UJY
from firstlight.models.base import finite_or_none
from firstlight.models.database import Database, bulk_insert
from firstlight.models.object import Object, PhotometrySummary
from firstlight.models.photometry import Photometry
from firstlight.services.objects.current_points import current_sets

__all__ = ["SummaryKeeper", "merged_numbers", "summarise", "visible_numbers", "visible_totals"]

DETECTED_SIGMA = 3.0
# Objects whose points are read at once, and how many points that may be.
_OBJECTS = 1_000
_POINTS = 200_000
_NUMBERS = (
    "flux_ujy", "flux_err_ujy", "mag", "mag_err", "limiting_mag", "rel_flux", "rel_flux_err",
)  # fmt: skip

Floats = NDArray[np.float64]
Piece = dict[str, Any]


class SummaryKeeper:
    """Makes the summaries that are missing, as after an upgrade of an older database.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def make_missing(self) -> int:
        """Summarise every object that has points and no summary; returns how many.

        A few hundred a transaction, so that other writers get their turn.
        """
        made = 0
        last: uuid.UUID | None = None
        while True:
            with self._database.begin() as session:
                query = (
                    select(Object.id)
                    .where(
                        ~exists().where(PhotometrySummary.object_id == Object.id),
                        exists().where(Photometry.object_id == Object.id),
                    )
                    .order_by(Object.id)
                    .limit(_OBJECTS // 2)
                )
                if last is not None:
                    # Objects of which no point counts stay without a summary: not looked at again.
                    query = query.where(Object.id > last)
                some = list(session.scalars(query))
                if not some:
                    return made
                made += summarise(session, some)
                last = some[-1]


def summarise(session: Session, object_ids: Iterable[uuid.UUID | None]) -> int:
    """Make the summaries of objects anew from all points that count. Does not commit.

    To be called by whoever has written, changed or removed points, in the same transaction.

    Parameters
    ----------
    object_ids
        Of objects; repeated ones and None are passed over.

    Returns
    -------
    int
        Objects that have a summary now.
    """
    wanted = sorted({each for each in object_ids if each is not None})
    made = 0
    for start in range(0, len(wanted), _OBJECTS):
        batch = wanted[start : start + _OBJECTS]
        # Two that summarise one object at a time must see each other's points: the later waits.
        session.execute(
            select(Object.id)
            .where(Object.id.in_(batch))
            .order_by(Object.id)
            .with_for_update(key_share=True)
        ).all()
        sets = current_sets(session, batch)
        rows = []
        for some in _portions(session, batch):
            rows += [_row(ident, pieces) for ident, pieces in _pieces(session, some, sets).items()]
        session.execute(delete(PhotometrySummary).where(PhotometrySummary.object_id.in_(batch)))
        bulk_insert(session, PhotometrySummary, rows)
        made += len(rows)
    return made


def visible_numbers(
    filters: Mapping[str, Any], audiences: Collection[int] | None
) -> dict[str, Any] | None:
    """The numbers of the points that belong to audiences, from `PhotometrySummary.filters`.

    Parameters
    ----------
    audiences
        That the viewer belongs to; None for all.

    Returns
    -------
    dict or None
        As `merged_numbers`; None where no point can be seen.
    """
    pieces = _visible(filters, audiences)
    return merged_numbers(pieces) if pieces else None


def visible_totals(
    filters: Mapping[str, Any], audiences: Collection[int] | None
) -> dict[str, Any] | None:
    """As `visible_numbers`, but only those that lists are sought by: of thousands at a time.

    Returns
    -------
    dict or None
        ``n_detections``, ``last_detected_mjd``, ``last_detected_mag`` and ``peak_mag``.
    """
    pieces = _visible(filters, audiences)
    return _totals(pieces) if pieces else None


def _visible(filters: Mapping[str, Any], audiences: Collection[int] | None) -> list[Piece]:
    return [
        piece
        for some in filters["pieces"].values()
        for piece in some
        if audiences is None or piece["audience"] in audiences
    ]


def merged_numbers(pieces: Collection[Piece]) -> dict[str, Any]:
    """The numbers of several pieces together, and of each filter under ``filters``."""
    by_filter: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_filter[piece["filter"]].append(piece)
    filters = {name: _together(some) for name, some in sorted(by_filter.items())}
    return {**_together(pieces), "filters": filters}


def _totals(pieces: Collection[Piece]) -> dict[str, Any]:
    seen = [each for each in pieces if each["n_detections"]]
    last = max(seen, key=itemgetter("last_mjd"), default=None)
    peaks = [each["peak_mag"] for each in seen if each["peak_mag"] is not None]
    return {
        "n_detections": sum(each["n_detections"] for each in seen),
        "last_detected_mjd": last and last["last_mjd"],
        "last_detected_mag": last and last["last_mag"],
        "peak_mag": min(peaks, default=None),
    }


def _together(pieces: Collection[Piece]) -> dict[str, Any]:
    seen = [each for each in pieces if each["n_detections"]]
    bright = [each for each in seen if each["peak_mag"] is not None]
    first = min(seen, key=itemgetter("first_mjd"), default=None)
    last = max(seen, key=itemgetter("last_mjd"), default=None)
    peak = min(bright, key=itemgetter("peak_mag"), default=None)
    count = sum(each["n_mags"] for each in bright)
    mean = sum(each["mean_mag"] * each["n_mags"] for each in bright) / count if count else None
    square = None
    if mean is not None:
        spread = (each["rms_mag"] ** 2 + (each["mean_mag"] - mean) ** 2 for each in bright)
        square = sum(s * each["n_mags"] for s, each in zip(spread, bright, strict=True)) / count
    limits = [each["deepest_limit"] for each in pieces if each["deepest_limit"] is not None]
    return {
        **_totals(pieces),
        "n_points": sum(each["n_points"] for each in pieces),
        "first_detected_mjd": first and first["first_mjd"],
        "first_detected_mag": first and first["first_mag"],
        "first_detected_filter": first and first["filter"],
        "last_detected_filter": last and last["filter"],
        "peak_mjd": peak and peak["peak_mjd"],
        "peak_filter": peak and peak["filter"],
        "faintest_mag": max((each["faintest_mag"] for each in bright), default=None),
        "mean_mag": mean,
        "scatter_mag": None if square is None else math.sqrt(max(square, 0.0)),
        "deepest_limit": max(limits, default=None),
        "recent_mjd": max(each["recent_mjd"] for each in pieces),
    }


_COLUMNS = (
    "n_points", "n_detections", "first_detected_mjd", "last_detected_mjd", "last_detected_mag",
    "last_detected_filter", "peak_mag", "peak_mjd", "peak_filter", "mean_mag",
)  # fmt: skip


def _row(ident: uuid.UUID, pieces: list[Piece]) -> dict[str, Any]:
    numbers = merged_numbers(pieces)
    filters: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        filters[piece["filter"]].append(piece)
    audiences = sorted({piece["audience"] for piece in pieces})
    return {
        "object_id": ident,
        **{name: numbers[name] for name in _COLUMNS},
        "only_audience_id": audiences[0] if len(audiences) == 1 else None,
        "filters": {"audiences": audiences, "pieces": dict(filters)},
    }


def _portions(session: Session, batch: list[uuid.UUID]) -> Iterable[list[uuid.UUID]]:
    """Objects in portions whose points fit in memory; one alone may have more."""
    counts = session.execute(
        select(Photometry.object_id, func.count())
        .where(Photometry.object_id.in_(batch))
        .group_by(Photometry.object_id)
    )
    portion: list[uuid.UUID] = []
    points = 0
    for ident, count in counts:
        if portion and points + count > _POINTS:
            yield portion
            portion, points = [], 0
        portion.append(ident)
        points += count
    if portion:
        yield portion


def _pieces(
    session: Session, batch: list[uuid.UUID], sets: Mapping[uuid.UUID, set[uuid.UUID]]
) -> dict[uuid.UUID, list[Piece]]:
    """The numbers of each object, filter and audience."""
    stored = _StoredIds(session)
    known = Photometry.__table__.c
    query = select(
        type_coerce(known.object_id, NullType()),
        type_coerce(known.set_id, NullType()),
        *(known[name] for name in ("filter", "audience_id", "mjd", *_NUMBERS)),
    ).where(known.object_id.in_(batch))
    # There may be very many, and the session would look at each.
    rows = session.connection().execute(query).all()
    current = {stored.of(ident): set(map(stored.of, some)) for ident, some in sets.items()}
    none: set[Any] = set()
    # A star has many points in few sets: what belongs together is found by its triple.
    numbers: dict[tuple[Any, str, int], int] = {}
    kept, group = [], []
    for row in rows:
        if row[1] is None or row[1] in current.get(row[0], none):
            kept.append(row[4:])
            key = (row[0], row[2] or "", row[3])
            group.append(numbers.setdefault(key, len(numbers)))
    found: dict[uuid.UUID, list[Piece]] = defaultdict(list)
    if not kept:
        return found
    points = _Points.of(np.array(kept, dtype=float), np.array(group))
    idents = {stored.of(ident): ident for ident in batch}
    for (ident, name, audience), piece in zip(numbers, points.pieces(), strict=True):
        found[idents[ident]].append({"filter": name, "audience": audience, **piece})
    return found


class _StoredIds:
    """Ids as the driver gives them: to make an object of each point's ids takes half the time."""

    def __init__(self, session: Session) -> None:
        dialect = session.get_bind().dialect
        self._bound = Uuid().dialect_impl(dialect).bind_processor(dialect)

    def of(self, ident: uuid.UUID) -> Any:
        """The stored form of an id."""
        return ident if self._bound is None else self._bound(ident)


@dataclass(frozen=True)
class _Points:
    """Points sorted by group, then time; `start` is the first of each group."""

    start: NDArray[np.intp]
    mjd: Floats
    mag: Floats
    detected: NDArray[np.bool_]
    limit: Floats

    @classmethod
    def of(cls, values: Floats, group: NDArray[np.intp]) -> _Points:
        """Points as the table has them, columns ``mjd`` and `_NUMBERS`; NaN where there is none."""
        order = np.lexsort((values[:, 0], group))
        mjd, flux, flux_err, mag, mag_err, limit, rel, rel_err = values[order].T
        with np.errstate(divide="ignore", invalid="ignore"):
            ab = AB_ZERO_POINT_UJY - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
            signal = np.where(np.isfinite(flux), flux / flux_err, rel / rel_err)
            # A magnitude without a flux is a detection, unless its own error denies it.
            by_mag = np.isfinite(mag) & ~(mag_err > 2.5 / np.log(10.0) / DETECTED_SIGMA)
            known = np.isfinite(signal)
            detected = np.where(known, signal >= DETECTED_SIGMA, by_mag)
        sorted_group = group[order]
        start = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]])
        return cls(start, mjd, np.where(np.isfinite(ab), ab, mag), detected, limit)

    def pieces(self) -> list[Piece]:
        """The numbers of each group, in order."""
        size = np.diff(np.r_[self.start, len(self.mjd)])
        row = np.arange(len(self.mjd))
        shown = self.detected & np.isfinite(self.mag)
        first = np.minimum.reduceat(np.where(self.detected, row, len(row)), self.start)
        last = np.maximum.reduceat(np.where(self.detected, row, -1), self.start)
        bright = np.minimum.reduceat(np.where(shown, self.mag, np.inf), self.start)
        faint = np.maximum.reduceat(np.where(shown, self.mag, -np.inf), self.start)
        at_peak = shown & (self.mag == np.repeat(bright, size))
        peak = np.minimum.reduceat(np.where(at_peak, row, len(row)), self.start)
        n_mags = np.add.reduceat(shown.astype(float), self.start)
        sums = np.add.reduceat(np.where(shown, self.mag, 0.0), self.start)
        mean = sums / np.maximum(n_mags, 1.0)
        apart = np.where(shown, self.mag - np.repeat(mean, size), 0.0)
        rms = np.sqrt(np.add.reduceat(apart**2, self.start) / np.maximum(n_mags, 1.0))
        deepest = np.fmax.reduceat(self.limit, self.start)
        n_detected = np.add.reduceat(self.detected.astype(int), self.start)
        found = []
        for n, count in enumerate(size.tolist()):
            piece: Piece = {
                "n_points": count,
                "n_detections": int(n_detected[n]),
                "n_mags": int(n_mags[n]),
                "deepest_limit": finite_or_none(deepest[n]),
                "recent_mjd": float(self.mjd[self.start[n] + count - 1]),
            }
            piece |= dict.fromkeys(("first_mjd", "first_mag", "last_mjd", "last_mag"))
            piece |= dict.fromkeys(("peak_mag", "peak_mjd", "faintest_mag", "mean_mag", "rms_mag"))
            if n_detected[n]:
                piece["first_mjd"] = float(self.mjd[first[n]])
                piece["first_mag"] = finite_or_none(self.mag[first[n]])
                piece["last_mjd"] = float(self.mjd[last[n]])
                piece["last_mag"] = finite_or_none(self.mag[last[n]])
            if n_mags[n]:
                piece["peak_mag"], piece["faintest_mag"] = float(bright[n]), float(faint[n])
                piece["peak_mjd"] = float(self.mjd[peak[n]])
                piece["mean_mag"], piece["rms_mag"] = float(mean[n]), float(rms[n])
            found.append(piece)
        return found
