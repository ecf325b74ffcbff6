"""Objects of the sky: added, changed, found by name or place, told of, removed."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.galactic import galactic
from firstlight.errors import ConflictError, InvalidInput
from firstlight.models.account import Membership
from firstlight.models.analysis import Analysis
from firstlight.models.audience import audience_of
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.image_analysis import ImageAnalysis
from firstlight.models.notes import Annotation, Classification, Comment
from firstlight.models.object import Object, PhotometrySummary, SavedObject
from firstlight.models.photometry import LightCurve, Photometry
from firstlight.models.sky_search import find_in_cone, place
from firstlight.models.spectrum import Spectrum
from firstlight.provenance.fingerprint import product_id
from firstlight.services.access import Viewer
from firstlight.services.objects.object_facts import (
    apply_facts,
    checked_facts,
    declination,
    object_facts,
    right_ascension,
)
from firstlight.services.objects.object_parts import (
    Include,
    parts_of,
    photometry_statistics,
    summaries_of,
)
from firstlight.services.objects.object_reactions import NO_REACTIONS, ObjectReactions
from firstlight.services.objects.object_summary import summarise
from firstlight.services.objects.saved_objects import SavedWhen, own_groups, saving
from firstlight.services.objects.sharing import tell
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import LARGEST_ID, finite, plain_text, wire_time
from firstlight.services.transaction_locks import lock_names
from firstlight.services.visibility import seen_by

__all__ = ["ObjectInUse", "ObjectService"]

# What SkyPortal takes; a slash or a question mark would be part of an address.
_NAME = re.compile(r"[A-Za-z0-9_\-;:+.]{1,128}")
_WIDEST_CONE = 10.0  # degrees, in which it is asked whether there is anything


class ObjectInUse(ConflictError):
    """There are still rows about the object."""

    code = "object.in_use"


class ObjectService:
    """Adds, changes and tells of objects.

    Parameters
    ----------
    database
        The tables.
    reactions
        What begins by itself.
    """

    def __init__(self, *, database: Database, reactions: ObjectReactions = NO_REACTIONS) -> None:
        self._database = database
        self._reactions = reactions

    def post(self, viewer: Viewer, body: Mapping[str, Any]) -> dict[str, Any]:
        """Add an object, or change one that is there; and save it to groups.

        Parameters
        ----------
        body
            Columns of a source by SkyPortal's names; ``id`` is the object's name. Besides,
            ``group_ids`` (none: all of the viewer's), ``ignore_if_in_group_ids`` (groups that
            are left out where one of others has it) and ``saver_per_group_id``.

        Returns
        -------
        dict
            ``id``, ``saved_to_groups``, and ``warnings`` where there are any.

        Raises
        ------
        InvalidInput
            A value cannot be used, or a new object has no place.
        """
        viewer.require("upload")
        name = plain_text(str(body.get("id") or ""), "id", longest=128)
        facts = checked_facts(body)
        warnings = []
        with self._database.begin() as session:
            lock_names(session, f"object {name}")
            groups = _groups_of(session, viewer, body.get("group_ids"))
            row = session.scalar(select(Object).where(Object.name == name))
            if row is None:
                row = _new(session, viewer, name, facts)
            elif _sees(session, viewer, row):
                _change(viewer, row, facts)
            else:
                warnings.append(f"{name} is known already: what is known of it was kept")
            groups = _not_ignored(session, row, groups, body.get("ignore_if_in_group_ids"))
            savers = _savers(session, viewer, body.get("saver_per_group_id"))
            added = saving(session, viewer, row, groups, savers)
            self._reactions.saved(session, row, added)
            tell(session, row.name, "saved", row.audience_id, {})
        answer: dict[str, Any] = {"id": name, "saved_to_groups": groups}
        return {**answer, "warnings": warnings} if warnings else answer

    def change(self, viewer: Viewer, name: str, body: Mapping[str, Any]) -> None:
        """Change what is known of an object; what is not named stays.

        A change of the redshift is added to its history.
        """
        viewer.require("upload")
        facts = checked_facts(body)
        with self._database.begin() as session:
            row = visible_object(session, viewer, name)
            lock_names(session, f"object {row.name}")
            session.refresh(row)
            _change(viewer, row, facts)
            tell(session, row.name, "changed", row.audience_id, {})

    def one(self, viewer: Viewer, name: str, include: Include = Include()) -> dict[str, Any]:  # noqa: B008, it is frozen
        """An object with what is known of it, as far as the viewer may see it.

        Raises
        ------
        ObjectMissing
            There is none, or none that the viewer may see.
        """
        with self._database.together(), self._database.reading() as session:
            row = visible_object(session, viewer, name)
            facts = object_facts([row])[0]
            parts = parts_of(session, viewer, {row.id: row.name}, include)[row.id]
        return {**facts, **parts, "ebv": None}

    def is_saved(self, viewer: Viewer, name: str) -> bool:
        """Whether an object of this name is in the list of a group of the viewer."""
        with self._database.reading() as session:
            found = session.scalar(
                select(SavedObject.id)
                .join(Object, Object.id == SavedObject.object_id)
                .where(
                    Object.name == _searchable(name),
                    SavedWhen().condition(viewer),
                    seen_by(viewer, Object.audience_id),
                )
                .limit(1)
            )
        return found is not None

    def exists(
        self,
        viewer: Viewer,
        name: str | None = None,
        *,
        ra: float | None = None,
        dec: float | None = None,
        radius: float | None = None,
    ) -> dict[str, Any]:
        """Whether there is an object of a name, or else in a cone; and in words.

        Parameters
        ----------
        ra, dec, radius
            Degrees.

        Raises
        ------
        InvalidInput
            Neither a name nor a whole cone is given.
        """
        with self._database.reading() as session:
            if name is not None:
                there = session.scalar(
                    select(Object.name).where(
                        Object.name == _searchable(name), seen_by(viewer, Object.audience_id)
                    )
                )
                if there is not None:
                    told = f"A source with the name {there} already exists."
                    return {"source_exists": True, "message": told}
            if ra is None or dec is None or radius is None:
                if name is None:
                    raise InvalidInput(
                        "either a name or ra, dec and radius are needed", field="ra, dec, radius"
                    )
                told = f"A source with the name {name} does not exist."
                return {"source_exists": False, "message": told}
            near = _in_cone(session, viewer, ra, dec, radius)
        if near is None:
            return {"source_exists": False, "message": "There is no source at this position."}
        told = f"A source at that location already exists: {near}."
        return {"source_exists": True, "message": told}

    def position(self, viewer: Viewer, name: str) -> dict[str, Any]:
        """Where an object is: equatorial and galactic, degrees."""
        with self._database.reading() as session:
            row = visible_object(session, viewer, name)
        longitude, latitude = galactic([row.ra], [row.dec])
        return {
            "ra": row.ra,
            "dec": row.dec,
            "gal_lon": float(longitude[0]),
            "gal_lat": float(latitude[0]),
            "ebv": None,
            "separation": 0.0,
            "discovery_ra": row.details.get("ra_dis", row.ra),
            "discovery_dec": row.details.get("dec_dis", row.dec),
        }

    def statistics(self, viewer: Viewer, name: str) -> dict[str, Any]:
        """Statistics of the light curve, of the points that the viewer may see."""
        with self._database.reading() as session:
            row = visible_object(session, viewer, name)
            found = summaries_of(session, viewer, [row.id]).get(row.id)
        if found is None:
            now = wire_time(row.created_at)
            empty = {"num_obs_global": 0, "num_det_global": 0, "obj_id": row.name}
            return {"id": row.id.int % LARGEST_ID + 1, "created_at": now, "modified": now, **empty}
        return photometry_statistics(row.name, *found)

    def count_statistics(self, viewer: Viewer) -> dict[str, int]:
        """How many objects that the viewer may see have statistics, and how many have none."""
        with self._database.reading() as session:
            seen = select(func.count(Object.id)).where(seen_by(viewer, Object.audience_id))
            every = session.scalar(seen) or 0
            linked = seen.join(PhotometrySummary, PhotometrySummary.object_id == Object.id)
            have = session.scalar(linked) or 0
        return {"totalWithPhotStats": have, "totalWithoutPhotStats": every - have}

    def remake_statistics(self, viewer: Viewer, name: str) -> None:
        """Make the statistics of the light curve anew."""
        viewer.require("upload")
        with self._database.begin() as session:
            summarise(session, [visible_object(session, viewer, name).id])

    def label(self, viewer: Viewer, name: str, group_ids: Collection[int], *, put: bool) -> None:
        """Note for groups of the viewer that they have looked at an object; or take that back."""
        viewer.require("classify")
        with self._database.begin() as session:
            row = visible_object(session, viewer, name)
            lock_names(session, f"object {row.name}")
            session.refresh(row)
            mine = [
                [group, viewer.user_id]
                for group in own_groups(session, viewer, group_ids, "groupIds")
            ]
            others = [each for each in row.details.get("labels", []) if each not in mine]
            row.details = {**row.details, "labels": [*others, *mine] if put else others}

    def remove(self, viewer: Viewer, name: str) -> None:
        """Remove an object of which nothing else is known.

        Raises
        ------
        ObjectInUse
            There are points, spectra, notes or analyses, whoever may see them.
        """
        viewer.require("manage_sources")
        with self._database.begin() as session:
            row = visible_object(session, viewer, name)
            for table, words in _ABOUT.items():
                there = select(table.object_id).where(table.object_id == row.id).limit(1)
                if session.scalar(there) is not None:
                    raise ObjectInUse(
                        f"{words} of the object remain", subject=row.name, hint="remove them first"
                    )
            audience = row.audience_id
            session.delete(row)
            tell(session, name, "removed", audience, {})


_ABOUT: dict[Any, str] = {
    Photometry: "points of a light curve",
    LightCurve: "light curves",
    Spectrum: "spectra",
    Annotation: "annotations",
    Comment: "comments",
    Classification: "classifications",
    ImageAnalysis: "image analyses",
    Analysis: "analyses",
}


def _new(session: Session, viewer: Viewer, name: str, facts: Mapping[str, Any]) -> Object:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "this cannot be the name of a source",
            field="id",
            found=repr(name),
            expected="letters, digits and _ - ; : + . without spaces",
        )
    missing = [each for each in ("ra", "dec") if each not in facts]
    if missing:
        raise InvalidInput(
            "a new source needs a position", subject=name, field=missing[0], expected="degrees"
        )
    row = Object(
        id=product_id("object", [name]),
        name=name,
        origin="user",
        owner_id=viewer.user_id,
        aliases=[],
        details={"ra_dis": facts["ra"], "dec_dis": facts["dec"]},
        redshift_history=[],
        audience_id=audience_of(session),
    )
    _change(viewer, row, facts)
    session.add(row)
    session.flush()
    return row


def _change(viewer: Viewer, row: Object, facts: Mapping[str, Any]) -> None:
    apply_facts(row, facts)
    if "ra" in facts or "dec" in facts:
        place(row, facts.get("ra", row.ra), facts.get("dec", row.dec))
    said = {name: facts[name] for name in _REDSHIFT if name in facts}
    if not said or all(getattr(row, name) == value for name, value in said.items()):
        return
    if "redshift" in said and said["redshift"] != row.redshift:
        # The error and origin of another value say nothing about this one.
        row.redshift_error = row.redshift_origin = None
    for name, value in said.items():
        setattr(row, name, value)
    entry = {
        "set_at_utc": wire_time(utc_now()),
        "set_by_user_id": viewer.user_id,
        "value": row.redshift,
        "uncertainty": row.redshift_error,
        "origin": row.redshift_origin,
    }
    row.redshift_history = [*(row.redshift_history or []), entry]


_REDSHIFT = ("redshift", "redshift_error", "redshift_origin")


def _sees(session: Session, viewer: Viewer, row: Object) -> bool:
    seen = select(Object.id).where(Object.id == row.id, seen_by(viewer, Object.audience_id))
    return session.scalar(seen) is not None


def _groups_of(session: Session, viewer: Viewer, given: object) -> list[int]:
    """Groups to save to: those named, or all of the viewer's."""
    if given is None or given == []:
        wanted: Collection[int] = viewer.groups
        if not wanted and not viewer.sees_all:
            raise InvalidInput(
                "You must belong to one or more groups before you can add sources.",
                field="group_ids",
            )
        return own_groups(session, viewer, wanted, "group_ids")
    return own_groups(session, viewer, _numbers(given, "group_ids"), "group_ids")


