"""The query of SkyPortal's list of sources: a condition for each of its parameters that we know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from firstlight.errors import InvalidInput
from firstlight.services.access import Viewer
from firstlight.services.finding.search_query import mjd_of
from firstlight.services.objects.object_parts import Include
from firstlight.services.objects.object_query import ObjectQuery, Order
from firstlight.services.objects.saved_objects import SavedWhen
from firstlight.services.objects.wire_values import LARGEST_ID, moment

__all__ = ["SOURCE_PARAMETERS", "SourceList", "flag", "one_source", "source_list", "whole"]

T = TypeVar("T")
_TRUE = frozenset({"true", "t", "yes", "1"})
_SORTS = {
    "id": "name",
    "ra": "ra",
    "dec": "dec",
    "redshift": "redshift",
    "saved_at": "saved_at",
    "created_at": "created_at",
    "last_mag": "last_mag",
    "last_detected": "last_detected",
    "peak_mag": "peak_mag",
    "mean_mag": "mean_mag",
    "n_points": "n_points",
}
# Conditions of SkyPortal on things that there are none of here. To leave one out silently would
# answer another question than was asked.
_UNKNOWN_HERE = (
    "spatialCatalogName", "spatialCatalogEntryName", "localizationDateobs", "localizationName",
    "localizationCumprob", "localizationRejectSources", "includeSourcesInGcn", "listName",
    "hasSpectrumBefore", "hasSpectrumAfter", "hasTNSname", "hasNoTNSname", "hasFollowupRequest",
    "followupRequestStatus", "hasBeenLabelled", "hasNotBeenLabelled", "currentUserLabeller",
    "simbadClass", "annotationsFilter", "annotationsFilterOrigin", "annotationsFilterBefore",
    "annotationsFilterAfter", "commentsFilterAuthor", "commentsFilterBefore",
    "commentsFilterAfter",
)  # fmt: skip
SOURCE_PARAMETERS = {
    "pageNumber": ("Number of the page, from 1.", "1"),
    "numPerPage": ("Sources of a page, up to 500.", "100"),
    "sourceID": ("Part of the name.", "FL1"),
    "ra": ("Of a cone, degrees.", "120.5"),
    "dec": ("Of a cone, degrees.", "-3.25"),
    "radius": ("Of a cone, degrees.", "0.1"),
    "group_ids": ("Saved by one of these groups.", "1,2"),
    "savedAfter": ("ISO 8601, UTC.", "2026-08-01"),
    "savedBefore": ("ISO 8601, UTC.", "2026-09-01"),
    "savedByCurrentUser": ("Only what you have saved.", "true"),
    "includeRequested": ("Also those that a group is asked to save.", "false"),
    "pendingOnly": ("Only those that a group is asked to save.", "false"),
    "classifications": ("Has one of these classes.", "SN Ia,RR Lyrae"),
    "nonclassifications": ("Has none of these classes.", "AGN"),
    "classified": ("Has any class.", "true"),
    "unclassified": ("Has no class.", "false"),
    "minRedshift": ("Least redshift.", "0.01"),
    "maxRedshift": ("Greatest redshift.", "0.2"),
    "minLatestMagnitude": ("Of the last detection, AB.", "14"),
    "maxLatestMagnitude": ("Of the last detection, AB.", "18"),
    "minPeakMagnitude": ("Of the brightest detection, AB.", "14"),
    "maxPeakMagnitude": ("Of the brightest detection, AB.", "18"),
    "startDate": ("Last detected then or later.", "2026-08-01"),
    "endDate": ("Last detected then or before.", "2026-09-01"),
    "numberDetections": ("At least so many detections.", "2"),
    "hasSpectrum": ("Has a spectrum.", "true"),
    "hasNoSpectrum": ("Has none.", "false"),
    "createdOrModifiedAfter": ("ISO 8601, UTC.", "2026-08-01"),
    "origin": ("What added it.", "light_curves"),
    "alias": ("Part of another name.", "V0338"),
    "rejectedSourceIDs": ("Names that are left out.", "FL2,FL3"),
    "commentsFilter": ("Part of a comment.", "looks real"),
    "tags": ("Numbers of tags, of which it has one.", "1,2"),
    "sortBy": ("One of " + ", ".join(_SORTS) + ".", "saved_at"),
    "sortOrder": ("asc or desc.", "desc"),
    "saveSummary": ("Only the entries in the lists of groups.", "false"),
    "removeNested": ("Without groups, notes and tags.", "false"),
    "includeSpectrumExists": ("Tell whether there is a spectrum.", "false"),
    "includeCommentExists": ("Tell whether there is a comment.", "false"),
    "includeGeoJSON": ("Also as GeoJSON.", "false"),
}


@dataclass(frozen=True)
class SourceList:
    """A page of sources that is asked for."""

    query: ObjectQuery
    order: Order
    include: Include
    saved: SavedWhen
    page: int
    per_page: int
    entries_only: bool
    as_geojson: bool

    def about(self, total: int) -> dict[str, Any]:
        """What an answer says of the page beside its sources."""
        facts = {
            "totalMatches": total,
            "pageNumber": self.page,
            "numPerPage": self.per_page,
        }
        groups = self.saved.groups
        return {**facts, "group_id": groups[0]} if len(groups) == 1 else facts


def source_list(given: Mapping[str, str], viewer: Viewer) -> SourceList:
    """Read the query of a list of sources.

    Raises
    ------
    InvalidInput
        A value cannot be read, or a condition is on something that is not known here.
    """
    for name in _UNKNOWN_HERE:
        if given.get(name) and given[name].lower() not in {"false", "0"}:
            raise InvalidInput("sources cannot be sought by this here", field=name)
    saved = SavedWhen(
        groups=_numbers(given, "group_ids"),
        before=_read(given, "savedBefore", moment),
        after=_read(given, "savedAfter", moment),
        saved_by=_own_number(viewer) if flag(given, "savedByCurrentUser") else None,
        with_requested=flag(given, "includeRequested"),
        requested_only=flag(given, "pendingOnly"),
    )
    detailed = not flag(given, "removeNested")
    return SourceList(
        query=_query(given, saved),
        order=_order(given),
        include=Include(
            saved=saved,
            groups=detailed,
            annotations=detailed,
            classifications=detailed,
            tags=detailed,
            spectrum_exists=flag(given, "includeSpectrumExists"),
            comment_exists=flag(given, "includeCommentExists"),
        ),
        saved=saved,
        page=whole(given, "pageNumber", 1),
        per_page=whole(given, "numPerPage", 100),
        entries_only=flag(given, "saveSummary"),
        as_geojson=flag(given, "includeGeoJSON"),
    )


def one_source(given: Mapping[str, str]) -> Include:
    """Read what is to be told of one source."""
    return Include(
        saved=SavedWhen(
            with_requested=flag(given, "includeRequested"),
            requested_only=flag(given, "pendingOnly"),
        ),
        tags=flag(given, "includeTags", usually=True),
        comments=flag(given, "includeComments"),
        thumbnails=flag(given, "includeThumbnails"),
        statistics=flag(given, "includeDetectionStats"),
        photometry_exists=flag(given, "includePhotometryExists"),
        spectrum_exists=flag(given, "includeSpectrumExists"),
        comment_exists=flag(given, "includeCommentExists"),
        period_exists=flag(given, "includePeriodExists"),
    )


def flag(given: Mapping[str, str], name: str, *, usually: bool = False) -> bool:
    """Whether a parameter says yes; what is not understood says no."""
    text = given.get(name)
    return usually if text in (None, "") else str(text).lower() in _TRUE


def whole(given: Mapping[str, str], name: str, usual: int) -> int:
    """A number of things.

    Raises
    ------
    InvalidInput
        It is none.
    """
    text = given.get(name, "")
    return usual if not text else _whole(text, name)


def _query(given: Mapping[str, str], saved: SavedWhen) -> ObjectQuery:
    def bounds(of: str) -> tuple[float | None, float | None]:
        return _read(given, f"min{of}", _number), _read(given, f"max{of}", _number)

    first, last = (_read(given, name, moment) for name in ("startDate", "endDate"))
    classified = True if flag(given, "classified") else None
    has_spectrum = True if flag(given, "hasSpectrum") else None
    simultaneous = _classes(given, "classifications")
    if flag(given, "classifications_simul") and len(simultaneous) > 1:
        raise InvalidInput("several classes at once are not sought", field="classifications_simul")
    return ObjectQuery(
        name=given.get("sourceID") or given.get("alias") or None,
        cone=_cone(given),
        classifications=simultaneous,
        without=_classes(given, "nonclassifications"),
        classified=False if flag(given, "unclassified") else classified,
        tags=_numbers(given, "tags"),
        saved=saved,
        redshift=bounds("Redshift"),
        last_mag=bounds("LatestMagnitude"),
        peak_mag=bounds("PeakMagnitude"),
        last_mjd=(_mjd(first), _mjd(last)),
        min_detections=_read(given, "numberDetections", _whole),
        has_spectrum=False if flag(given, "hasNoSpectrum") else has_spectrum,
        origin=given.get("origin") or None,
        changed_after=_read(given, "createdOrModifiedAfter", moment),
        without_names=_words(given, "rejectedSourceIDs"),
        comment=given.get("commentsFilter") or None,
    )


def _order(given: Mapping[str, str]) -> Order:
    by = given.get("sortBy") or "saved_at"
    direction = (given.get("sortOrder") or "desc").lower()
    if by not in _SORTS:
        raise InvalidInput(field="sortBy", found=repr(by[:50]), expected=", ".join(_SORTS))
    if direction not in ("asc", "desc"):
        raise InvalidInput(field="sortOrder", found=repr(direction[:50]), expected="asc or desc")
    return Order(_SORTS[by], descending=direction == "desc")


def _cone(given: Mapping[str, str]) -> tuple[float, float, float] | None:
    ra, dec, radius = (_read(given, name, _number) for name in ("ra", "dec", "radius"))
    if ra is None and dec is None and radius is None:
        return None
    if ra is None or dec is None or radius is None:
        raise InvalidInput("a cone needs all of them", field="ra, dec, radius")
    return ra, dec, radius


def _read(given: Mapping[str, str], name: str, read: Callable[[str, str], T]) -> T | None:
    text = given.get(name)
    return None if text in (None, "") else read(str(text), name)


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError as fault:
        raise InvalidInput(field=name, found=repr(text[:50]), expected="a number") from fault


def _whole(text: str, name: str) -> int:
    if text.strip().isascii() and text.strip().isdigit() and len(text) < 15:
        number = int(text)
        if number <= LARGEST_ID:
            return number
    raise InvalidInput(field=name, found=repr(text[:50]), expected="a whole number")


def _words(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in given.get(name, "").split(",") if word.strip())


def _numbers(given: Mapping[str, str], name: str) -> tuple[int, ...]:
    return tuple(_whole(word, name) for word in _words(given, name))


def _classes(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Names of classes; SkyPortal puts that of the taxonomy and a colon before each."""
    return tuple(word.partition(": ")[2] or word for word in _words(given, name))


def _mjd(when: datetime | None) -> float | None:
    return None if when is None else mjd_of(when)


def _own_number(viewer: Viewer) -> int:
    viewer.require_named()
    # Nothing is saved by user 0: so whoever has no account has saved nothing.
    return viewer.user_id or 0
