"""Annotations from reference catalogues: the stars next to an object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import select

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.base import ReferenceCatalog, ReferenceStars
from firstlight.catalogs.catalog_settings import CatalogSettings
from firstlight.catalogs.registry import UnknownCatalog, get_catalog
from firstlight.errors import InvalidInput, MissingError
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.notes import Annotation
from firstlight.services.access import Viewer
from firstlight.services.objects.annotations import AnnotationService
from firstlight.services.objects.not_offered import NotOffered
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import finite

__all__ = ["CatalogAnnotations", "NoStarThere", "StarWish", "patient_settings"]

_BY_DEFAULT = {"gaia": "gaia_dr3", "ps1": "ps1"}
_RADIUS = 2.0  # arcseconds
_LARGEST_RADIUS = 600.0
_MOST_STARS = 20
_YEAR_S = 365.25 * 86400.0
_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
_PATIENCE_S = 15.0


class NoStarThere(MissingError):
    """The catalogue has no star there."""

    code = "annotation.no_star"


@dataclass(frozen=True, slots=True)
class StarWish:
    """Which stars are wanted.

    Attributes
    ----------
    catalog
        Its name in the settings; the survey's own if None.
    radius_arcsec
        Around the object.
    faintest
        Magnitude; no limit if None.
    number
        At most so many, the nearest.
    group_ids
        With whom the annotations are shared.
    """

    catalog: str | None = None
    radius_arcsec: float | None = None
    faintest: float | None = None
    number: int | None = None
    group_ids: object = None


class CatalogAnnotations:
    """Annotates objects with what reference catalogues tell of the stars next to them.

    Parameters
    ----------
    database, annotations
        Where objects are, and what writes.
    find_catalog
        Opens a catalogue by its name, or raises `UnknownCatalog`.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        *,
        database: Database,
        annotations: AnnotationService,
        find_catalog: Callable[[str], ReferenceCatalog],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._annotations = annotations
        self._find_catalog = find_catalog
        self._clock = clock

    def add(self, viewer: Viewer, name: str, survey: str, wish: StarWish) -> list[int]:
        """Annotate an object with the nearest stars; returns the numbers of the annotations.

        The nearest has the catalogue's name as its origin, the next ones that with a number.
        One's own earlier annotations of that origin are replaced.

        Parameters
        ----------
        survey
            ``gaia``, ``ps1`` or another one that SkyPortal knows.

        Raises
        ------
        ObjectMissing
            There is none that the viewer may see.
        NotOffered
            No catalogue of the settings has this name.
        NoStarThere
            It has no star that near.
        RemoteError
            The catalogue's service fails.
        """
        viewer.require("annotate")
        radius = _between(wish.radius_arcsec, _RADIUS, _LARGEST_RADIUS, "crossmatchRadius")
        most = int(_between(wish.number, 1, _MOST_STARS, "crossmatchNumber"))
        faintest = None if wish.faintest is None else finite(wish.faintest, "crossmatchLimmag")
        with self._database.reading() as session:
            thing = visible_object(session, viewer, name)
        catalog = self._catalog(survey, wish.catalog)
        epoch = 2000.0 + (self._clock() - _J2000).total_seconds() / _YEAR_S
        stars = catalog.cone(thing.ra, thing.dec, radius / 3600.0, epoch=epoch, faintest=faintest)
        separation = 3600.0 * angular_separation(thing.ra, thing.dec, stars.ra, stars.dec)
        nearest = np.argsort(separation, kind="stable")[:most]
        if not nearest.size:
            raise NoStarThere(
                subject=thing.name, found=catalog.name, expected=f"within {radius:g} arcseconds"
            )
        made = []
        for rank, star in enumerate(nearest, start=1):
            origin = catalog.name if rank == 1 else f"{catalog.name} {rank}"
            data = _facts(stars, int(star), float(separation[star]), catalog.release)
            made.append(self._write(viewer, thing.name, origin, data, wish.group_ids))
        return made

    def _catalog(self, survey: str, wanted: str | None) -> ReferenceCatalog:
        name = wanted or _BY_DEFAULT.get(survey)
        try:
            if name is not None:
                return self._find_catalog(name)
        except UnknownCatalog as fault:
            raise NotOffered(
                "there is no such catalogue here",
                subject=repr(name)[:100],
                expected=fault.expected,
                hint="the operator declares it under catalogs.online.tables",
            ) from fault
        raise NotOffered(
            "a catalogue has to be named",
            subject=survey,
            field="catalog",
            hint="the operator declares it under catalogs.online.tables",
        )

    def _write(
        self, viewer: Viewer, name: str, origin: str, data: dict[str, Any], group_ids: object
    ) -> int:
        with self._database.reading() as session:
            thing = visible_object(session, viewer, name)
            old = session.scalar(
                select(Annotation.id).where(
                    Annotation.object_id == thing.id,
                    Annotation.subject == "object",
                    Annotation.origin == origin,
                    Annotation.author_id == viewer.user_id,
                )
            )
        if old is None:
            return self._annotations.add(viewer, "sources", name, origin, data, group_ids=group_ids)
        self._annotations.change(viewer, "sources", name, old, data, group_ids=group_ids)
        return old


def patient_settings(settings: CatalogSettings) -> Callable[[str], ReferenceCatalog]:
    """What opens catalogues for somebody who waits for an answer: 15 seconds at most."""
    online = settings.online.model_copy(
        update={"attempts": 1, "time_limit_s": min(_PATIENCE_S, settings.online.time_limit_s)}
    )
    quick = settings.model_copy(update={"online": online})
    return lambda name: get_catalog(name, quick)


def _facts(stars: ReferenceStars, star: int, separation: float, release: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "ra": float(stars.ra[star]),
        "dec": float(stars.dec[star]),
        "separation_arcsec": round(separation, 4),
        f"mag_{stars.band}": float(stars.mag[star]),
        f"mag_{stars.band}_error": float(stars.mag_err[star]),
        "mag_system": stars.system,
        "release": release,
    }
    if stars.colour is not None and stars.colour_name is not None:
        facts[stars.colour_name] = float(stars.colour[star])
    return facts


def _between(value: float | None, default: float, largest: float, field: str) -> float:
    found = default if value is None else finite(value, field)
    if not 0 < found <= largest:
        raise InvalidInput(field=field, found=found, expected=f"above 0, at most {largest:g}")
    return found
