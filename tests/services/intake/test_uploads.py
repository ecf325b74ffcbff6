from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError
from firstlight.formats.base_filename import BadBaseFilename
from firstlight.models.arrival import Arrival, Origin
from firstlight.models.database import Database
from firstlight.models.upload_ticket import UploadTicket
from firstlight.services.access import Forbidden, NotSignedIn, Viewer
from firstlight.services.expiry.expiration_report import ExpireReport
from firstlight.services.expiry.expiration_rules import ExpirationSettings
from firstlight.services.expiry.log_expiration import LogExpiration
from firstlight.services.intake.header_cards import BadCards
from firstlight.services.intake.source_settings import UploadSettings
from firstlight.services.intake.uploads import (
    UploadBadChannel,
    UploadBadDirectory,
    UploadBadName,
    UploadEmpty,
    UploadRequest,
    UploadService,
    UploadTooLarge,
    UploadTruncated,
    UploadUsed,
)
from firstlight.storage import (
    LinkExpired,
    LinkForged,
    StorageSettings,
    StorageUnreachable,
    Store,
    open_store,
)
from firstlight.storage.links import UploadSigner
from firstlight.storage.presigned_post import ApiForms, upload_forms
from fixtures_s3 import S3Server

_NAME = "tst-kb001ms-20220629-00010442-EX10.jpg"
_CAMERA = Viewer("camera", frozenset({"upload"}), frozenset({"tst"}))
_OPERATOR = Viewer("operator", frozenset({"upload"}))
_SECRET = b"0123456789abcdef"


def forget_tickets(database: Database, now: datetime) -> int:
    """How many tickets are forgotten at that time."""
    report = ExpireReport()
    LogExpiration(database=database, settings=ExpirationSettings()).sweep(now, report)
    return report.removed["upload ticket"]


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Named:
    """Notes what the info images were told."""

    told: list[tuple[str, int, str]] = field(default_factory=list)

    def announce(
        self, session: Session, site: str, channel: int, base_filename: str, now: datetime
    ) -> None:
        self.told.append((site, channel, base_filename))


@dataclass
class House:
    uploads: UploadService
    store: Store
    database: Database
    clock: Clock
    channels: Named
    again: Callable[[], UploadService]

    def ask(self, name: str = _NAME, viewer: Viewer = _CAMERA, **more: Any) -> dict[str, Any]:
        wish = UploadRequest(object_name=name, **more)
        return self.uploads.request(wish, viewer, self.clock.now)

    def token(self, name: str = _NAME, **more: Any) -> str:
        return str(self.ask(name, **more)["url"]).rpartition("/")[2]

    def kept(self) -> list[str]:
        return [each.key for each in self.store.list()]


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.dispose()


@pytest.fixture
def house(database: Database, store: Store) -> House:
    clock = Clock()
    signer = UploadSigner(_SECRET, "https://portal.example/api", clock=clock)
    channels = Named()

    def make() -> UploadService:
        return UploadService(
            database=database,
            store=store,
            forms=ApiForms(signer),
            signer=signer,
            channels=channels,
            settings=UploadSettings(max_size_mb=1),
        )

    return House(make(), store, database, clock, channels, make)


def test_the_answer_has_the_shape_of_photon_ranch(house: House) -> None:
    answer = house.ask()
    assert answer["url"].startswith("https://portal.example/api/uploads/")
    inbox, ticket, name = answer["fields"]["key"].split("/")
    assert (inbox, name) == ("inbox", _NAME)
    assert uuid.UUID(ticket)


def test_the_bytes_come_with_what_was_asked(house: House) -> None:
    cards = {"EXPTIME": 30, "FILTER": "V"}
    token = house.token(metadata=cards)
    told = house.again().receive(token, io.BytesIO(b"a picture"), length=9)  # another process
    assert told.origin is Origin.UPLOAD
    assert told.name == f"data/{_NAME}"
    assert (told.site, told.channel, told.size) == ("tst", None, 9)
    assert told.metadata == (("EXPTIME", 30, ""), ("FILTER", "V", ""))
    assert house.store.read(told.source.removeprefix("store:")) == b"a picture"


def test_what_lies_in_the_inbox_is_told_of_as_the_upload_was(house: House) -> None:
    told = house.uploads.receive(house.token(metadata={"A": 1}), io.BytesIO(b"x"))
    (entry,) = house.store.list("inbox")
    assert house.uploads.announcements([(entry.key, entry.version, entry.size)]) == [told]
    quoted = (entry.key, f'"{entry.version}"', entry.size)
    assert house.uploads.announcements([quoted]) == [told]


def test_without_a_ticket_the_name_alone_is_known(house: House) -> None:
    (told,) = house.uploads.announcements([("inbox/old/a.fits", "v", 5), ("raw/b.fits", "v", 5)])
    assert (told.source, told.name, told.metadata) == ("store:inbox/old/a.fits", "a.fits", None)


