"""Searching exposures: which way through the indexes is short is found out, not guessed.

Each condition that an index leads to is a *way*. A way whose index is in the order of lists is
walked until the page is full. One that is not (a cone, a range of exposure times, a pattern of
names) is gathered and sorted. Among several the one with the fewest exposures is taken, which
are counted no further than it matters. Where all have many, the newest part of the list, which
is bounded, most likely fills the page; where it does not, the shortest way through the rest
does.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, RowMapping, and_, func, literal, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from firstlight.models.exposure_file import ExposureCard, ExposureFile
from firstlight.models.exposure_streams import (
    EVER,
    EXPOSURES,
    CardStream,
    Gathering,
    Key,
    Stream,
    Stretch,
    counted,
    distinct_sites,
    first_of_each,
    is_postgres,
    merged,
    newest,
    opaque,
    sites_of_exposures,
    steady,
)

__all__ = [
    "NamePattern",
    "Sought",
    "count_exposures",
    "escaped",
    "find_keys",
    "first_keys_of_sites",
    "latest_of_each_site",
    "narrowest",
]

Condition: TypeAlias = ColumnElement[bool]
Columns: TypeAlias = ReadOnlyColumnCollection[str, Any]

# A way with fewer is taken at once.
FEW = 1_000
# So many are counted, gathered and sorted in a few milliseconds, from the index alone.
PROBED = 20_000
PROBED_FAR = 200_000
# The newest part of the list that is walked before the rest.
NEWEST = 20_000


@dataclass(frozen=True)
class NamePattern:
    r"""A pattern of names in the forms that the databases know.

    Attributes
    ----------
    prefix
        What every name begins with.
    like
        The pattern for LIKE with ``\`` as escape.
    glob
        The same for SQLite's GLOB, which heeds letter case as LIKE does on PostgreSQL.
    """

    prefix: str
    like: str = ""
    glob: str = ""


@dataclass(frozen=True)
class Sought:
    """What exposures are sought; all conditions hold together.

    Attributes
    ----------
    equal
        Values by column of `SEARCH_COLUMNS`; an exposure has one of them.
    sites
        Only these; None for all, also for exposures without a site.
    first, last
        `sort_mjd`, from the first on and before the last.
    exp_time
        Seconds, both ends included; None for no bound.
    sky
        Ranges of the sky index. The caller cuts exactly.
    cards
        Numbers of cards (`card_number`), all of which the header has.
    observations
        Ids; an exposure belongs to one of them.
    final_only
        Of a smart stack, only the last exposure there is.
    role
        Only exposures that have a file of this role.
    """

    equal: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    sites: tuple[str, ...] | None = None
    first: float | None = None
    last: float | None = None
    exp_time: tuple[float | None, float | None] = (None, None)
    sky: tuple[tuple[int, int], ...] | None = None
    name: NamePattern | None = None
    cards: tuple[int, ...] = ()
    modified_since: datetime | None = None
    observations: tuple[uuid.UUID, ...] | None = None
    smart_stack: str | None = None
    final_only: bool = False
    role: str | None = None

    @property
    def impossible(self) -> bool:
        """Whether nothing can be found, as by someone who may see no site."""
        empty = self.sites == () or self.observations == () or self.sky == ()
        return empty or any(not values for values in self.equal.values())

    def stretch(self, after: Key | None = None) -> Stretch:
        """The part of the list to look at."""
        whole = Stretch(after=after)
        if self.first is not None:
            whole = replace(whole, first=self.first)
        return whole if self.last is None else replace(whole, last=self.last)


@dataclass(frozen=True)
class Way:
    """One way to exposures that fulfil at least the conditions in `fulfils`."""

    fulfils: frozenset[str]
    streams: tuple[Stream | CardStream, ...] = ()
    gathering: Gathering | None = None

    def size(self, session: Session, stretch: Stretch, at_most: int) -> int:
        """How many exposures it leads along in a stretch, counted no further than `at_most`.

        What is gathered is gathered from the whole list.
        """
        if self.gathering is None:
            return counted(session, self.streams, stretch, at_most)
        return self.gathering.count(session, at_most)


def find_keys(session: Session, sought: Sought, after: Key | None, limit: int) -> list[Key]:
    """The first exposures of a search, newest first.

    Parameters
    ----------
    after
        Only what comes after this key.
    limit
        How many at most.

    Returns
    -------
    list
        Fewer than `limit` only where there are no more.
    """
    if sought.impossible or limit < 1:
        return []
    steady(session)
    whole = sought.stretch(after)
    ways = _ways(session, sought)
    if len(ways) == 1 and ways[0].streams:
        return _take(session, sought, ways[0], whole, limit)
    way, size = _shortest(session, ways, whole, PROBED)
    if size < PROBED:
        return _take(session, sought, way, whole, limit)
    recent, earlier = _split(session, whole)
    ordered = way if way.streams else Way(frozenset({"site"}), _list(sought))
    found = _take(session, sought, ordered, recent, limit)
    if len(found) >= limit or earlier is None:
        return found
    # What comes in order can end with the page; what is gathered never ends before its last.
    candidates = [each for each in ways if each.streams] or ways
    way = candidates[0]
    if len(candidates) > 1:
        way = _shortest_of_long(session, candidates, earlier)
    return found + _take(session, sought, way, earlier, limit - len(found))


def count_exposures(session: Session, sought: Sought, at_most: int) -> int:
    """Number of exposures, counted no further than `at_most`; the sky by ranges alone."""
    if sought.impossible:
        return 0
    steady(session)
    whole = sought.stretch()
    way, _ = _shortest(session, _ways(session, sought), whole, PROBED)
    rest = _conditions(session, sought, way.fulfils)
    if way.gathering is None:
        return counted(session, way.streams, whole, at_most, rest)
    keys = way.gathering.keys(session, whole, at_most, rest)
    return session.scalar(select(func.count()).select_from(keys)) or 0


def narrowest(session: Session, sought: Sought, at_most: int) -> int:
    """How many exposures a search has to look at, counted no further than `at_most`."""
    if sought.impossible:
        return 0
    steady(session)
    return _shortest(session, _ways(session, sought), sought.stretch(), at_most)[1]


def latest_of_each_site(
    session: Session, sites: Sequence[str] | None, *, collection: str, role: str | None
) -> list[RowMapping]:
    """The newest exposure of every site, in one statement.

    Parameters
    ----------
    sites
        Only these; None for all that have a name.
    role
        Exposures that have a file of this role; None for any.
    """
    steady(session)
    each = EXPOSURES.alias("each")
    names = distinct_sites()
    # A range, not an equality: then only the index of sites comes in this order.
    newest_there = (
        select(each.c.id)
        .where(each.c.site >= names.c.v, each.c.site <= names.c.v)
        .where(opaque(each.c.collection) == collection)
        .order_by(each.c.site.desc(), each.c.sort_mjd.desc(), each.c.id.desc())
        .limit(1)
        .correlate(names)
    )
    if role is not None:
        newest_there = newest_there.where(_has_file(each.c, role))
    if session.get_bind().dialect.name == "sqlite":
        newest_there = newest_there.with_hint(each, "INDEXED BY ix_exposures_search_site")
    there = EXPOSURES.c.id == newest_there.scalar_subquery()
    chosen = select(EXPOSURES).select_from(names.join(EXPOSURES, there)).order_by(names.c.v)
    if sites is not None:
        chosen = chosen.where(names.c.v.in_(sites))
    return list(session.execute(chosen).mappings())


def first_keys_of_sites(
    session: Session, sites: Sequence[str] | None, collection: str, limit: int
) -> list[Key]:
    """The newest exposures of each site, all of them newest first, in one statement.

    Parameters
    ----------
    sites
        Only these; None for all that have a name.
    limit
        Of each site.
    """
    steady(session)
    index, common = "ix_exposures_search_collection", ("collection", collection)
    there = sites_of_exposures(session)
    streams = [
        Stream(index, (common, ("site", site))) for site in there if sites is None or site in sites
    ]
    return first_of_each(session, streams, Stretch(), limit) if streams else []


def _take(session: Session, sought: Sought, way: Way, stretch: Stretch, limit: int) -> list[Key]:
    """The first keys that a way has in a stretch."""
    rest = _conditions(session, sought, way.fulfils)
    if way.gathering is None:
        return merged(session, way.streams, stretch, limit, rest)
    statement = newest(way.gathering.keys(session, stretch, None, rest), limit)
    return [(row.sort_mjd, row.id) for row in session.execute(statement)]


def _shortest(
    session: Session, ways: Sequence[Way], stretch: Stretch, at_most: int
) -> tuple[Way, int]:
    """The way with the fewest exposures, and how many; of equal ones one that is in order."""
    sizes: list[tuple[int, bool, int]] = []
    for way in ways:
        size = way.size(session, stretch, at_most)
        if size < FEW:
            return way, size
        sizes.append((size, way.gathering is not None, len(sizes)))
    size, _, number = min(sizes)
    return ways[number], size


def _shortest_of_long(session: Session, ways: Sequence[Way], stretch: Stretch) -> Way:
    """The same for ways that are all long: looked at farther and farther until one ends."""
    bound = 2 * PROBED
    while True:
        way, size = _shortest(session, ways, stretch, bound)
        if size < bound or bound >= PROBED_FAR:
            return way
        bound *= 3


def _split(session: Session, stretch: Stretch) -> tuple[Stretch, Stretch | None]:
    """A stretch as its newest part and the rest."""
    keys = Stream("ix_exposures_search_date").keys(session, stretch, NEWEST)
    row = session.execute(keys.limit(1).offset(NEWEST - 1)).first()
    if row is None:
        return stretch, None
    # Both parts are cut between two times, so no exposure is in both or in none.
    cut = float(row.sort_mjd)
    return replace(stretch, first=cut), replace(stretch, last=cut, after=None)


def _ways(session: Session, sought: Sought) -> list[Way]:
    """All ways, those first that are likely to be short. The list itself, if no other."""
    ways = _gatherings(sought, postgres=is_postgres(session))
    ways += [Way(frozenset({f"card {card}"}), (CardStream(card),)) for card in sought.cards]
    sites: Sequence[str | None] = sought.sites or ()
    if sought.equal and sought.sites is None:
        sites = [*sites_of_exposures(session), None]
    for name, values in sought.equal.items():
        pairs = [((name, value), ("site", site)) for value in values for site in sites]
        streams = tuple(Stream(f"ix_exposures_search_{name}", pair) for pair in pairs)
        ways.append(Way(frozenset({name, "site"}), streams))
    bounded = (sought.sites, sought.first, sought.last) != (None, None, None)
    # Streams of a value are shorter than the list within the same bounds.
    if not sought.equal and (bounded or not ways):
        ways.append(Way(frozenset({"site"}), _list(sought)))
    return ways


def _list(sought: Sought) -> tuple[Stream, ...]:
    """The whole list, or that of the sites."""
    if sought.sites is None:
        return (Stream("ix_exposures_search_date"),)
    return tuple(Stream("ix_exposures_search_site", (("site", site),)) for site in sought.sites)


def _of_times(sought: Sought) -> Gathering:
    low, high = sought.exp_time
    first = -EVER if low is None else low
    # The range of the index is open at its end, that of the search is not.
    stop = None if high is None else math.nextafter(high, math.inf)
    return Gathering("ix_exposures_search_exp_time", "exp_time", ((first, stop),))


def _gatherings(sought: Sought, *, postgres: bool) -> list[Way]:
    """Ways through indexes that are not in the order of lists."""
    found: dict[str, Gathering] = {}
    if sought.observations is not None:
        found["observation"] = Gathering(
            "ix_exposures_search_observation_id", "observation_id", equal=sought.observations
        )
    if sought.smart_stack is not None:
        found["smart_stack"] = Gathering(
            "ix_exposures_search_smart_stack", "smart_stack", equal=(sought.smart_stack,)
        )
    if sought.sky is not None:
        found["sky"] = Gathering("ix_exposures_search_hpx", "hpx", sought.sky)
    if sought.name is not None:
        found["name"] = _of_names(sought.name, postgres=postgres)
    if sought.exp_time != (None, None):
        found["exp_time"] = _of_times(sought)
    if sought.modified_since is not None:
        since = ((sought.modified_since, None),)
        found["modified"] = Gathering("ix_exposures_search_modified", "modified_at", since)
    return [Way(frozenset({name}), gathering=each) for name, each in found.items()]


def _of_names(name: NamePattern, *, postgres: bool) -> Gathering:
    index = "ix_exposures_search_label"
    # No name holds the last letter there is, which UTF-8 puts behind all others.
    stop = name.prefix + "\U0010ffff" if name.prefix else None
    all_of_it = name.prefix and name.like == f"{escaped(name.prefix)}%"
    condition = None if all_of_it else _matches(EXPOSURES.c.label, name, postgres=postgres)
    return Gathering(index, "label", ((name.prefix, stop),), condition=condition)


def _matches(label: ColumnElement[str], name: NamePattern, *, postgres: bool) -> Condition:
    if postgres:
        return (opaque(label) if name.prefix else label).like(name.like, escape="\\")
    return (opaque(label) if name.prefix else label).op("GLOB", is_comparison=True)(name.glob)


def _conditions(session: Session, sought: Sought, fulfilled: frozenset[str]) -> list[Condition]:
    """What a way does not fulfil, so that no other index is led to."""
    c = EXPOSURES.c
    found: dict[str, list[Condition]] = {
        name: [_one_of(c[name], values)] for name, values in sought.equal.items()
    }
    if sought.sites is not None:
        found["site"] = [_one_of(c.site, sought.sites)]
    low, high = sought.exp_time
    times = [] if low is None else [opaque(c.exp_time) >= low]
    found["exp_time"] = times + ([] if high is None else [opaque(c.exp_time) <= high])
    if sought.sky is not None:
        hpx = opaque(c.hpx)
        found["sky"] = [or_(*(and_(hpx >= first, hpx < stop) for first, stop in sought.sky))]
    if sought.name is not None:
        found["name"] = [_matches(c.label, sought.name, postgres=is_postgres(session))]
    if sought.modified_since is not None:
        found["modified"] = [opaque(c.modified_at) >= sought.modified_since]
    if sought.observations is not None:
        found["observation"] = [_one_of(c.observation_id, sought.observations)]
    if sought.smart_stack is not None:
        found["smart_stack"] = [opaque(c.smart_stack) == sought.smart_stack]
    for card in sought.cards:
        found[f"card {card}"] = [_has_card(c, card)]
    if sought.final_only:
        found["final_only"] = [_is_final(c)]
    if sought.role is not None:
        found["role"] = [_has_file(c, sought.role)]
    return [each for name, some in found.items() if name not in fulfilled for each in some]


def _one_of(column: ColumnElement[Any], values: Sequence[Any]) -> Condition:
    return opaque(column).in_(values)


def _has_card(c: Columns, card: int) -> Condition:
    there = select(literal(1)).where(
        ExposureCard.card == card,
        ExposureCard.sort_mjd == c.sort_mjd,
        ExposureCard.exposure_id == c.id,
    )
    # As a value, not as EXISTS, which could become a join in another order.
    return there.correlate_except(ExposureCard).scalar_subquery().is_not(None)


def _has_file(c: Columns, role: str) -> Condition:
    there = select(literal(1)).where(ExposureFile.exposure_id == c.id, ExposureFile.role == role)
    return there.limit(1).correlate_except(ExposureFile).scalar_subquery().is_not(None)


def _is_final(c: Columns) -> Condition:
    """Whether no later exposure of its smart stack is there; two sites may use one name."""
    other = EXPOSURES.alias("other")
    last = select(func.max(other.c.stack_number)).where(
        other.c.smart_stack == c.smart_stack,
        opaque(other.c.site).is_not_distinct_from(c.site),
        opaque(other.c.camera).is_not_distinct_from(c.camera),
    )
    number = func.coalesce(c.stack_number, -1)
    return func.coalesce(last.correlate_except(other).scalar_subquery(), -1) <= number


def escaped(text: str) -> str:
    """Text in which LIKE finds no wildcards, with a backslash as escape."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
