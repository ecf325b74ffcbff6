"""What somebody asks of the list of candidates. Light to import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

from firstlight.errors import InvalidInput

__all__ = ["CandidatePlace", "CandidateQuery", "Sign", "Verdict"]

Sign = Literal["any", "brighter", "fainter"]
Verdict = Literal["real", "bogus"]

LONGEST_PAGE = 200


@dataclass(frozen=True, slots=True)
class CandidatePlace:
    """Where a page of the list ended: at the candidate with this MJD and number.

    As a word it is ``MJD,NUMBER``, to the last bit of the time.
    """

    mjd: float
    number: int

    @classmethod
    def of(cls, word: str) -> Self:
        """From its word.

        Raises
        ------
        InvalidInput
            The word is none.
        """
        mjd, _, number = word.partition(",")
        try:
            found = cls(float(mjd), int(number))
        except ValueError:
            found = cls(math.nan, -1)
        if not (math.isfinite(found.mjd) and 0 <= found.number < 2**63):
            raise InvalidInput(field="after", found=word, expected="MJD,NUMBER of a candidate")
        return found

    def __str__(self) -> str:
        return f"{self.mjd!r},{self.number}"


@dataclass(frozen=True, slots=True)
class CandidateQuery:
    """Conditions, all of which must hold.

    Attributes
    ----------
    kept
        Only those that nothing speaks against.
    sign
        Brighter or fainter than the reference, or either.
    min_score
        Least signal-to-noise ratio, whatever the sign.
    min_real
        Least probability of being a new source.
    filter, instrument
        Names.
    since, until
        MJD; the second is not in it.
    judged
        Those with this verdict of somebody; ``none`` for those without any; None for all.
    object_name
        Of one object.
    exposure
        Of one exposure: its id or the name that it is shown by.
    after
        The last candidate of the page before. So a page goes on where the one before ended,
        whatever was judged or came meanwhile; `skip` counts in the list as it is.
    """

    kept: bool = True
    sign: Sign = "any"
    min_score: float | None = None
    min_real: float | None = None
    filter: str | None = None
    instrument: str | None = None
    since: float | None = None
    until: float | None = None
    judged: Literal["real", "bogus", "none"] | None = None
    object_name: str | None = None
    exposure: str | None = None
    after: CandidatePlace | None = None
    skip: int = 0
    limit: int = 24

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= LONGEST_PAGE:
            raise InvalidInput(field="limit", found=self.limit, expected=f"1 to {LONGEST_PAGE}")
        if not 0 <= self.skip < 10_000_000:
            raise InvalidInput(field="skip", found=self.skip, expected="0 or more")
        if self.min_real is not None and not 0 <= self.min_real <= 1:
            raise InvalidInput(field="min_real", found=self.min_real, expected="0 to 1")
