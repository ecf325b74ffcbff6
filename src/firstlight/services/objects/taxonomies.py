"""Taxonomies: trees of classes, named and versioned, that objects are classified by."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.audience import public_audience
from firstlight.models.database import Database
from firstlight.models.notes import Classification, Taxonomy
from firstlight.services.access import Viewer
from firstlight.services.objects.sharing import (
    chosen_audience,
    groups_by_audience,
    refusing_twins,
)
from firstlight.services.objects.wire_values import (
    LARGEST_ID,
    optional_text,
    plain_json,
    plain_text,
    wire_time,
)
from firstlight.services.transaction_locks import lock_names
from firstlight.services.visibility import seen_by

__all__ = [
    "TaxonomyExists",
    "TaxonomyMissing",
    "TaxonomyService",
    "TaxonomyUsed",
    "checked_hierarchy",
    "class_names",
    "default_taxonomy",
    "taxonomy_row",
    "visible_taxonomy",
]

_LONGEST_NAME = 128
_LONGEST_VERSION = 64
_LONGEST_PROVENANCE = 1000
_MOST_CLASSES = 20_000
_TEXTS = ("comments",)
_LISTS = ("other names", "links", "tags")
_KEYS = frozenset({"class", "subclasses", *_TEXTS, *_LISTS})


class TaxonomyMissing(MissingError):
    """There is no such taxonomy, or none that you may see."""

    code = "taxonomy.missing"


class TaxonomyExists(ConflictError):
    """There is a taxonomy of this name and version already."""

    code = "taxonomy.exists"


class TaxonomyUsed(ConflictError):
    """Objects are classified by this taxonomy."""

    code = "taxonomy.used"


class TaxonomyService:
    """Adds, changes and lists taxonomies.

    Parameters
    ----------
    database
        Where they are kept.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def list(self, viewer: Viewer, *, latest: bool = False) -> builtins.list[dict[str, Any]]:
        """All taxonomies, or the latest version of each, by name and version."""
        query = select(Taxonomy).where(seen_by(viewer, Taxonomy.audience_id))
        if latest:
            query = query.where(Taxonomy.is_latest)
        with self._database.reading() as session:
            rows = session.scalars(query.order_by(Taxonomy.name, Taxonomy.id)).all()
            return _shown(session, viewer, rows)

    def get(self, viewer: Viewer, taxonomy_id: int) -> dict[str, Any]:
        """One taxonomy."""
        with self._database.reading() as session:
            return _shown(session, viewer, [visible_taxonomy(session, viewer, taxonomy_id)])[0]

    def add(
        self,
        viewer: Viewer,
        name: str,
        version: str,
        hierarchy: object,
        *,
        provenance: str | None = None,
        is_latest: bool = True,
        group_ids: object = None,
    ) -> int:
        """Add a taxonomy, for everybody unless groups are named; returns its number.

        Parameters
        ----------
        hierarchy
            ``{"class": name, "subclasses": [...]}``, nested, or that as JSON text.
        is_latest
            Whether other versions of it are so no more.

        Raises
        ------
        TaxonomyExists
            Name and version are taken.
        """
        viewer.require("manage_taxonomies")
        plain_text(name, "name", longest=_LONGEST_NAME)
        plain_text(version, "version", longest=_LONGEST_VERSION)
        provenance = optional_text(provenance, "provenance", longest=_LONGEST_PROVENANCE)
        tree = checked_hierarchy(hierarchy)
        with self._database.begin() as session:
            _refuse_taken(session, name, version)
            row = Taxonomy(
                name=name,
                version=version,
                provenance=provenance,
                is_latest=is_latest,
                hierarchy=tree,
                audience_id=chosen_audience(
                    session, viewer, group_ids, default=public_audience(session)
                ),
            )
            with refusing_twins(session, TaxonomyExists(subject=f"{name} {version}")):
                session.add(row)
            _be_the_only_latest(session, row)
            return row.id

    def change(
        self,
        viewer: Viewer,
        taxonomy_id: int,
        *,
        name: str | None = None,
        version: str | None = None,
        provenance: str | None = None,
        is_latest: bool | None = None,
        group_ids: object = None,
    ) -> None:
        """Change what is written on a taxonomy; its classes never change, a new version does."""
        viewer.require("manage_taxonomies")
        name = optional_text(name, "name", longest=_LONGEST_NAME)
        version = optional_text(version, "version", longest=_LONGEST_VERSION)
        provenance = optional_text(provenance, "provenance", longest=_LONGEST_PROVENANCE)
        with self._database.begin() as session:
            row = visible_taxonomy(session, viewer, taxonomy_id)
            wanted = name or row.name, version or row.version
            if wanted != (row.name, row.version):
                _refuse_taken(session, *wanted)
            row.provenance = provenance or row.provenance
            row.is_latest = row.is_latest if is_latest is None else is_latest
            row.audience_id = chosen_audience(session, viewer, group_ids, default=row.audience_id)
            with refusing_twins(session, TaxonomyExists(subject=" ".join(wanted))):
                row.name, row.version = wanted
            _be_the_only_latest(session, row)

    def remove(self, viewer: Viewer, taxonomy_id: int) -> None:
        """Remove a taxonomy by which nothing is classified.

        Raises
        ------
        TaxonomyUsed
            Something is.
        """
        viewer.require("manage_taxonomies")
        with self._database.begin() as session:
            row = visible_taxonomy(session, viewer, taxonomy_id)
            used = select(Classification.id).where(Classification.taxonomy_id == row.id).limit(1)
            if session.scalar(used) is not None:
                raise TaxonomyUsed(subject=f"{row.name} {row.version}")
            with refusing_twins(session, TaxonomyUsed(subject=f"{row.name} {row.version}")):
                session.delete(row)

    def for_classifying(self, viewer: Viewer) -> builtins.list[dict[str, Any]]:
        """The latest taxonomies; where the archive has none at all, the default one is added."""
        viewer.require("classify")
        if found := self.list(viewer, latest=True):
            return found
        with self._database.reading() as session:
            is_empty = _is_empty(session)
        if not is_empty:
            return []  # there are some that the viewer does not see
        with self._database.begin() as session:
            lock_names(session, "default taxonomy")
            if _is_empty(session):
                seen = public_audience(session)
                session.add(Taxonomy(**default_taxonomy(), is_latest=True, audience_id=seen))
        return self.list(viewer, latest=True)


