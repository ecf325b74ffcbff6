"""Finding exposures: by any of their facts, newest first, page by page."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np
from sqlalchemy import ColumnElement, RowMapping, and_, select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError, UserError
from firstlight.formats.table_stream import stream_csv
from firstlight.formats.votable import stream_votable
from firstlight.instruments import get_instrument_instance
from firstlight.models.database import Database, among
from firstlight.models.exposure_file import ExposureFile, ExposureHeader, FileRole, card_number
from firstlight.models.exposure_search import (
    Sought,
    count_exposures,
    find_keys,
    first_keys_of_sites,
    latest_of_each_site,
    narrowest,
)
from firstlight.models.exposure_streams import EXPOSURES, Key
from firstlight.models.observation import Observation
from firstlight.services.finding.exposure_forms import (
    EXPORT_COLUMNS,
    ExposureRow,
    FileRow,
    export_row,
)
from firstlight.services.finding.search_query import (
    ExposureQuery,
    decode_cursor,
    encode_cursor,
    is_on_sky,
    mjd_of,
    name_pattern,
    sky_ranges,
)
from firstlight.services.intake.stored_header import cards_of
from firstlight.storage import LinksUnavailable, Store

__all__ = [
    "ExposureAmbiguous",
    "ExposureNotFound",
    "FileLink",
    "NoHeader",
    "Page",
    "SearchService",
    "SearchTooWide",
    "StackGroup",
    "group_stacks",
]

Sites = Collection[str] | None

_NAMESAKES = 100  # that are looked at
LONGEST_PAGE = 1000
USUAL_PAGE = 100
# Headers that are read for cards which have no index; a few hundred a second.
MOST_HEADERS = 5000
# Columns that a query has under their own names.
_EQUAL = (
    "instrument", "camera", "user_id", "username", "filter", "target", "kind", "data_type",
    "collection", "reduction_state",
)  # fmt: skip


class SearchTooWide(UserError):
    """The search would have to read too many headers."""

    code = "search.too_wide"


class ExposureNotFound(MissingError):
    """There is no such exposure."""

    code = "exposure.not_found"


class ExposureAmbiguous(ConflictError):
    """Several exposures have this name."""

    code = "exposure.ambiguous"


class NoHeader(MissingError):
    """No header of the exposure has come yet."""

    code = "exposure.no_header"


@dataclass(frozen=True, slots=True)
class Page:
    """Some exposures, newest first.

    Attributes
    ----------
    next_cursor
        Of the page after this; None on the last.
    """

    rows: tuple[ExposureRow, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class FileLink:
    """A file with an address to get it from; None where the store makes none."""

    file: FileRow
    url: str | None


@dataclass(frozen=True, slots=True)
class StackGroup:
    """Exposures of one smart stack in the order of their numbers, or a single exposure.

    Attributes
    ----------
    stack
        Name of the stack; None for an exposure that belongs to none.
    length
        Planned number of exposures.
    """

    stack: str | None
    length: int | None
    rows: tuple[ExposureRow, ...]

    @property
    def final(self) -> ExposureRow:
        """The exposure with the whole sum, as far as it has come."""
        return self.rows[-1]


class SearchService:
    """Finds exposures.

    Parameters
    ----------
    database, store
        Rows and bytes.
    indexed_cards
        Keywords whose cards can be searched without reading headers.

    Notes
    -----
    Wherever `viewer_sites` is given, nothing of other sites is found; None sees all sites and
    exposures without a site.
    """

    def __init__(
        self, *, database: Database, store: Store, indexed_cards: Collection[str] = ()
    ) -> None:
        self._database = database
        self._store = store
        self._indexed = frozenset(keyword.upper() for keyword in indexed_cards)

    def exposures(
        self,
        query: ExposureQuery,
        viewer_sites: Sites,
        *,
        cursor: str | None = None,
        limit: int = USUAL_PAGE,
        with_headers: bool = False,
    ) -> Page:
        """One page of the exposures sought.

        A page has fewer than `limit` rows only where there are no more. Exposures that arrive
        meanwhile, newer than the page, change nothing on the pages after it.

        Parameters
        ----------
        cursor
            `next_cursor` of the page before.
        limit
            At most 1000.

        Raises
        ------
        BadCursor
            The cursor is not one.
        SearchTooWide
            A card that has no index is sought among too many exposures.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidInput(field="limit", found=limit, expected=f"1 to {LONGEST_PAGE}")
        after = None if cursor is None else decode_cursor(cursor)
        with self._database.reading(apart=True) as session:
            sought = self._sought(session, query, viewer_sites)
            slow = self._slow_cards(query)
            if slow:
                _refuse_wide(session, sought, slow)
            found = _first_rows(session, sought, (query, slow), after, limit + 1)
            rows = _with_files(session, found[:limit], with_headers=with_headers)
        more = len(found) > limit
        return Page(tuple(rows), encode_cursor(_key(found[limit - 1])) if more else None)

    def count(self, query: ExposureQuery, viewer_sites: Sites, at_most: int = 10_000) -> int:
        """How many exposures there are, counted no further than `at_most`."""
        with self._database.reading(apart=True) as session:
            sought = self._sought(session, query, viewer_sites)
            slow = self._slow_cards(query)
            if slow:
                _refuse_wide(session, sought, slow)
            if not slow and sought.sky is None:
                return count_exposures(session, sought, at_most)
            return len(_first_rows(session, sought, (query, slow), None, at_most))

    def export(
        self,
        query: ExposureQuery,
        viewer_sites: Sites,
        form: Literal["csv", "votable"],
        *,
        at_most: int = 1_000_000,
        for_spreadsheets: bool = False,
    ) -> Iterator[bytes]:
        """Write all that is sought as a table, while it is read.

        A VOTable says where `at_most` cut it. What is wrong with the query is told at once,
        before the first piece.
        """
        if form not in ("csv", "votable"):
            raise InvalidInput(field="form", found=form, expected="csv or votable")
        first = self.exposures(query, viewer_sites, limit=min(LONGEST_PAGE, max(1, at_most)))
        left_out: list[bool] = []
        rows = (export_row(row) for row in self._all(query, viewer_sites, first, at_most, left_out))
        if form == "csv":
            return stream_csv(EXPORT_COLUMNS, rows, for_spreadsheets=for_spreadsheets)
        return stream_votable(EXPORT_COLUMNS, rows, name="exposures", overflow=left_out)

    def _all(
        self,
        query: ExposureQuery,
        viewer_sites: Sites,
        page: Page,
        at_most: int,
        left_out: list[bool],
    ) -> Iterator[ExposureRow]:
        sent = 0
        while True:
            for row in page.rows:
                if sent == at_most:
                    left_out.append(True)
                    return
                yield row
                sent += 1
            if page.next_cursor is None:
                return
            page = self.exposures(query, viewer_sites, cursor=page.next_cursor, limit=LONGEST_PAGE)

    def latest(
        self,
        site: str,
        count: int,
        viewer_sites: Sites,
        *,
        user_id: str | None = None,
        collection: str = "data",
        role: str | None = FileRole.JPG_MEDIUM,
    ) -> tuple[ExposureRow, ...]:
        """The newest exposures of one site, and of one user; by default those with a picture."""
        query = ExposureQuery(
            site=(site,),
            user_id=() if user_id is None else (user_id,),
            collection=(collection,),
            has=role,
        )
        return self.exposures(query, viewer_sites, limit=count).rows

    def latest_of_all_sites(
        self,
        viewer_sites: Sites,
        *,
        collection: str = "data",
        role: str | None = FileRole.JPG_MEDIUM,
    ) -> dict[str, ExposureRow]:
        """The newest exposure of every site by the site's name, found in one query."""
        with self._database.reading(apart=True) as session:
            found = latest_of_each_site(
                session,
                None if viewer_sites is None else tuple(viewer_sites),
                collection=collection,
                role=role,
            )
            rows = _with_files(session, found, with_headers=False)
        return {row.columns["site"]: row for row in rows}

    def newest_of_all_sites(
        self, viewer_sites: Sites, count: int, *, collection: str = "data"
    ) -> dict[str, tuple[ExposureRow, ...]]:
        """So many of the newest exposures of every site, with or without a picture.

        Returns
        -------
        dict
            By site, the one with the newest first; of each the newest first.
        """
        sites = None if viewer_sites is None else tuple(viewer_sites)
        with self._database.reading(apart=True) as session:
            keys = first_keys_of_sites(session, sites, collection, count)
            rows = _with_files(session, _load(session, keys), with_headers=False)
        found: dict[str, list[ExposureRow]] = {}
        for row in rows:
            found.setdefault(row.columns["site"], []).append(row)
        return {site: tuple(some) for site, some in found.items()}

    def exposure(
        self,
        which: uuid.UUID | str | int,
        viewer_sites: Sites,
        *,
        collection: str = "data",
        with_headers: bool = False,
    ) -> ExposureRow:
        """One exposure by its id, its name (of a collection) or image number.

        The name is what its files have in common, or that of the one file.

        Raises
        ------
        ExposureNotFound
            There is none, or none for this viewer: the two are not told apart.
        ExposureAmbiguous
            Several cameras have used the name.
        """
        wanted = _named(which, collection)
        if wanted is None:
            raise ExposureNotFound(subject=ascii(which)[:200])
        with self._database.reading() as session:
            rows = session.execute(select(EXPOSURES).where(wanted).limit(_NAMESAKES)).mappings()
            found = [row for row in rows.all() if _may_see(row["site"], viewer_sites)]
            if not found:
                raise ExposureNotFound(subject=which)
            if len(found) > 1:
                told = ", ".join(str(row["id"]) for row in found[:5])
                raise ExposureAmbiguous(subject=which, found=told, expected="one of these ids")
            return _with_files(session, found, with_headers=with_headers)[0]

    def header(
        self, which: uuid.UUID | str | int, viewer_sites: Sites, *, collection: str = "data"
    ) -> Sequence[Sequence[Any]]:
        """The whole header of an exposure: triples of keyword, value, comment, in its order.

        Raises
        ------
        NoHeader
            Only files without one have come.
        """
        row = self.exposure(which, viewer_sites, collection=collection, with_headers=True)
        if row.cards is not None:
            return row.cards
        raw = [file for file in row.files if file.role == FileRole.RAW]
        if not raw:
            raise NoHeader(subject=which)
        # It was archived before headers were kept beside the files.
        camera = get_instrument_instance(row.columns["instrument"])
        with self._store.local_path(raw[0].key) as path:
            return cards_of(camera.read_header(path))

    def files(
        self,
        which: uuid.UUID | str | int,
        viewer_sites: Sites,
        *,
        collection: str = "data",
        expires: timedelta = timedelta(hours=1),
    ) -> tuple[FileLink, ...]:
        """All stored files of an exposure, each with a link that anyone may use for a while."""
        row = self.exposure(which, viewer_sites, collection=collection)
        return tuple(FileLink(file, self._link(file, expires)) for file in row.files)

    def smart_stack(self, name: str | int, viewer_sites: Sites) -> tuple[StackGroup, ...]:
        """All exposures of a smart stack, by site and camera; empty for 'no', which is none."""
        if str(name).strip().lower() in ("", "no"):
            return ()
        query = ExposureQuery(smart_stack=str(name).strip())
        return group_stacks(self.exposures(query, viewer_sites, limit=LONGEST_PAGE).rows)

    def _link(self, file: FileRow, expires: timedelta) -> str | None:
        try:
            return self._store.signed_link(file.key, expires)
        except LinksUnavailable:
            return None

    def _slow_cards(self, query: ExposureQuery) -> dict[str, int]:
        """Numbers by keyword of the cards that only headers tell."""
        return {
            keyword.upper(): card_number(keyword, value)
            for keyword, value in query.cards
            if keyword.upper() not in self._indexed
        }

    def _sought(self, session: Session, query: ExposureQuery, viewer_sites: Sites) -> Sought:
        equal: dict[str, tuple[Any, ...]] = {
            name: getattr(query, name) for name in _EQUAL if getattr(query, name)
        }
        if query.night is not None:
            equal["night"] = (query.night,)
        low, high = query.exp_time_min, query.exp_time_max
        if low is not None and low == high:
            equal["exp_time"], low, high = (low,), None, None
        indexed = [pair for pair in query.cards if pair[0].upper() in self._indexed]
        return Sought(
            equal=equal,
            sites=_sites(query.site, viewer_sites),
            first=None if query.start is None else mjd_of(query.start),
            last=None if query.end is None else mjd_of(query.end),
            exp_time=(low, high),
            sky=sky_ranges(query),
            name=None if query.name is None else name_pattern(query.name),
            cards=tuple(dict.fromkeys(card_number(*pair) for pair in indexed)),
            modified_since=query.modified_since,
            observations=_observations(session, query),
            smart_stack=query.smart_stack,
            final_only=query.final_only,
            role=query.has,
        )


