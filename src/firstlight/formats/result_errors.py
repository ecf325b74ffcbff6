"""What can be wrong with the results that an analysis service sends."""

from __future__ import annotations

from firstlight.errors import UserError

__all__ = ["ResultMalformed", "ResultRefused", "ResultTooLarge", "ResultUnreadable"]


class ResultMalformed(UserError):
    """A part of the results has another form than it should."""

    code = "analysis.result_malformed"


class ResultRefused(UserError):
    """A part of the results could do more than hold data."""

    code = "analysis.result_refused"


class ResultTooLarge(UserError):
    """The results are larger than allowed."""

    code = "analysis.result_too_large"


class ResultUnreadable(UserError):
    """The results could not be read within the limits of time and memory."""

    code = "analysis.result_unreadable"
