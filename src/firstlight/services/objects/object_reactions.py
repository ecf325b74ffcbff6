"""What begins by itself when something is said of an object: a hook, filled by the factory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from sqlalchemy.orm import Session

from firstlight.models.notes import Classification
from firstlight.models.object import Object

__all__ = ["NO_REACTIONS", "ObjectReactions"]


class ObjectReactions(Protocol):
    """Is told within the transaction that makes it true, before any event is recorded.

    It never raises for what goes wrong with it: to classify and to save do not depend on it.
    """

    def classified(self, session: Session, made: Sequence[tuple[Classification, Object]]) -> None:
        """Objects have got a class, or a class another probability."""
        ...

    def saved(self, session: Session, thing: Object, group_ids: Collection[int]) -> None:
        """An object has come into the lists of groups."""
        ...


class _Nothing:
    """Nothing begins by itself."""

    def classified(self, session: Session, made: Sequence[tuple[Classification, Object]]) -> None:
        """Do nothing."""

    def saved(self, session: Session, thing: Object, group_ids: Collection[int]) -> None:
        """Do nothing."""


NO_REACTIONS: ObjectReactions = _Nothing()