def group_stacks(rows: Sequence[ExposureRow]) -> tuple[StackGroup, ...]:
    """Put the exposures of each smart stack together, where the first of them stands.

    Two sites or cameras may use the same name: their stacks are apart.
    """
    groups: dict[tuple[Any, ...], list[ExposureRow]] = {}
    for row in rows:
        stack = row.columns["smart_stack"]
        own = (row.columns["site"], row.columns["camera"], stack) if stack else (row.id,)
        groups.setdefault(own, []).append(row)
    made = []
    for members in groups.values():
        members.sort(key=lambda row: (row.columns["stack_number"] or 0, _key(row.columns)))
        facts = members[-1].columns
        made.append(StackGroup(facts["smart_stack"], facts["stack_length"], tuple(members)))
    return tuple(made)


def _sites(asked: Sequence[str], viewer_sites: Sites) -> tuple[str, ...] | None:
    if viewer_sites is None:
        return tuple(dict.fromkeys(asked)) or None
    allowed = sorted(set(viewer_sites))
    return tuple(site for site in allowed if not asked or site in asked)


def _may_see(site: str | None, viewer_sites: Sites) -> bool:
    return viewer_sites is None or site in viewer_sites


def _observations(session: Session, query: ExposureQuery) -> tuple[uuid.UUID, ...] | None:
    if query.observation is None and query.sequence is None:
        return None
    if query.sequence is None:
        return () if query.observation is None else (query.observation,)
    named = select(Observation.id).where(Observation.sequence == query.sequence)
    found = tuple(session.scalars(named))
    return tuple(one for one in found if query.observation in (None, one))


