"""Things that are known to vary or to move, from files on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from firstlight.algorithms.sky.sky_index import unit_vectors
from firstlight.errors import BadFile, FirstlightError, MissingError
from firstlight.formats.tables import read_table
from firstlight.services.transients.settings import KnownCatalogSettings

__all__ = ["Known", "KnownCatalogMissing", "KnownCatalogUnreadable", "KnownObjects"]

Floats = NDArray[np.float64]
_HOURS = 24.0
_LONGEST_NAME = 128


class KnownCatalogMissing(MissingError):
    """The file of known objects is not there."""

    code = "transients.known_missing"


class KnownCatalogUnreadable(BadFile):
    """The file of known objects cannot be read, or lacks a column."""

    code = "transients.known_unreadable"


@dataclass(frozen=True)
class Known:
    """A thing that is known.

    Attributes
    ----------
    kind
        As the catalogue says; empty where it says nothing.
    moves
        Whether it is elsewhere at other times.
    """

    name: str
    kind: str
    moves: bool


class KnownObjects:
    """Tells what is known at places and times; files are read when first asked.

    Parameters
    ----------
    catalogs
        The first that has something at a place names it.
    folder
        Paths are relative to it.
    """

    def __init__(self, catalogs: Sequence[KnownCatalogSettings], folder: Path) -> None:
        self._settings = catalogs
        self._folder = folder

    def __bool__(self) -> bool:
        """Whether there is any catalogue."""
        return bool(self._settings)

    def check(self) -> None:
        """Look whether all files are there, before work begins that needs them.

        Raises
        ------
        KnownCatalogMissing
            Names the first that is not.
        """
        for each in self._settings:
            path = self._folder / each.path
            if not path.is_file():
                raise KnownCatalogMissing(subject=path, hint="see [[transients.known]]")

    def at(self, ra: Floats, dec: Floats, mjd: float) -> list[Known | None]:
        """What is known at each of some places (ICRS degrees) at one time (MJD, UTC).

        Raises
        ------
        KnownCatalogMissing, KnownCatalogUnreadable
            A file is not there, is damaged or lacks a column.
        """
        found: list[Known | None] = [None] * len(ra)
        vectors = unit_vectors(ra, dec)
        for catalog in self._catalogs:
            for n, known in catalog.at(vectors, mjd).items():
                found[n] = found[n] or known
        return found

    @cached_property
    def _catalogs(self) -> list[_Catalog]:
        return [_read(self._folder / each.path, each) for each in self._settings]


@dataclass(frozen=True)
class _Catalog:
    """One file; rows of things that move by name, then time.

    Attributes
    ----------
    mjd
        None for things that stay.
    rate
        Arcseconds an hour, 0 where it is not told.
    """

    settings: KnownCatalogSettings
    vectors: Floats
    names: list[str]
    kinds: list[str]
    mjd: Floats | None
    rate: Floats

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.vectors)

    def at(self, places: Floats, mjd: float) -> dict[int, Known]:
        if not len(places) or not len(self.vectors):
            return {}
        radius = np.radians(self.settings.radius_arcsec / 3600.0)
        if self.mjd is None:
            apart, row = self._tree.query(places, distance_upper_bound=_chord(radius))
            near = np.flatnonzero(np.isfinite(apart))
            return {int(n): self._known(int(row[n])) for n in near}
        row, vectors, blur = self._then(self.mjd, mjd)
        centre = places.mean(axis=0)
        reach = np.linalg.norm(places - centre, axis=1).max()
        here = np.linalg.norm(vectors - centre, axis=1) <= reach + _chord(radius + blur)
        row, vectors, blur = row[here], vectors[here], blur[here]
        found: dict[int, Known] = {}
        for n, place in enumerate(places):
            apart = np.linalg.norm(vectors - place, axis=1)
            reached = np.flatnonzero(apart <= _chord(radius + blur))
            if len(reached):
                found[n] = self._known(int(row[reached[apart[reached].argmin()]]))
        return found

    @cached_property
    def _thing(self) -> NDArray[np.intp]:
        """Number of the thing that each row is of; its rows follow each other."""
        names = np.array(self.names)
        return np.cumsum(np.r_[False, names[1:] != names[:-1]])[: len(names)]

    def _then(
        self, times: Floats, mjd: float
    ) -> tuple[NDArray[np.intp], Floats, NDArray[np.float64]]:
        """Row, place and uncertainty (radians) of everything that has a place at a time."""
        gap, thing = self.settings.longest_gap_days, self._thing
        step = np.diff(times)
        around = (thing[1:] == thing[:-1]) & (times[:-1] <= mjd) & (times[1:] > mjd) & (step <= gap)
        first = np.flatnonzero(around)
        share = (mjd - times[first]) / step[first]
        between = _between(self.vectors[first], self.vectors[first + 1], share)
        close = np.flatnonzero(np.abs(times - mjd) <= gap)
        close = close[~np.isin(thing[close], thing[first])]
        late = np.abs(times[close] - mjd)
        order = np.lexsort((late, thing[close]))
        close, late = close[order], late[order]
        nearest = np.r_[True, np.diff(thing[close]) != 0][: len(close)]
        close, late = close[nearest], late[nearest]
        blur = np.radians(self.rate[close] * late * _HOURS / 3600.0)
        return (
            np.concatenate([first, close]),
            np.concatenate([between, self.vectors[close]]),
            np.concatenate([np.zeros(len(first)), blur]),
        )

    def _known(self, row: int) -> Known:
        return Known(self.names[row][:_LONGEST_NAME], self.kinds[row], self.mjd is not None)


def _between(first: Floats, second: Floats, share: Floats) -> Floats:
    """Places on the great circles between two, ``(n, 3)``, by shares of the way."""
    angle = 2.0 * np.arcsin(np.minimum(1.0, np.linalg.norm(second - first, axis=1) / 2.0))
    angle = np.maximum(angle, 1e-12)
    left, right = np.sin((1.0 - share) * angle), np.sin(share * angle)
    return np.asarray((left[:, None] * first + right[:, None] * second) / np.sin(angle)[:, None])


def _chord(angle: Floats | float) -> Floats:
    return np.asarray(2.0 * np.sin(np.asarray(angle) / 2.0))


def _read(path: Path, settings: KnownCatalogSettings) -> _Catalog:
    columns = _columns(path)
    for name in (settings.ra, settings.dec, settings.name):
        if name not in columns:
            raise KnownCatalogUnreadable(
                subject=path, field=name, found=", ".join(columns), expected="a column of this name"
            )
    names = [str(name) for name in columns[settings.name]]
    kind = columns.get(settings.kind) if settings.kind else None
    kinds = [""] * len(names) if kind is None else [str(each) for each in kind]
    try:
        ra, dec = (np.asarray(columns[c], np.float64) for c in (settings.ra, settings.dec))
        mjd = columns.get(settings.mjd)
        times = None if mjd is None else np.asarray(mjd, np.float64)
        rate = np.asarray(columns.get(settings.rate, np.zeros(len(ra))), np.float64)
    except (TypeError, ValueError) as fault:
        raise KnownCatalogUnreadable(
            subject=path, found=str(fault)[:200], expected="numbers"
        ) from fault
    good = np.isfinite(ra) & (np.abs(dec) <= 90.0) & (times is None or np.isfinite(times))
    order = np.flatnonzero(good)
    if times is not None:
        order = order[np.lexsort((times[order], np.array(names)[order]))]
    return _Catalog(
        settings=settings,
        vectors=unit_vectors(ra[order], dec[order]),
        names=[names[n] for n in order],
        kinds=[kinds[n] for n in order],
        mjd=None if times is None else times[order],
        rate=np.nan_to_num(np.abs(rate[order])),
    )


def _columns(path: Path) -> dict[str, NDArray[np.generic]]:
    """All columns of a Parquet, CSV or VOTable file, by the end of its name."""
    if not path.is_file():
        raise KnownCatalogMissing(subject=path, field="transients.known")
    kind = path.suffix.lower()
    try:
        if kind in {".parquet", ".parq", ".pq"}:
            return dict(read_table(path).columns)
        if kind == ".csv":
            import pyarrow.csv as arrow_csv  # noqa: PLC0415, seldom wanted

            table = arrow_csv.read_csv(path)
            return {
                name: np.asarray(table.column(name).to_numpy(zero_copy_only=False))
                for name in table.column_names
            }
        from astropy.table import Table  # noqa: PLC0415, slow to load and seldom wanted

        read = Table.read(path, format="votable")
        return {name: np.asarray(read[name]) for name in read.colnames}
    except FirstlightError:
        raise
    except Exception as fault:
        raise KnownCatalogUnreadable(
            subject=path, found=f"{type(fault).__name__}: {fault}"[:300]
        ) from fault
