"""Three channels a site: what shows, in which order whatever comes."""

import hashlib
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select

from firstlight.errors import InvalidInput
from firstlight.formats.base_filename import parse_name
from firstlight.models.database import Database
from firstlight.models.expiration import PassingFile
from firstlight.models.info_image import InfoImage, InfoImageFile
from firstlight.services.expiry.expiration_rules import ExpirationRules, ExpirationSettings
from firstlight.services.intake.info_images import InfoHeader, InfoImageService
from firstlight.storage import StoredFile

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = "sro-kb001ms-20220629-00000001", "sro-kb001ms-20220629-00000002"
NEWEST = "sro-kb001ms-20220630-00000001"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    opened = Database(request.getfixturevalue(f"{request.param}_url"))
    yield opened
    opened.dispose()


@pytest.fixture
def channels(database):
    return _Channels(database)


class _Channels:
    """The service, on a clock that moves by a second with every call."""

    def __init__(self, database):
        self.database = database
        self.service = InfoImageService(
            database=database, rules=ExpirationRules(ExpirationSettings())
        )
        self.now = START

    def tick(self):
        self.now += timedelta(seconds=1)
        return self.now

    def request(self, base, channel=1):
        self.service.request("sro", channel, base, self.tick())

    def take(self, base, tail="EX10.jpg", content=b"x", **more):
        name = parse_name(f"info-images/{base}-{tail}")
        digest = hashlib.sha256(content).hexdigest()
        key = f"info-images/{digest[:8]}/{name.filename}"
        stored = StoredFile(key, len(content), digest, "0" * 32)
        with self.database.begin() as session:
            image = self.service.take(session, name, stored, now=self.tick(), **more)
            return image is not None

    def show(self, channel=1, now=None):
        return self.service.show("sro", channel, lambda key: f"https://x/{key}", now or self.now)

    def base(self, channel=1, now=None):
        shown = self.show(channel, now)
        return shown and shown["base_filename"]

    def leftovers(self):
        with self.database.reading() as session:
            return sorted(session.scalars(select(PassingFile.key)))

    def forget(self):
        with self.database.begin() as session:
            session.execute(delete(InfoImage))

    def names(self):
        with self.database.reading() as session:
            return sorted(session.scalars(select(InfoImageFile.name)))


def test_a_single_jpg_is_enough(channels):
    channels.request(NEW)
    assert channels.show() is None  # asked for, nothing there yet
    assert channels.take(NEW, channel=1)
    shown = channels.show()
    assert shown["site"] == "sro"
    assert shown["channel"] == 1
    assert shown["base_filename"] == NEW
    assert shown["file_date"] == "20220629"
    assert shown["s3_directory"] == "info-images"
    assert shown["jpg_medium_exists"] is True
    assert shown["jpg_url"].endswith(f"{NEW}-EX10.jpg")
    for kind in ("jpg_small", "fits_01", "fits_10"):
        assert shown[f"{kind}_exists"] is False
        assert f"{kind}_url" not in shown
    assert shown["header"] == {}
    first_file = START + timedelta(seconds=2)
    assert shown["expiration_timestamp"] == (first_file + timedelta(hours=48)).timestamp()


def test_a_complete_one_has_fits_pictures_and_header(channels):
    channels.request(NEW)
    header = InfoHeader(0, [["FILTER", "rp", ""], ["EXPTIME", 30.0, "s"]])
    for tail, more in {
        "EX00.fits.fz": {"header": InfoHeader(5, [["FILTER", "wrong", ""]])},
        "EX00.txt": {"header": header},
        "EX10.fits.fz": {"header": InfoHeader(6, [["FILTER", "wrong", ""]])},
        "EX10.jpg": {},
        "EX11.jpg": {"made": True},
    }.items():
        assert channels.take(NEW, tail, **more)
    shown = channels.show()
    assert shown["header"] == {"FILTER": "rp", "EXPTIME": 30.0}
    assert shown["fits_01_url"].endswith("-EX00.fits.fz")  # level 00 counts as large
    assert shown["fits_10_url"].endswith("-EX10.fits.fz")
    assert shown["jpg_small_url"].endswith("-EX11.jpg")
    assert len(shown["files"]) == 5


def test_the_old_one_stays_until_the_new_ones_first_file_is_there(channels):
    channels.request(OLD)
    channels.take(OLD)
    channels.request(NEW)
    assert channels.base() == OLD
    channels.take(NEW, "EX00.txt")
    assert channels.base() == NEW
    assert channels.names() == [f"{NEW}-EX00.txt"]
    assert [key.rsplit("/")[-1] for key in channels.leftovers()] == [f"{OLD}-EX10.jpg"]


