"""Classifications: classes of a taxonomy given to objects, and what others think of that."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, MissingError
from firstlight.models.database import Database, among, bulk_insert
from firstlight.models.notes import (
    Classification,
    ClassificationEdit,
    ClassificationVote,
    Taxonomy,
)
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.objects.object_reactions import NO_REACTIONS, ObjectReactions
from firstlight.services.objects.sharing import (
    account_of,
    by_object,
    chosen_audience,
    groups_by_audience,
    may_change,
    readable,
    tell_of_row,
)
from firstlight.services.objects.taxonomies import class_names, taxonomy_row, visible_taxonomy
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import (
    LARGEST_ID,
    authors,
    finite,
    moment,
    optional_text,
    wire_time,
)
from firstlight.services.visibility import seen_by

__all__ = [
    "ClassificationMissing",
    "ClassificationService",
    "NewClassification",
    "classification_rows",
]

_LONGEST_ORIGIN = 128
_LONGEST_PAGE = 500
_MOST_AT_ONCE = 1000
_WHAT = "classification"


class ClassificationMissing(MissingError):
    """There is no such classification, or none that you may see."""

    code = "classification.missing"


@dataclass(frozen=True, slots=True)
class NewClassification:
    """What somebody takes an object for.

    Attributes
    ----------
    obj_id
        Name of the object.
    probability
        From 0 to 1; None where it is not told.
    ml
        Whether a machine says so.
    group_ids
        With whom it is shared; whoever sees the object, if None.
    vote
        Whether its author votes for it, too.
    """

    obj_id: str
    classification: str
    taxonomy_id: int
    origin: str | None = None
    probability: float | None = None
    ml: bool = False
    group_ids: object = None
    vote: bool = True


class ClassificationService:
    """Gives classes to objects, changes and lists what was given.

    Parameters
    ----------
    database
        Where they are kept.
    reactions
        What begins by itself.
    """

    def __init__(self, *, database: Database, reactions: ObjectReactions = NO_REACTIONS) -> None:
        self._database = database
        self._reactions = reactions

    def of_object(self, viewer: Viewer, name: str) -> builtins.list[dict[str, Any]]:
        """Classifications of one object with votes and edits, the oldest first."""
        with self._database.reading() as session:
            thing = visible_object(session, viewer, name)
            return classification_rows(session, viewer, {thing.id: thing.name}).get(thing.id, [])

    def get(
        self, viewer: Viewer, classification_id: int, *, with_taxonomy: bool = False
    ) -> dict[str, Any]:
        """One classification."""
        with self._database.reading() as session:
            row, thing = _one(session, viewer, classification_id)
            return _shown(session, viewer, [row], {thing.id: thing.name}, with_taxonomy)[0]

    def search(
        self,
        viewer: Viewer,
        *,
        start: str | None = None,
        end: str | None = None,
        page: int = 1,
        per_page: int = 100,
        with_taxonomy: bool = False,
    ) -> dict[str, Any]:
        """Classifications of all objects, in the order in which they were made.

        Parameters
        ----------
        start, end
            Times between which they were made.
        per_page
            At most 500.

        Returns
        -------
        dict
            ``classifications`` and ``totalMatches``.
        """
        size = min(max(per_page, 1), _LONGEST_PAGE)
        known = _between(viewer, start, end)
        base = select(Classification, Object.name).join(
            Object, Object.id == Classification.object_id
        )
        with self._database.reading() as session:
            total = session.scalar(
                select(func.count())
                .select_from(Classification)
                .join(Object, Object.id == Classification.object_id)
                .where(*known)
            )
            found = session.execute(
                base.where(*known)
                .order_by(Classification.id)
                .offset((min(max(page, 1), LARGEST_ID) - 1) * size)
                .limit(size)
            ).all()
            names = {row.object_id: name for row, name in found}
            rows = _shown(session, viewer, [row for row, _ in found], names, with_taxonomy)
            return {"classifications": rows, "totalMatches": total}

    def objects(
        self, viewer: Viewer, *, start: str | None = None, end: str | None = None
    ) -> builtins.list[str]:
        """Names of the objects that were classified between two times, sorted."""
        with self._database.reading() as session:
            return list(
                session.scalars(
                    select(Object.name)
                    .join(Classification, Object.id == Classification.object_id)
                    .where(*_between(viewer, start, end))
                    .distinct()
                    .order_by(Object.name)
                )
            )

    def add(self, viewer: Viewer, new: Sequence[NewClassification]) -> builtins.list[int]:
        """Classify objects, all or none; returns the numbers of the classifications.

        Raises
        ------
        ObjectMissing, TaxonomyMissing
            There is none that the viewer may see.
        InvalidInput
            The taxonomy has no such class, or the probability is not one.
        """
        viewer.require("classify")
        author = account_of(viewer)
        if len(new) > _MOST_AT_ONCE:
            raise InvalidInput(
                field="classifications", found=len(new), expected=f"at most {_MOST_AT_ONCE}"
            )
        with self._database.begin() as session:
            made = [_made(session, viewer, each, author) for each in new]
            self._reactions.classified(session, made)
            for row, thing in made:
                tell_of_row(session, thing, _WHAT, row, "added")
            return [row.id for row, _ in made]

    def change(self, viewer: Viewer, classification_id: int, given: Mapping[str, Any]) -> None:
        """Change one's own classification; what is not given stays.

        Parameters
        ----------
        given
            Of ``classification``, ``taxonomy_id``, ``probability``, ``origin``, ``ml`` and
            ``group_ids`` those that change.
        """
        viewer.require("classify")
        with self._database.begin() as session:
            row, thing = _one(session, viewer, classification_id)
            may_change(viewer, row.author_id, _WHAT)
            before = (row.classification, row.probability)
            row.taxonomy_id = given.get("taxonomy_id") or row.taxonomy_id
            row.classification = given.get("classification") or row.classification
            if {"taxonomy_id", "classification"} & set(given):
                taxonomy = visible_taxonomy(session, viewer, row.taxonomy_id)
                _check_class(taxonomy, row.classification)
            if given.get("probability") is not None:
                self._reconsider(session, viewer, row, _probability(given["probability"]))
            if given.get("origin") is not None:
                row.origin = optional_text(given["origin"], "origin", longest=_LONGEST_ORIGIN)
            if given.get("ml") is not None:
                row.ml = bool(given["ml"])
            row.audience_id = chosen_audience(
                session, viewer, given.get("group_ids"), default=row.audience_id
            )
            if (row.classification, row.probability) != before:
                self._reactions.classified(session, [(row, thing)])
            tell_of_row(session, thing, _WHAT, row, "changed")

    def remove(self, viewer: Viewer, classification_id: int) -> None:
        """Take one's own classification back."""
        viewer.require("classify")
        with self._database.begin() as session:
            row, thing = _one(session, viewer, classification_id)
            may_change(viewer, row.author_id, _WHAT)
            session.delete(row)
            tell_of_row(session, thing, _WHAT, row, "removed")

    def remove_of_object(self, viewer: Viewer, name: str) -> int:
        """Take back all classifications of an object that the viewer may; returns how many."""
        viewer.require("classify")
        with self._database.begin() as session:
            thing = visible_object(session, viewer, name)
            query = select(Classification).where(
                Classification.object_id == thing.id, readable(viewer, Classification)
            )
            if not viewer.may("admin"):
                query = query.where(Classification.author_id == viewer.user_id)
            rows = session.scalars(query).all()
            for row in rows:
                session.delete(row)
            for row in rows:
                tell_of_row(session, thing, _WHAT, row, "removed")
            return len(rows)

    def vote(self, viewer: Viewer, classification_id: int, vote: int) -> None:
        """Vote for (1) or against (-1) a classification; a second vote replaces the first."""
        viewer.require("classify")
        voter = account_of(viewer)
        if vote not in {1, -1}:
            raise InvalidInput(field="vote", found=vote, expected="1 or -1")
        with self._database.begin() as session:
            row, thing = _one(session, viewer, classification_id)
            mine = {"classification_id": row.id, "voter_id": voter, "vote": vote}
            bulk_insert(session, ClassificationVote, [mine])
            session.scalars(_vote_of(voter, row.id)).one().vote = vote
            tell_of_row(session, thing, _WHAT, row, "voted")

    def take_vote_back(self, viewer: Viewer, classification_id: int) -> None:
        """Take one's vote back; without one nothing happens."""
        viewer.require("classify")
        voter = account_of(viewer)
        with self._database.begin() as session:
            row, thing = _one(session, viewer, classification_id)
            ours = session.scalar(_vote_of(voter, row.id))
            if ours is not None:
                session.delete(ours)
                tell_of_row(session, thing, _WHAT, row, "voted")

    def _reconsider(
        self, session: Session, viewer: Viewer, row: Classification, probability: float
    ) -> None:
        if probability == row.probability:
            return
        session.add(
            ClassificationEdit(
                classification_id=row.id,
                editor_id=viewer.user_id,
                old_probability=row.probability,
                new_probability=probability,
            )
        )
        row.probability = probability