def _refuse_wide(session: Session, sought: Sought, slow: Mapping[str, int]) -> None:
    if narrowest(session, sought, MOST_HEADERS + 1) > MOST_HEADERS:
        raise SearchTooWide(
            field=", ".join(slow),
            found=f"more than {MOST_HEADERS} exposures",
            expected="an indexed keyword, or a search that is narrow without it",
            hint="add a site and dates, or the keyword to archive.indexed_cards",
        )


def _first_rows(
    session: Session,
    sought: Sought,
    exactly: tuple[ExposureQuery, Mapping[str, int]],
    after: Key | None,
    wanted: int,
) -> list[RowMapping]:
    """The first exposures that fulfil also what no index tells: the exact sky, slow cards."""
    query, slow = exactly
    loose = sought.sky is not None or bool(slow)
    found: list[RowMapping] = []
    while len(found) < wanted:
        # Ranges of the sky index hold a little more than the cone.
        ask = min(wanted + wanted // 3, LONGEST_PAGE + 1) if loose else wanted
        keys = find_keys(session, sought, after, ask)
        rows = _load(session, keys)
        if sought.sky is not None and rows:
            kept = is_on_sky(query, np.array([(row["ra"], row["dec"]) for row in rows], float))
            rows = [row for row, good in zip(rows, kept, strict=True) if good]
        found += _with_cards(session, rows, slow) if slow else rows
        if len(keys) < ask:
            break
        after = keys[-1]
    return found[:wanted]


def _load(session: Session, keys: Sequence[Key]) -> list[RowMapping]:
    """The rows of keys, in their order."""
    if not keys:
        return []
    chosen = select(EXPOSURES).where(among(session, EXPOSURES.c.id, [which for _, which in keys]))
    rows = {row["id"]: row for row in session.execute(chosen).mappings()}
    return [rows[which] for _, which in keys if which in rows]


def _with_cards(
    session: Session, rows: Sequence[RowMapping], slow: Mapping[str, int]
) -> list[RowMapping]:
    """Those whose header has the cards."""
    headers = _headers(session, [row["id"] for row in rows])
    kept = []
    for row in rows:
        cards = {
            (str(card[0]).upper(), card_number(card[0], card[1]))
            for card in headers.get(row["id"], ())
            if str(card[0]).upper() in slow
        }
        if all(pair in cards for pair in slow.items()):
            kept.append(row)
    return kept


def _headers(
    session: Session, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, Sequence[Sequence[Any]]]:
    """The header of each exposure that counts: that of the lowest rank."""
    chosen = (
        select(ExposureHeader.exposure_id, ExposureHeader.cards)
        .where(among(session, ExposureHeader.exposure_id, ids))
        .order_by(ExposureHeader.rank.desc(), ExposureHeader.id.desc())
    )
    return {row.exposure_id: row.cards for row in session.execute(chosen)}


def _with_files(
    session: Session, rows: Sequence[RowMapping], *, with_headers: bool
) -> list[ExposureRow]:
    ids = [row["id"] for row in rows]
    if not ids:
        return []
    chosen = (
        select(ExposureFile.exposure_id, *(getattr(ExposureFile, name) for name in _FILE_COLUMNS))
        .where(among(session, ExposureFile.exposure_id, ids))
        .order_by(ExposureFile.name)
    )
    files: dict[uuid.UUID, list[FileRow]] = {one: [] for one in ids}
    for owner, *facts in session.execute(chosen):
        files[owner].append(FileRow(*facts))
    headers = _headers(session, ids) if with_headers else {}
    return [ExposureRow(dict(row), tuple(files[row["id"]]), headers.get(row["id"])) for row in rows]


_FILE_COLUMNS = ("id", "name", "role", "reduction_level", "key", "size", "sha256")


def _key(row: Mapping[str, Any] | RowMapping) -> Key:
    return row["sort_mjd"], row["id"]


def _named(which: uuid.UUID | str | int, collection: str) -> ColumnElement[bool] | None:
    """The condition for one exposure; None for what no exposure can be called."""
    if isinstance(which, int):
        return EXPOSURES.c.image_number == which if abs(which) < 1 << 63 else None
    if isinstance(which, uuid.UUID):
        return EXPOSURES.c.id == which
    try:
        return EXPOSURES.c.id == uuid.UUID(which)
    except ValueError:
        if re.search("[\0\ud800-\udfff]", which):
            return None
    return and_(EXPOSURES.c.label == which, EXPOSURES.c.collection == collection)
