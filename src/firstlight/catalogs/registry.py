"""Reference catalogues by name, and which one to use when nobody says."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Literal

from firstlight.catalogs.base import ReferenceCatalog
from firstlight.catalogs.catalog_settings import BUILT_IN, CatalogSettings
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.errors import BadSettings, MissingError

__all__ = [
    "ENTRY_POINTS",
    "CatalogFactory",
    "UnknownCatalog",
    "catalog_names",
    "choose_catalog",
    "get_catalog",
    "offline_catalogs",
]

ENTRY_POINTS = "firstlight.catalogs"
"""Group in which other packages name a `CatalogFactory`."""

TYCHO2 = "tycho2"
TYCHO2_LIMIT = 11.5

Purpose = Literal["photometry", "astrometry"]


class UnknownCatalog(MissingError):
    """There is no reference catalogue of this name."""

    code = "catalog.unknown"


CatalogFactory = Callable[[CatalogSettings], ReferenceCatalog]


def get_catalog(name: str, settings: CatalogSettings) -> ReferenceCatalog:
    """Open a catalogue.

    Opening is cheap for all but large local ones; keep the instance.

    Raises
    ------
    UnknownCatalog
        No catalogue has this name; the hint is the nearest that one has.
    BadSettings
        The package that offers it cannot be loaded.
    FirstlightError
        A local catalogue cannot be opened; see `LocalCatalog`.
    """
    if name in settings.local:
        from firstlight.catalogs.local import LocalCatalog  # noqa: PLC0415, slow to load

        return LocalCatalog(name, settings.local[name])
    if name == TYCHO2:
        return Tycho2()
    tables = {**BUILT_IN, **settings.online.tables}
    if name in tables:
        from firstlight.catalogs.online import OnlineCatalog  # noqa: PLC0415, slow to load

        return OnlineCatalog(name, tables[name], settings.online)
    offered = _offered()
    if name in offered:
        return _load(offered[name])(settings)
    known = catalog_names(settings)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    raise UnknownCatalog(
        subject=name,
        expected=f"one of {', '.join(known)}",
        hint=f"did you mean {near[0]!r}?" if near else "declare it under catalogs.local",
    )


def catalog_names(settings: CatalogSettings) -> list[str]:
    """Every name that `get_catalog` knows, sorted."""
    return sorted({TYCHO2, *settings.local, *BUILT_IN, *settings.online.tables, *_offered()})


def offline_catalogs(settings: CatalogSettings) -> list[str]:
    """Catalogues that need no network, deepest first.

    Tycho-2 is always among them. A local catalogue whose limit is not declared comes last: it
    may be deep, but nobody has said so.
    """
    limits = {TYCHO2: TYCHO2_LIMIT}
    for name, local in settings.local.items():
        limits[name] = float("-inf") if local.limit is None else local.limit
    return sorted(limits, key=lambda name: (-limits[name], name))


def choose_catalog(settings: CatalogSettings, purpose: Purpose) -> str:
    """Name of the catalogue for a purpose: the configured one, else the deepest without network.

    A local catalogue may not reach every field; where it has no stars, go on along
    `offline_catalogs`.
    """
    configured = settings.photometry if purpose == "photometry" else settings.astrometry
    return configured or offline_catalogs(settings)[0]


def _offered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _load(point: EntryPoint) -> CatalogFactory:
    try:
        factory: CatalogFactory = point.load()
    except (ImportError, AttributeError) as err:
        raise BadSettings(
            "the package that offers this catalogue cannot be loaded",
            subject=point.name,
            found=err,
            expected=f"a function at {point.value}",
        ) from err
    return factory