def classification_rows(
    session: Session, viewer: Viewer, objects: Mapping[uuid.UUID, str]
) -> dict[uuid.UUID, builtins.list[dict[str, Any]]]:
    """Classifications of many objects with votes and edits, of each the oldest first.

    Parameters
    ----------
    objects
        Names by id, of objects that the viewer may see.
    """
    # Columns are read in a third of the time that whole rows of the model take.
    rows: Sequence[Any] = session.execute(
        select(*Classification.__table__.columns)
        .where(among(session, Classification.object_id, objects), readable(viewer, Classification))
        .order_by(Classification.id)
    ).all()
    return by_object(rows, _shown(session, viewer, rows, objects))


def _made(
    session: Session, viewer: Viewer, new: NewClassification, author: int
) -> tuple[Classification, Object]:
    thing = visible_object(session, viewer, new.obj_id)
    _check_class(visible_taxonomy(session, viewer, new.taxonomy_id), new.classification)
    row = Classification(
        object_id=thing.id,
        taxonomy_id=new.taxonomy_id,
        classification=new.classification,
        probability=None if new.probability is None else _probability(new.probability),
        ml=new.ml,
        origin=optional_text(new.origin, "origin", longest=_LONGEST_ORIGIN),
        author_id=author,
        audience_id=chosen_audience(session, viewer, new.group_ids, default=thing.audience_id),
    )
    session.add(row)
    session.flush()
    if new.vote:
        session.add(ClassificationVote(classification_id=row.id, voter_id=author, vote=1))
    return row, thing


