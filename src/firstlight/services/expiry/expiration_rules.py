"""Which rule says when something expires, and how rules are set.

Rules of exposures and info images are tables in the settings::

    [[expiration.rules]]
    site = "sro"
    data_type = "EX"
    after = "30d"

A rule holds for what has all that it names. Of those that hold, **the one that names most
wins** (of data type, site, collection and prefix); among equals the one with the longer prefix,
then the one that is set later. The rules that are always there come before those of the
settings, so these win where they name as much. ``after = "never"`` is how a rule keeps things.

A rule that names no collection is one for exposures (``data`` and ``allsky``); info images
expire only by rules that name ``info-images``, whatever their data type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "DEFAULT_RULES",
    "INFO_IMAGES",
    "Age",
    "ExpirationRule",
    "ExpirationRules",
    "ExpirationSettings",
    "age_in_words",
    "parse_age",
]

INFO_IMAGES = "info-images"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST = timedelta(days=365_000)
_AGE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([smhdw]?)", re.ASCII)


def parse_age(value: object) -> timedelta | None:
    """Read an age: seconds, or text such as ``7d``, ``48h``, ``300s``; ``never`` is None.

    Raises
    ------
    ValueError
        It is none of these, negative, or longer than a thousand years.
    """
    if value is None or isinstance(value, timedelta):
        age = value
    elif isinstance(value, str) and value.strip().lower() == "never":
        return None
    elif isinstance(value, str) and (found := _AGE.fullmatch(value.strip().lower())):
        age = timedelta(seconds=min(float(found[1]) * _UNITS[found[2] or "s"], 1e12))
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        age = timedelta(seconds=min(float(value), 1e12))
    else:
        raise ValueError("an age is seconds, or text such as 7d, 48h, 30m, 300s, or never")
    if age is not None and not timedelta() <= age <= _LONGEST:
        raise ValueError("an age is from 0 s to 1000 years")
    return age


def age_in_words(age: timedelta | None) -> str:
    """Write an age as `parse_age` reads it, in the largest unit that leaves no rest."""
    if age is None:
        return "never"
    seconds = age.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds:.15g}s"


Age: TypeAlias = Annotated[timedelta | None, BeforeValidator(parse_age)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExpirationRule(_Settings):
    """After which age things are removed that have all that is named here."""

    data_type: str | None = Field(default=None, min_length=1)
    """Letters before the reduction level in a file's name: EX, EP, EF. Case counts."""
    site: str | None = Field(default=None, min_length=1)
    """Short name of the site."""
    collection: Literal["data", "allsky", "info-images"] | None = None
    """Exposures, those of all-sky cameras, or info images."""
    prefix: str | None = Field(default=None, min_length=1)
    """Beginning of the base filename, or of the file's name where there is none."""
    after: Age
    """Seconds, or 7d, 48h, 30m, 300s; never."""

    def holds(self, *, data_type: str | None, site: str | None, collection: str, name: str) -> bool:
        """Tell whether a thing has all that this rule names."""
        if self.collection is None and collection == INFO_IMAGES:
            return False
        return (
            self.data_type in (None, data_type)
            and self.site in (None, site)
            and self.collection in (None, collection)
            and name.startswith(self.prefix or "")
        )

    @property
    def specificity(self) -> tuple[int, int]:
        """How much it names, and how long its prefix is; the larger one wins."""
        named = (self.data_type, self.site, self.collection, self.prefix)
        return sum(each is not None for each in named), len(self.prefix or "")

    def __str__(self) -> str:
        words = [
            self.collection or "",
            f"data type {self.data_type}" if self.data_type else "",
            f"site {self.site}" if self.site else "",
            f"names beginning with {self.prefix}" if self.prefix else "",
        ]
        named = ", ".join(word for word in words if word) or "everything"
        return f"{named}: {age_in_words(self.after)}"


DEFAULT_RULES = (
    ExpirationRule(data_type="EP", after="7d"),  # type: ignore[arg-type]  # the validator reads text
    ExpirationRule(data_type="EF", after="1d"),  # type: ignore[arg-type]  # the validator reads text
    # The test site's own age is for what expires anyway: its science data stay, as everywhere.
    ExpirationRule(data_type="EP", site="tst", after="300s"),  # type: ignore[arg-type]  # the validator reads text
    ExpirationRule(data_type="EF", site="tst", after="300s"),  # type: ignore[arg-type]  # the validator reads text
    ExpirationRule(collection="info-images", after="48h"),  # type: ignore[arg-type]  # the validator reads text
)
"""Experimental and focus exposures, those of the test site sooner, and info images."""


class ExpirationSettings(_Settings):
    """What is removed after a while."""

    rules: tuple[ExpirationRule, ...] = ()
    """Rules beside those that are always there."""
    default_rules: bool = True
    """Whether those hold for EP (7d), EF (1d), both of tst (300s) and info images (48h)."""
    downloads: Age = timedelta(hours=48)
    """Converted files made for a download are removed so long after their last use."""
    upload_log: Age = timedelta(hours=48)
    """Entries of files that were archived, known or superseded."""
    quarantine: Age = None
    """Entries of files that could not be used, with their bytes."""
    upload_tickets: Age = timedelta(hours=48)
    """Leave to upload is forgotten so long after it ended; the file may be told of late."""
    grace: Age = timedelta(minutes=5)
    """On S3 bytes outlive their rows so long, so that reading that has begun can end. On a
    folder an open file stays readable, so its bytes go with the rows."""
    batch: int = Field(default=200, ge=1, le=10_000)
    """Things looked at in one go."""
    every_s: float = Field(default=60.0, gt=0)
    """Seconds between two sweeps."""


class ExpirationRules:
    """The rules in force.

    Parameters
    ----------
    settings
        As set by the operator.
    """

    def __init__(self, settings: ExpirationSettings) -> None:
        self.rules = (*(DEFAULT_RULES if settings.default_rules else ()), *settings.rules)

    def rule(
        self, *, data_type: str | None, site: str | None, collection: str, name: str
    ) -> ExpirationRule | None:
        """The rule that wins, or None where none holds, so that the thing stays."""
        return _strongest(
            rule
            for rule in self.rules
            if rule.holds(data_type=data_type, site=site, collection=collection, name=name)
        )

    def expires_at(
        self,
        *,
        data_type: str | None,
        site: str | None,
        collection: str,
        name: str,
        arrived: datetime,
    ) -> datetime | None:
        """When a thing is removed; None for never.

        Parameters
        ----------
        name
            Base filename, or the file's name where there is none.
        arrived
            When its first file came: later files do not extend its time.
        """
        rule = self.rule(data_type=data_type, site=site, collection=collection, name=name)
        return None if rule is None or rule.after is None else arrived + rule.after

    def reason(self, *, data_type: str | None, site: str | None, collection: str, name: str) -> str:
        """The rule that wins, in words."""
        rule = self.rule(data_type=data_type, site=site, collection=collection, name=name)
        return "no rule: never" if rule is None else str(rule)


def _strongest(rules: Iterable[ExpirationRule]) -> ExpirationRule | None:
    """Of rules that are equally specific the last."""
    best: ExpirationRule | None = None
    for rule in rules:
        if best is None or rule.specificity >= best.specificity:
            best = rule
    return best