def _is_empty(session: Session) -> bool:
    return session.scalar(select(Taxonomy.id).limit(1)) is None


def default_taxonomy() -> dict[str, Any]:
    """The taxonomy that comes with firstlight: name, version, provenance, hierarchy."""
    source = files("firstlight.services.objects").joinpath("taxonomy.json")
    found: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return found


def checked_hierarchy(hierarchy: object) -> dict[str, Any]:
    """Return a tree of classes that has the agreed form (that of the package tdtax).

    Raises
    ------
    InvalidInput
        It has another form, classes without a name, or too many of them.
    """
    if isinstance(hierarchy, str):
        try:
            hierarchy = json.loads(hierarchy)
        except (ValueError, RecursionError) as fault:
            raise InvalidInput(
                "the hierarchy cannot be read", field="hierarchy_file", expected="JSON"
            ) from fault
    tree = plain_json(hierarchy, "hierarchy")
    seen = 0
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        seen += 1
        _check_node(node)
        waiting += node.get("subclasses", [])
        if seen + len(waiting) > _MOST_CLASSES:
            raise InvalidInput(field="hierarchy", expected=f"at most {_MOST_CLASSES} classes")
    found: dict[str, Any] = tree
    return found


def class_names(hierarchy: dict[str, Any]) -> Iterator[str]:
    """Names of all classes of a tree, parents before their children."""
    waiting = [hierarchy]
    while waiting:
        node = waiting.pop()
        yield node["class"]
        waiting += reversed(node.get("subclasses", []))


def visible_taxonomy(session: Session, viewer: Viewer, taxonomy_id: int) -> Taxonomy:
    """Return a taxonomy.

    Raises
    ------
    TaxonomyMissing
        There is none, or none that the viewer may see.
    """
    row = None
    if 0 < taxonomy_id <= LARGEST_ID:
        row = session.scalar(
            select(Taxonomy).where(
                Taxonomy.id == taxonomy_id, seen_by(viewer, Taxonomy.audience_id)
            )
        )
    if row is None:
        raise TaxonomyMissing(subject=taxonomy_id)
    return row


def taxonomy_row(row: Taxonomy) -> dict[str, Any]:
    """A taxonomy as SkyPortal shows it within other answers: without groups."""
    return {
        "id": row.id,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "name": row.name,
        "version": row.version,
        "provenance": row.provenance,
        "isLatest": row.is_latest,
        "hierarchy": row.hierarchy,
    }


def _shown(
    session: Session, viewer: Viewer, rows: Sequence[Taxonomy]
) -> builtins.list[dict[str, Any]]:
    groups = groups_by_audience(session, viewer, (row.audience_id for row in rows))
    return [{**taxonomy_row(row), "groups": groups[row.audience_id]} for row in rows]


def _check_node(node: object) -> None:
    if not isinstance(node, dict):
        raise InvalidInput(
            field="hierarchy",
            found=type(node).__name__,
            expected='{"class": ..., "subclasses": []}',
        )
    unknown = sorted(set(node) - _KEYS)
    if unknown:
        raise InvalidInput(
            field="hierarchy", found=", ".join(unknown)[:200], expected=", ".join(sorted(_KEYS))
        )
    plain_text(node.get("class"), "hierarchy.class", longest=_LONGEST_NAME)
    for key in ("subclasses", *_LISTS):
        if not isinstance(node.get(key, []), list):
            raise InvalidInput(field=f"hierarchy.{key}", expected="a list")


def _refuse_taken(session: Session, name: str, version: str) -> None:
    taken = select(Taxonomy.id).where(Taxonomy.name == name, Taxonomy.version == version)
    if session.scalar(taken) is not None:
        raise TaxonomyExists(subject=f"{name} {version}")


def _be_the_only_latest(session: Session, row: Taxonomy) -> None:
    if row.is_latest:
        session.execute(
            update(Taxonomy)
            .where(Taxonomy.name == row.name, Taxonomy.id != row.id, Taxonomy.is_latest)
            .values(is_latest=False)
        )