def _check_class(taxonomy: Taxonomy, name: str) -> None:
    if name not in set(class_names(taxonomy.hierarchy)):
        raise InvalidInput(
            "the taxonomy has no such class",
            subject=f"{taxonomy.name} {taxonomy.version}",
            field="classification",
            found=repr(name[:100]),
        )


def _probability(value: object) -> float:
    found = finite(value, "probability")
    if not 0.0 <= found <= 1.0:
        raise InvalidInput(field="probability", found=found, expected="0 to 1")
    return found


def _between(
    viewer: Viewer, start: str | None, end: str | None
) -> builtins.list[ColumnElement[bool]]:
    known = [readable(viewer, Classification), seen_by(viewer, Object.audience_id)]
    if start:
        known.append(Classification.created_at >= moment(start, "startDate"))
    if end:
        known.append(Classification.created_at <= moment(end, "endDate"))
    return known


def _one(session: Session, viewer: Viewer, classification_id: int) -> tuple[Classification, Object]:
    row = session.execute(
        select(Classification, Object)
        .join(Object, Object.id == Classification.object_id)
        .where(
            Classification.id == classification_id,
            readable(viewer, Classification),
            seen_by(viewer, Object.audience_id),
        )
    ).first()
    if row is None:
        raise ClassificationMissing(subject=classification_id)
    return row[0], row[1]


