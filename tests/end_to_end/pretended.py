"""A pretend site's night in an archive: what must be there, and what two archives differ in."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

import sqlalchemy as sa
from house import lasting_columns
from sqlalchemy.orm import Session

from firstlight.models.arrival import Arrival, ArrivalState
from firstlight.models.base import Base
from firstlight.models.event import Event
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile, FileRole
from firstlight.simulation.pretend_site import PretendFile, PretendSite
from firstlight.storage import Store

# When something was done. All else must be the same whatever the order and the repetitions.
PASSING = (
    "created_at",
    "modified_at",
    "finished_at",
    "requested_at",
    "shown_at",
    "expires_at",
    "cpu_s",
    "wall_s",
)
# The log of what happened, in which repetitions and order are what it is about.
LOGS = ("arrivals", "events", "upload_tickets", "removals", "passing_files")
# A server gives the person at the machine an account; commands need none.
ACCOUNTS = ("users", "groups", "memberships")
REASONS = {
    "truncated": ("fits.", "file."),
    "garbage": ("picture.",),
    "no header": ("header_text.",),
    "bad name": ("base_filename.",),
}
ROLES = {
    "header": FileRole.HEADER_TEXT,
    "large": FileRole.FITS_LARGE,
    "calibrated": FileRole.FITS_LARGE,
    "small": FileRole.FITS_SMALL,
    "picture": FileRole.JPG_MEDIUM,
}


def rows(url: str) -> dict[str, list[str]]:
    """Every row of every table as text, without moments; of the logs what they say."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        told = {
            table.name: sorted(
                json.dumps(dict(row._mapping), sort_keys=True, default=str)
                for row in connection.execute(sa.select(*lasting_columns(table, PASSING)))
            )
            for table in Base.metadata.sorted_tables
            if table.name not in LOGS + ACCOUNTS and lasting_columns(table)
        }
    with Session(engine) as session:
        told["arrivals"] = sorted({_outcome(row) for row in session.scalars(sa.select(Arrival))})
        # Those of jobs tell how it was done, not what.
        events = sa.select(Event).where(Event.topic != "job")
        told["events"] = sorted({_subject(row) for row in session.scalars(events)})
    engine.dispose()
    return told


def _outcome(row: Arrival) -> str:
    """What became of a file; that it came before does not count."""
    kept = row.state in (ArrivalState.ARCHIVED, ArrivalState.KNOWN)
    error = (row.error or {}).get("code")
    facts = [row.name, row.sha256, "kept" if kept else row.state, error, str(row.exposure_id)]
    return json.dumps(facts)


def _subject(row: Event) -> str:
    return json.dumps([row.topic, row.site, row.data.get("base_filename")])


def assert_complete(site: PretendSite, url: str, store: Store) -> None:
    """Every good file is archived once and as it was sent; every corrupt one is in quarantine."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with Session(engine) as session:
            _assert_no_arrival_waits(session)
            _assert_files(site, session, store)
            _assert_headers(site, session)
            _assert_quarantine(site, session, store)
    finally:
        engine.dispose()


def _assert_no_arrival_waits(session: Session) -> None:
    waiting = session.scalars(
        sa.select(Arrival.name).where(Arrival.state == ArrivalState.RECEIVED)
    ).all()
    assert not waiting


def _good(site: PretendSite, collection: str | None = None) -> list[PretendFile]:
    return [
        file
        for file in site.files
        if file.fault is None and (collection is None or file.name.startswith(collection + "/"))
    ]


def _assert_files(site: PretendSite, session: Session, store: Store) -> None:
    wanted = {
        PurePosixPath(file.name).name: file
        for file in [*_good(site, "data"), *_good(site, "allsky")]
    }
    made, kept = defaultdict(list), {}
    for row in session.scalars(sa.select(ExposureFile)):
        if row.made:
            made[row.exposure_id].append(row)
        else:
            assert row.name not in kept
            kept[row.name] = row
    assert set(kept) == set(wanted)
    for name, file in wanted.items():
        row, content = kept[name], site.content(file)
        assert row.sha256 == hashlib.sha256(content).hexdigest(), name
        assert row.size == len(content)
        assert row.role == ROLES[file.kind], name
        assert store.stat(row.key).size == len(content)
        if file.kind == "picture":
            (thumbnail,) = made[row.exposure_id]
            assert thumbnail.role == FileRole.THUMBNAIL
            assert store.read(thumbnail.key)[:2] == b"\xff\xd8"


def _assert_headers(site: PretendSite, session: Session) -> None:
    found = {
        (row.collection, row.base_filename): row for row in session.scalars(sa.select(Exposure))
    }
    sent: dict[int, list[PretendFile]] = defaultdict(list)
    for file in [*_good(site, "data"), *_good(site, "allsky")]:
        sent[file.exposure].append(file)
    assert len(found) == len(sent)
    for place, files in sent.items():
        truth = site.exposures[place]
        row = found[truth.collection, truth.base_filename]
        assert (row.site, row.camera, row.night) == (truth.site, truth.camera, truth.night)
        assert row.data_type == truth.data_type
        if all(file.kind == "picture" for file in files):
            assert row.exp_time is None
            continue
        for name in ("ra", "dec", "altitude", "azimuth", "airmass"):
            assert abs(getattr(row, name) - getattr(truth, name)) < 1e-4, (name, row)
        assert row.exp_time == truth.exposure_time
        assert row.filter == truth.filter
        assert (row.user_id, row.username) == (truth.user_id, truth.username)
        assert abs(row.sort_mjd - truth.start_mjd) < 1e-6


def _assert_quarantine(site: PretendSite, session: Session, store: Store) -> None:
    bad = {file.name: file for file in site.files if file.fault is not None}
    refused: dict[str, list[Arrival]] = defaultdict(list)
    for row in session.scalars(sa.select(Arrival).where(Arrival.state == ArrivalState.QUARANTINED)):
        refused[row.name or ""].append(row)
    assert set(refused) == set(bad)
    for name, file in bad.items():
        for row in refused[name]:
            assert row.error["code"].startswith(REASONS[file.fault or ""]), row.error
            assert row.error["message"]
            assert store.read(row.key or "") == site.content(file)


def differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> list[str]:
    """What two archives differ in, named; empty where they agree."""
    return [
        f"{name}: {len(one[name])} and {len(other[name])} rows; "
        f"only here {_beyond(one[name], other[name])}, only there {_beyond(other[name], one[name])}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def _beyond(these: Iterable[str], those: Iterable[str]) -> list[str]:
    return sorted(set(these) - set(those))[:3]
