"""The one exception that an author raises on purpose."""

from __future__ import annotations

from typing import Any

__all__ = ["AnalysisFailed"]


class AnalysisFailed(Exception):
    """The run ends as a failure, and whoever started it reads why.

    Parameters
    ----------
    message
        One sentence for an astronomer: what could not be done with these data.
    hint
        What to do about it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Crosses the border of the child process; the hint is keyword-only.
        return _rebuild, (type(self), self.message, self.hint)

    def as_document(self) -> dict[str, Any]:
        """The body that is sent back."""
        return {"status": "failure", "message": str(self), "analysis": {}}


def _rebuild(cls: type[AnalysisFailed], message: str, hint: str | None) -> AnalysisFailed:
    return cls(message, hint=hint)