def test_any_order_and_repetition_ends_alike(channels):
    files = [(OLD, "EX10"), (OLD, "EX11"), (NEW, "EX10"), (NEW, "EX13")]
    for order in itertools.permutations(files):
        channels.request(OLD)
        channels.request(NEW)
        for base, tail in [*order, *order]:
            channels.take(base, f"{tail}.jpg", base.encode())
        assert channels.base() == NEW, order
        assert channels.names() == [f"{NEW}-EX10.jpg", f"{NEW}-EX13.jpg"], order
        channels.forget()


def test_one_that_comes_after_a_newer_one_is_too_late(channels):
    channels.request(OLD)
    channels.request(NEW)
    assert channels.take(NEW)
    assert not channels.take(OLD)
    assert not channels.take(OLD, channel=1)
    assert channels.base() == NEW
    channels.request(OLD)  # asked for anew, it may come
    assert channels.base() == NEW
    assert channels.take(OLD)
    assert channels.base() == OLD


def test_asking_for_another_file_of_the_same_picture_changes_nothing(channels):
    channels.request(OLD)
    channels.take(OLD)
    channels.request(NEW)
    channels.request(OLD)  # its large file comes later
    channels.take(NEW)
    assert channels.base() == NEW


def test_channels_and_sites_are_apart(channels):
    channels.request(OLD, 1)
    channels.request(OLD, 3)  # one picture on two channels
    channels.request(NEW, 2)
    channels.take(OLD, channel=1)
    channels.take(NEW, channel=2)
    assert [channels.base(n) for n in (1, 2, 3)] == [OLD, NEW, None]
    channels.take(OLD, channel=3)
    assert [each["channel"] for each in channels.service.all_of("sro", str, channels.now)] == [
        1,
        2,
        3,
    ]
    assert channels.service.all_of("mrc", str, channels.now) == []


@pytest.mark.parametrize("order", list(itertools.permutations([OLD, NEW, NEWEST])))
def test_files_nobody_named_a_channel_for_go_to_the_first_in_the_order_of_names(channels, order):
    for base in order:
        channels.take(base)
    assert [channels.base(n) for n in (1, 2, 3)] == [NEWEST, None, None]
    assert not channels.take(OLD, "EX00.fits.fz")
    assert channels.base() == NEWEST


def test_a_channel_asked_for_counts_more_than_one_that_nobody_named(channels):
    channels.request(OLD)
    assert channels.take(OLD)
    assert not channels.take(NEW)
    assert channels.base() == OLD


@pytest.mark.parametrize("channel", [0, 4, -1])
def test_no_fourth_channel(channels, channel):
    with pytest.raises(InvalidInput):
        channels.request(NEW, channel)
    with pytest.raises(InvalidInput):
        channels.take(NEW, channel=channel)


def test_each_channel_expires_by_itself_and_later_files_do_not_extend_it(channels):
    channels.take(OLD, channel=1)
    first = channels.now
    channels.now += timedelta(hours=47)
    channels.take(OLD, "EX11.jpg", channel=1)
    channels.take(NEW, channel=2)
    end = first + timedelta(hours=48)
    assert channels.base(1, end - timedelta(seconds=1)) == OLD
    assert channels.base(1, end) is None
    assert channels.base(2, end) == NEW


def test_other_bytes_under_the_same_name_replace_the_first(channels):
    channels.take(NEW, content=b"one", channel=1)
    channels.take(NEW, content=b"other", channel=1)
    assert [file["size"] for file in channels.show()["files"]] == [5]
    assert len(channels.leftovers()) == 1


def test_of_equal_headers_the_same_counts_in_any_order(channels):
    headers = [InfoHeader(0, [["A", 1, ""]]), InfoHeader(0, [["A", 2, ""]])]
    found = []
    for channel, order in ((1, headers), (2, headers[::-1])):
        for tail, header in zip(("EX00.txt", "EX01.txt"), order, strict=True):
            channels.take(NEW, tail, channel=channel, header=header)
        found.append(channels.show(channel)["header"])
    assert found[0] == found[1]


def test_marks_of_replaced_pictures_have_an_end(channels):
    channels.take(OLD, channel=1)
    channels.take(NEW, channel=1)
    with channels.database.reading() as session:
        mark = session.scalar(select(InfoImage).where(InfoImage.base_filename == OLD))
    assert mark.shown_at is None
    assert mark.expires_at is not None