def _vote_of(voter: int, classification_id: int) -> Any:
    return select(ClassificationVote).where(
        ClassificationVote.classification_id == classification_id,
        ClassificationVote.voter_id == voter,
    )


def _shown(
    session: Session,
    viewer: Viewer,
    rows: Sequence[Classification],
    names: Mapping[uuid.UUID, str],
    with_taxonomy: bool = False,
) -> builtins.list[dict[str, Any]]:
    ids = [row.id for row in rows]
    votes = _votes(session, ids)
    edits = _edits(session, ids)
    people = authors(session, (row.author_id for row in rows))
    groups = groups_by_audience(session, viewer, (row.audience_id for row in rows))
    trees = _taxonomies(session, viewer, rows) if with_taxonomy else {}
    return [
        {
            "id": row.id,
            "created_at": wire_time(row.created_at),
            "modified": wire_time(row.modified_at),
            "obj_id": names[row.object_id],
            "classification": row.classification,
            "taxonomy_id": row.taxonomy_id,
            "probability": row.probability,
            "origin": row.origin,
            "ml": row.ml,
            "author_id": row.author_id,
            "author_name": people.get(row.author_id, {}).get("username"),
            "groups": groups[row.audience_id],
            "votes": votes.get(row.id, []),
            "edits": edits.get(row.id, []),
            **({"taxonomy": trees.get(row.taxonomy_id)} if with_taxonomy else {}),
        }
        for row in rows
    ]


def _votes(session: Session, ids: Sequence[int]) -> dict[int, builtins.list[dict[str, Any]]]:
    found: dict[int, builtins.list[dict[str, Any]]] = {}
    if not ids:
        return found
    for row in session.execute(
        select(*ClassificationVote.__table__.columns)
        .where(among(session, ClassificationVote.classification_id, ids))
        .order_by(ClassificationVote.id)
    ):
        found.setdefault(row.classification_id, []).append(
            {
                "id": row.id,
                "created_at": wire_time(row.created_at),
                "modified": wire_time(row.modified_at),
                "classification_id": row.classification_id,
                "voter_id": row.voter_id,
                "vote": row.vote,
            }
        )
    return found


def _edits(session: Session, ids: Sequence[int]) -> dict[int, builtins.list[dict[str, Any]]]:
    if not ids:
        return {}
    rows = session.scalars(
        select(ClassificationEdit)
        .where(among(session, ClassificationEdit.classification_id, ids))
        .order_by(ClassificationEdit.id)
    ).all()
    people = authors(session, (row.editor_id for row in rows))
    found: dict[int, builtins.list[dict[str, Any]]] = {}
    for row in rows:
        editor = people.get(row.editor_id, {}) if row.editor_id is not None else {}
        found.setdefault(row.classification_id, []).append(
            {
                "id": row.id,
                "created_at": wire_time(row.created_at),
                "modified": wire_time(row.modified_at),
                "classification_id": row.classification_id,
                "editor_id": row.editor_id,
                "editor_name": editor.get("username"),
                "old_probability": row.old_probability,
                "new_probability": row.new_probability,
            }
        )
    return found


def _taxonomies(
    session: Session, viewer: Viewer, rows: Sequence[Classification]
) -> dict[int, dict[str, Any]]:
    wanted = {row.taxonomy_id for row in rows}
    found = session.scalars(
        select(Taxonomy).where(Taxonomy.id.in_(wanted), seen_by(viewer, Taxonomy.audience_id))
    )
    return {row.id: taxonomy_row(row) for row in found}