def _not_ignored(session: Session, row: Object, groups: list[int], given: object) -> list[int]:
    """Groups, without those that other groups make superfluous by having the object."""
    if not given:
        return groups
    if not isinstance(given, Mapping):
        raise InvalidInput(field="ignore_if_in_group_ids", expected="a list of groups by group")
    saved = set(
        session.scalars(
            select(SavedObject.group_id).where(SavedObject.object_id == row.id, SavedObject.active)
        )
    )
    skipped = {
        str(group)
        for group, others in given.items()
        if saved & set(_numbers(others, "ignore_if_in_group_ids"))
    }
    return [group for group in groups if str(group) not in skipped]


def _savers(session: Session, viewer: Viewer, given: object) -> dict[int, int]:
    """Who is said to have saved the object, by group; a member of that group."""
    if not given:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidInput(field="saver_per_group_id", expected="a user by group")
    groups = _numbers([str(each) for each in given], "saver_per_group_id")
    savers = dict(zip(groups, _numbers(list(given.values()), "saver_per_group_id"), strict=True))
    for group, user in savers.items():
        member = select(Membership.id).where(
            Membership.group_id == group, Membership.user_id == user
        )
        own = viewer.sees_all or group in viewer.groups
        if not own or session.scalar(member) is None:
            raise InvalidInput(
                "the user is no member of this group",
                field="saver_per_group_id",
                found=f"{group}: {user}",
            )
    return savers