def test_many_are_told_of_at_once(house: House) -> None:
    keys = [house.ask()["fields"]["key"] for _ in range(3)]
    keys += [f"inbox/{n}/x.fits" for n in range(600)]
    found = house.uploads.announcements([(key, "1", 1) for key in keys])
    assert [each.source for each in found] == [f"store:{key}" for key in keys]
    assert [each.site for each in found[:4]] == ["tst", "tst", "tst", None]


def test_the_same_bytes_may_come_again_but_no_others(house: House) -> None:
    token = house.token()
    first = house.uploads.receive(token, io.BytesIO(b"one"))
    assert house.uploads.receive(token, io.BytesIO(b"one")) == first
    with pytest.raises(UploadUsed) as caught:
        house.uploads.receive(token, io.BytesIO(b"two"))
    assert caught.value.code == "upload.used"
    assert house.store.read(first.source.removeprefix("store:")) == b"one"


def test_every_upload_has_a_place_of_its_own(house: House) -> None:
    told = [house.uploads.receive(house.token(), io.BytesIO(b"%d" % n)) for n in range(3)]
    assert len({each.source for each in told}) == 3
    assert len({each.name for each in told}) == 1


class _Broken(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 4 << 10:
            raise ConnectionResetError("the sender has gone")
        return super().read(4096)


_MB = 1 << 20


@pytest.mark.parametrize(
    ("body", "length", "error"),
    [
        (io.BytesIO(b"x" * (_MB + 1)), None, UploadTooLarge),
        (io.BytesIO(b"x" * (_MB + 1)), _MB, UploadTooLarge),
        (io.BytesIO(b"x" * 10), _MB + 1, UploadTooLarge),
        (io.BytesIO(b"x" * 9), 10, UploadTruncated),
        (io.BytesIO(b"x" * 11), 10, UploadTruncated),
        (io.BytesIO(b""), None, UploadEmpty),
        (io.BytesIO(b""), 0, UploadEmpty),
        (_Broken(b"x" * 9999), None, ConnectionResetError),
    ],
)
def test_a_wrong_size_leaves_nothing_behind(
    house: House, tmp_path: Path, body: BinaryIO, length: int | None, error: type[Exception]
) -> None:
    token = house.token()
    with pytest.raises(error):
        house.uploads.receive(token, body, length=length)
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []
    assert house.uploads.receive(token, io.BytesIO(b"right")).size == 5


def test_a_body_of_just_the_allowed_size(house: House) -> None:
    assert house.uploads.receive(house.token(), io.BytesIO(b"x" * _MB), length=_MB).size == _MB


def test_a_body_is_read_in_pieces_and_no_further_than_needed(house: House) -> None:
    class Endless:
        def __init__(self) -> None:
            self.given = 0
            self.most = 0

        def read(self, size: int) -> bytes:
            self.most = max(self.most, size)
            self.given += size
            return bytes(size)

    endless = Endless()
    with pytest.raises(UploadTooLarge):
        house.uploads.receive(house.token(), cast("BinaryIO", endless))
    assert endless.given == _MB + 1
    assert endless.most <= _MB + 1


def test_an_upload_after_its_time_is_refused(house: House) -> None:
    token = house.token()
    house.clock.now += timedelta(seconds=299)
    house.uploads.receive(token, io.BytesIO(b"x"))
    house.clock.now += timedelta(seconds=1)
    with pytest.raises(LinkExpired):
        house.uploads.receive(token, io.BytesIO(b"x"))


@pytest.mark.parametrize("change", [lambda t: t[:-2] + "AA", lambda t: "x", lambda t: "A" + t])
def test_a_forged_token_is_refused(house: House, change: Callable[[str], str]) -> None:
    with pytest.raises(LinkForged):
        house.uploads.receive(change(house.token()), io.BytesIO(b"x"))
    assert house.kept() == []


def test_a_token_whose_ticket_is_gone_is_refused(house: House) -> None:
    token = house.token()
    assert forget_tickets(house.database, house.clock.now + timedelta(days=3)) == 1
    assert forget_tickets(house.database, house.clock.now + timedelta(days=3)) == 0
    with pytest.raises(LinkExpired, match="ticket"):
        house.uploads.receive(token, io.BytesIO(b"x"))
    assert house.kept() == []


def test_info_images_name_their_channel(house: House) -> None:
    base = _NAME.removesuffix("-EX10.jpg")
    token = house.token(s3_directory="info-images", info_channel=3)
    assert house.channels.told == [("tst", 3, base)]
    assert house.uploads.receive(token, io.BytesIO(b"x")).channel == 3
    house.ask(s3_directory="info-images")
    house.ask(s3_directory="data", info_channel=2)
    assert [each[1] for each in house.channels.told] == [3, 1]


def test_plain_files(house: House) -> None:
    token = house.token("M 31 é.FITS.fz", viewer=_OPERATOR, s3_directory="plain", site="roof")
    told = house.uploads.receive(token, io.BytesIO(b"x"))
    assert (told.name, told.site, told.channel) == ("M 31 é.FITS.fz", "roof", None)


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ({"s3_directory": "downloads"}, UploadBadDirectory),
        ({"s3_directory": "../data"}, UploadBadDirectory),
        ({"s3_directory": "data/"}, UploadBadDirectory),
        ({"s3_directory": ""}, UploadBadDirectory),
        ({"info_channel": 0}, UploadBadChannel),
        ({"info_channel": 4, "s3_directory": "info-images"}, UploadBadChannel),
        ({"object_name": "bad_filename"}, BadBaseFilename),
        ({"object_name": "../" + _NAME}, BadBaseFilename),
        ({"object_name": "data/" + _NAME}, BadBaseFilename),
        ({"object_name": _NAME, "s3_directory": "plain"}, UploadBadName),
        ({"object_name": "../a.fits", "s3_directory": "plain"}, UploadBadName),
        ({"object_name": "a/b.fits", "s3_directory": "plain"}, UploadBadName),
        ({"object_name": ".a.fits", "s3_directory": "plain"}, UploadBadName),
        ({"object_name": "a\n.fits", "s3_directory": "plain"}, UploadBadName),
        ({"object_name": "a" * 200 + ".fits", "s3_directory": "plain"}, UploadBadName),
        ({"metadata": {"A": float("nan")}}, BadCards),
        ({"max_size": _MB + 1}, UploadTooLarge),
    ],
)
def test_what_nobody_may_upload(
    house: House, wish: dict[str, Any], error: type[FirstlightError]
) -> None:
    with pytest.raises(error):
        house.ask(**{"name": wish.pop("object_name", _NAME), "viewer": _OPERATOR, **wish})
    with house.database.reading() as session:
        assert session.scalars(select(UploadTicket)).all() == []
    assert house.channels.told == []


