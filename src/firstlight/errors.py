"""One tree of errors: each class has a stable code and says whose turn it is.

The code is what programs test; the message is what people read. A message names the thing
at fault (`subject`), what was found, what was expected, and what to do next (`hint`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

__all__ = [
    "BadFile",
    "BadSettings",
    "ConflictError",
    "FirstlightError",
    "InternalError",
    "InvalidInput",
    "Kind",
    "MissingDependency",
    "MissingError",
    "RemoteError",
    "UserError",
    "in_one_line",
]


class Kind(StrEnum):
    """Whose turn it is after an error."""

    USER = "user"  # the caller's input is wrong; trying again unchanged cannot help
    MISSING = "missing"  # what was asked for does not exist
    CONFLICT = "conflict"  # it contradicts what is already there
    REMOTE = "remote"  # another system failed; trying again may help
    INTERNAL = "internal"  # our fault


class FirstlightError(Exception):
    """Something went wrong.

    Parameters
    ----------
    message
        One sentence. Defaults to the first line of the class docstring.
    subject
        The thing at fault: a file, a key, an object's name.
    field
        The card, column or setting at fault within the subject.
    found, expected
        What was there, and what should have been.
    hint
        What to do about it.
    """

    code: ClassVar[str] = "internal"
    kind: ClassVar[Kind] = Kind.INTERNAL

    def __init__(
        self,
        message: str | None = None,
        *,
        subject: object = None,
        field: str | None = None,
        found: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.subject = None if subject is None else str(subject)
        self.field = field
        self.found = None if found is None else str(found)
        self.expected = None if expected is None else str(expected)
        self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return in_one_line(self.as_dict())

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross the border of worker processes; keyword-only arguments need help there.
        return _rebuild, (type(self), self.as_dict())

    def as_dict(self) -> dict[str, str | None]:
        """Everything a program needs, as plain strings."""
        return {
            "code": self.code,
            "kind": self.kind.value,
            "message": self.message,
            "subject": self.subject,
            "field": self.field,
            "found": self.found,
            "expected": self.expected,
            "hint": self.hint,
        }


def in_one_line(facts: Mapping[str, Any]) -> str:
    """An error's facts, as `FirstlightError.as_dict` gives them, for people."""
    subject, message = facts.get("subject"), facts["message"]
    parts = [f"{subject}: {message}" if subject else message]
    for name in ("field", "found", "expected", "hint"):
        fact = facts.get(name)
        # What was found may be nothing at all, and that is to be told.
        if fact or (fact is not None and name in {"found", "expected"}):
            parts.append(f"{name}: {fact}")
    return " | ".join(parts)


def _rebuild(cls: type[FirstlightError], facts: dict[str, str | None]) -> FirstlightError:
    kept = {k: facts[k] for k in ("subject", "field", "found", "expected", "hint")}
    return cls(facts["message"], **kept)


class UserError(FirstlightError):
    """The input is wrong."""

    code = "user"
    kind = Kind.USER


class MissingError(FirstlightError):
    """What was asked for does not exist."""

    code = "missing"
    kind = Kind.MISSING


class ConflictError(FirstlightError):
    """It contradicts what is already there."""

    code = "conflict"
    kind = Kind.CONFLICT


class RemoteError(FirstlightError):
    """Another system did not do its part."""

    code = "remote"
    kind = Kind.REMOTE


class InternalError(FirstlightError):
    """A fault in firstlight itself."""

    code = "internal"
    kind = Kind.INTERNAL


class InvalidInput(UserError):
    """An argument has a value that cannot be used."""

    code = "input.invalid"


class BadFile(UserError):
    """The file cannot be used."""

    code = "file.bad"


class BadSettings(UserError):
    """The settings are wrong."""

    code = "settings.bad"


class MissingDependency(UserError):
    """An optional package is needed for this."""

    code = "dependency.missing"