def _numbers(given: object, field: str) -> list[int]:
    """Numbers of rows, also where they came as text or as 7.0."""
    if isinstance(given, list | tuple) and len(given) <= 1000:
        texts = [
            str(int(each)) if isinstance(each, float) and each.is_integer() else str(each)
            for each in given
        ]
        if all(each.isascii() and each.isdigit() and len(each) < 11 for each in texts):
            return [int(each) for each in texts]
    raise InvalidInput(field=field, found=repr(given)[:100], expected="a list of numbers")


def _searchable(name: str) -> str:
    """A name that a database can look for; what it cannot hold is no object's."""
    return name[:129].encode("ascii", "replace").decode().replace("\0", "?")


def _in_cone(session: Session, viewer: Viewer, ra: float, dec: float, radius: float) -> str | None:
    """Name of the nearest object that the viewer may see."""
    place_ra, place_dec = right_ascension(ra, "ra"), declination(dec, "dec")
    reach = finite(radius, "radius")
    if not 0.0 < reach <= _WIDEST_CONE or math.isnan(reach):
        raise InvalidInput(field="radius", found=radius, expected=f"up to {_WIDEST_CONE:g} degrees")
    for row, _ in find_in_cone(session, Object, place_ra, place_dec, reach):
        if _sees(session, viewer, row):
            return row.name
    return None