def test_a_camera_uploads_for_its_own_site_only(house: House) -> None:
    with pytest.raises(Forbidden):
        house.ask("sro" + _NAME[3:])
    with pytest.raises(Forbidden):
        house.ask("a.fits", s3_directory="plain")
    with pytest.raises(NotSignedIn):
        house.ask(viewer=Viewer())
    assert house.ask("a.fits", s3_directory="plain", site="tst")


def test_a_smaller_limit_can_be_asked_for(house: House) -> None:
    with pytest.raises(UploadTooLarge):
        house.uploads.receive(house.token(max_size=3), io.BytesIO(b"four"))


def test_a_full_disk_is_told_as_it_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageUnreachable

    monkeypatch.setattr(house.store, "put", fail)
    with pytest.raises(StorageUnreachable):
        house.uploads.receive(house.token(), io.BytesIO(b"x"))


@pytest.mark.postgres
def test_on_postgresql(postgres_url: str, store: Store) -> None:
    opened = Database(postgres_url)
    signer = UploadSigner(_SECRET, "https://x/api")
    uploads = UploadService(
        database=opened, store=store, forms=ApiForms(signer), signer=signer, channels=Named()
    )
    odd = [["HISTORY", "é \u2028"], ["BIG", (1 << 63) - 1], ["TINY", 5e-324], ["NONE", None]]
    form = uploads.request(UploadRequest(object_name=_NAME, metadata=odd), _CAMERA)
    told = uploads.receive(str(form["url"]).rpartition("/")[2], io.BytesIO(b"x"))
    assert told.metadata == tuple((keyword, value, "") for keyword, value in odd)
    (entry,) = store.list("inbox")
    assert uploads.announcements([(entry.key, entry.version, entry.size)]) == [told]
    with opened.begin() as session:
        row = Arrival(source=told.source, version=told.version, state="archived", key="data/x")
        row.identify()
        session.add(row)
    assert uploads.tidy() == 1
    later = datetime.now(UTC) + timedelta(days=3)
    assert forget_tickets(opened, later) == 0  # its ticket went with it
    opened.dispose()


@pytest.mark.s3
def test_straight_to_a_bucket(database: Database, s3_server: S3Server, s3_bucket: str) -> None:
    settings = StorageSettings.model_validate(s3_server.settings(s3_bucket, uuid.uuid4().hex))
    store = open_store(settings)
    uploads = UploadService(
        database=database,
        store=store,
        forms=upload_forms(settings),
        signer=None,
        channels=Named(),
        settings=UploadSettings(max_size_mb=1),
    )
    wish = UploadRequest(object_name=_NAME, max_size=5, metadata={"A": 1})
    form = cast("dict[str, Any]", uploads.request(wish, _CAMERA))
    too_long = {"file": ("x", b"123456")}
    assert not httpx.post(form["url"], data=form["fields"], files=too_long).is_success
    assert list(store.list()) == []
    answer = httpx.post(form["url"], data=form["fields"], files={"file": ("x", b"12345")})
    assert answer.is_success, answer.text
    (entry,) = store.list("inbox")
    (told,) = uploads.announcements([(entry.key, entry.version, entry.size)])
    assert (told.name, told.size, told.metadata) == (f"data/{_NAME}", 5, (("A", 1, ""),))
    with pytest.raises(LinkExpired):
        uploads.receive("token", io.BytesIO(b"x"))
