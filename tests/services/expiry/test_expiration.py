"""What expires goes whole, whatever happens on the way; what is needed stays and is told."""

import threading
import uuid
from datetime import timedelta

import pytest
from expiring_world import START, World, quarantined
from sqlalchemy import select, update

from firstlight.models import (
    Arrival,
    ArrivalState,
    Exposure,
    ExposureFile,
    ImageInput,
    InfoImage,
    InfoImageFile,
    PassingFile,
    Registration,
    UploadTicket,
)
from firstlight.models.database import Database
from firstlight.services.expiry import expiration as expiration_module
from firstlight.services.expiry.leftovers import Leftovers, remember
from firstlight.storage import StorageRefused, StorageUnreachable, open_store
from firstlight.storage.folder import FolderStore
from firstlight.storage.settings import StorageSettings

S = timedelta(seconds=1)
DAY = timedelta(days=1)


@pytest.fixture
def sqlite_database(sqlite_url):
    opened = Database(sqlite_url)
    yield opened
    opened.dispose()


@pytest.fixture
def postgres_database(postgres_url):
    opened = Database(postgres_url)
    yield opened
    opened.dispose()


@pytest.fixture
def world(sqlite_database, tmp_path):
    return World(sqlite_database, FolderStore(tmp_path / "store"))


@pytest.fixture(params=["sqlite-folder", "postgres-folder", "sqlite-s3", "postgres-s3"])
def anywhere(request, tmp_path):
    """The same world on each database and each kind of store."""
    database, store = request.param.split("-")
    opened = request.getfixturevalue(f"{database}_database")
    if store == "folder":
        return World(opened, FolderStore(tmp_path / "store"))
    server, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("s3_bucket")
    prefix = f"{uuid.uuid4().hex}"
    return World(opened, open_store(StorageSettings(**server.settings(bucket, prefix))))


def test_an_exposure_goes_with_all_that_is_its_own(anywhere):
    world = anywhere
    observation = world.observation()
    going = world.exposure("EF", observation=observation)
    world.image(going)
    staying = world.exposure("EX")
    kept_keys = [key for key in world.stored() if staying.base_filename in key]
    before = world.service().sweep(START + DAY - S)
    assert not before.removed
    assert len(world.names()) == 2
    report = world.service().sweep(START + DAY)
    assert report.removed == {"exposure": 1}
    assert report.files == 6
    assert world.names() == [staying.base_filename]
    assert world.stored() == kept_keys
    assert world.counts() == {
        "exposures": 1,
        "exposure_files": 3,
        "exposure_headers": 1,
        "exposure_cards": 1,
        "step_runs": 1,
    }
    rule = "data type EF: 1d"
    assert world.removals() == [("exposure", going.base_filename, "sro", rule, 6, 30)]
    data = {"s3_directory": "data", "base_filename": going.base_filename, "site": "sro"}
    assert world.events() == [{"topic": "expiration", "site": "sro", "data": data}]
    again = world.service().sweep(START + 2 * DAY)
    assert not again.removed
    assert len(world.events()) == len(world.removals()) == 1


@pytest.mark.parametrize(
    ("data_type", "site", "age"),
    [
        ("EP", "sro", 7 * DAY),
        ("EF", "sro", DAY),
        ("EP", "tst", 300 * S),
        ("EF", "tst", 300 * S),
    ],
)
def test_each_rule_has_its_moment(world, data_type, site, age):
    world.exposure(data_type, site)
    assert not world.service().sweep(START + age - S).removed
    assert world.service().sweep(START + age).removed == {"exposure": 1}
    assert world.counts() == {}
    assert world.stored() == []


def test_science_data_stay_for_ever(world):
    world.exposure("EX", "tst")
    world.exposure("EX", "sro", collection="allsky")
    assert not world.service().sweep(START + 36_500 * DAY).removed


def test_a_dry_run_tells_and_changes_nothing(world):
    exposure = world.exposure("EF")
    world.image(exposure)
    quarantined(world)
    for _ in range(3):
        world.arrival(ArrivalState.ARCHIVED)
    world.add(PassingFile(key=world.put("dl"), size=5, used_at=START, expires_at=START))
    counts, keys = world.counts(), world.stored()
    report = world.service().sweep(START + 3 * DAY, dry_run=True)
    assert report.removed == {"exposure": 1, "upload log": 3, "download": 1}
    assert report.files == 7
    assert report.names[0] == {
        "what": "exposure",
        "name": exposure.base_filename,
        "site": "sro",
        "rule": "data type EF: 1d",
    }
    assert "would be removed: 1 exposure" in report.sentence()
    assert (world.counts(), world.stored(), world.events()) == (counts, keys, [])
    done = world.service().sweep(START + 3 * DAY)
    assert done.removed == report.removed
    assert done.files == report.files


def test_a_set_rule_moves_what_is_stored_already(anywhere):
    world = anywhere
    exposure = world.exposure("EX")
    rules = {"rules": ({"site": "sro", "after": "2d"},)}
    assert world.service(**rules).apply_rules() == 1
    assert world.service(**rules).apply_rules() == 0
    assert not world.service(**rules).sweep(START + 2 * DAY - S).removed
    report = world.service(**rules).sweep(START + 2 * DAY)
    assert report.names[0]["name"] == exposure.base_filename
    assert report.names[0]["rule"] == "site sro: 2d"


# --- what is needed ----------------------------------------------------------------------


def test_an_exposure_in_a_master_stays_and_is_told(world):
    exposure = world.exposure("EP")
    image, _ = world.image(exposure)
    master, _ = world.image(None, "master_bias")
    static, _ = world.image(None, "static_level")
    other = world.exposure("EP")
    world.add(
        ImageInput(image_id=master.id, role="bias", number=0, input_exposure_id=exposure.id),
        ImageInput(image_id=static.id, role="sky", number=0, input_image_id=image.id),
    )
    report = world.service().sweep(START + 8 * DAY)
    assert world.names() == [exposure.base_filename]
    assert report.removed == {"exposure": 1}
    assert report.names[0]["name"] == other.base_filename
    assert report.kept[0]["name"] == exposure.base_filename
    assert "was made of it" in report.kept[0]["why"]
    assert world.dangling() == []


def test_using_a_master_keeps_nothing(world):
    exposure = world.exposure("EP")
    image, _ = world.image(exposure)
    master, _ = world.image(None, "master_bias")
    world.add(ImageInput(image_id=image.id, role="bias", number=0, input_image_id=master.id))
    assert world.service().sweep(START + 8 * DAY).removed == {"exposure": 1}
    assert world.counts()["images"] == 1


def test_light_curves_keep_their_exposures_until_all_are_due(world):
    observation = world.observation()
    first = world.exposure("EF", observation=observation)
    second = world.exposure("EP", observation=observation)
    world.light_curves(observation, world.image(first)[0], world.image(second)[0])
    early = world.service().sweep(START + DAY)
    assert not early.removed
    assert early.kept[0]["name"] == first.base_filename
    assert "light curves" in early.kept[0]["why"]
    assert world.service().sweep(START + 7 * DAY).removed == {"exposure": 2}
    assert world.counts() == {}
    assert world.stored() == []


def test_light_curves_with_an_exposure_that_stays_keep_all(world):
    observation = world.observation()
    exposures = [world.exposure(kind, observation=observation) for kind in ("EF", "EX")]
    world.light_curves(observation, *(world.image(each)[0] for each in exposures))
    assert world.service().sweep(START + 999 * DAY).n_kept == 1
    assert len(world.names()) == 2


def test_a_reference_of_registrations_stays_as_long_as_what_lies_on_it(world):
    reference, moved = world.exposure("EF"), world.exposure("EP")
    (_, base), (_, other) = world.image(reference), world.image(moved)
    world.add(
        Registration(
            id=uuid.uuid4(), sources_id=other.id, reference_sources_id=base.id, matrix=[],
            rms_pixels=0.1, n_matched=9, log_odds=9.0, **world.made,
        )
    )  # fmt: skip
    report = world.service().sweep(START + DAY)
    assert report.kept[0]["why"] == "exposures that stay are registered onto it"
    assert world.service().sweep(START + 7 * DAY).removed == {"exposure": 2}
    assert world.counts() == {}


def test_an_observation_stays_while_it_has_exposures(world):
    observation = world.observation()
    world.exposure("EF", observation=observation)
    stays = world.exposure("EX", observation=observation)
    world.service().sweep(START + DAY)
    assert world.names() == [stays.base_filename]
    assert world.counts()["observations"] == 1
    assert world.dangling() == []


# --- killed on the way -------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


class _DyingStore:
    """A store whose process is killed at the nth deletion, before or after it."""

    def __init__(self, store, deletions, *, after):
        self._store, self._left, self._after = store, deletions, after

    def __getattr__(self, name):
        return getattr(self._store, name)

    def delete(self, key):
        self._left -= 1
        if self._left < 0 and not self._after:
            raise Killed
        self._store.delete(key)
        if self._left < 0:
            raise Killed


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("deletions", range(7))
def test_killed_at_any_deletion_the_next_sweep_finishes(world, deletions, after):
    observation = world.observation()
    world.image(world.exposure("EF", observation=observation))
    dying = _DyingStore(world.store, deletions, after=after)
    with pytest.raises(Killed):
        world.service(store=dying).sweep(START + DAY)
    assert world.dangling() == []
    assert world.names() == []
    world.service().sweep(START + DAY)
    assert world.counts() == {}
    assert world.stored() == []
    assert len(world.events()) == len(world.removals()) == 1


@pytest.mark.parametrize("step", ["judge", "delete_exposures", "record_events", "_told"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_in_the_transaction_nothing_has_happened(world, monkeypatch, step, after):
    world.image(world.exposure("EF"))
    counts, keys = world.counts(), world.stored()
    original = getattr(expiration_module, step)

    def dying(*args, **kwargs):
        if after:
            original(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(expiration_module, step, dying)
    with pytest.raises(Killed):
        world.service().sweep(START + DAY)
    monkeypatch.undo()
    assert (world.counts(), world.stored(), world.events(), world.removals()) == (
        counts,
        keys,
        [],
        [],
    )
    assert world.service().sweep(START + DAY).removed == {"exposure": 1}
    assert world.stored() == []


def test_a_store_that_does_not_answer_is_told_and_asked_again(world):
    world.exposure("EF")

    class Gone(_DyingStore):
        def delete(self, key):
            raise StorageUnreachable(subject=key)

    report = world.service(store=Gone(world.store, 0, after=False)).sweep(START + DAY)
    assert [each["error"]["code"] for each in report.failed] == ["storage.unreachable"]
    assert world.names() == []
    assert len(world.stored()) == 3
    world.service().sweep(START + DAY)
    assert world.stored() == []


def test_one_file_that_cannot_be_removed_keeps_no_other(world):
    exposure = world.exposure("EF")
    bad = world.file(exposure, "bad.jpg").key

    class Refusing(_DyingStore):
        def delete(self, key):
            if key == bad:
                raise StorageRefused(subject=key)
            self._store.delete(key)

    report = world.service(store=Refusing(world.store, 0, after=False)).sweep(START + DAY)
    assert [each["name"] for each in report.failed] == [bad]
    assert world.stored() == [bad]
    world.service().sweep(START + DAY)
    assert world.stored() == []


# --- at the same time --------------------------------------------------------------------


def test_a_file_being_read_is_served_whole(world):
    exposure = world.exposure("EF")
    content = bytes(range(256)) * 40_000
    key = world.file(exposure, "large.fits", content).key
    with world.store.open(key) as stream:
        begun = stream.read(1000)
        world.service().sweep(START + DAY)
        assert not world.store.exists(key)
        assert begun + stream.read() == content


def test_bytes_outlive_their_rows_by_the_grace(anywhere):
    world = anywhere
    exposure = world.exposure("EF")
    content = bytes(range(256)) * 40_000
    key = world.file(exposure, "large.fits", content).key
    service = world.service(grace=timedelta(minutes=5))
    with world.store.open(key) as stream:
        begun = stream.read(1000)
        service.sweep(START + DAY)
        assert world.names() == []
        assert begun + stream.read() == content
    service.sweep(START + DAY + 299 * S)
    assert world.store.exists(key)
    service.sweep(START + DAY + 300 * S)
    assert world.stored() == []


def test_a_file_archived_again_keeps_its_bytes(anywhere):
    """Its bytes were put before the sweep took them, and its row comes after."""
    world = anywhere
    exposure = world.exposure("EF")
    (key,) = [key for key in world.stored() if key.endswith("10.jpg")]
    service = world.service(grace=timedelta(minutes=5))
    service.sweep(START + DAY)
    leftovers = Leftovers(database=world.database, store=world.store)
    with world.database.begin() as session:
        assert leftovers.claim(session, [key]) == []
    service.sweep(START + 2 * DAY)
    assert world.stored() == [key]
    with world.database.begin() as session:
        missing = leftovers.claim(session, [key, f"data/{exposure.base_filename}"])
    assert missing == [f"data/{exposure.base_filename}"]


def test_who_claims_while_bytes_are_removed_waits_and_sees_it(postgres_database, tmp_path):
    world = World(postgres_database, FolderStore(tmp_path / "store"))
    key = world.put("data/a")
    with world.database.begin() as session:
        remember(session, {key: 5}, START)
    leftovers = Leftovers(database=world.database, store=world.store)
    missing = []

    def claim():
        with world.database.begin() as session:
            missing.extend(leftovers.claim(session, [key]))

    with world.database.begin() as session:
        assert leftovers.remove(session, key, START) is not None
        other = threading.Thread(target=claim)
        other.start()
        other.join(0.5)
        assert other.is_alive()  # it waits for the row
    other.join(60)
    assert missing == [key]


def test_bytes_claimed_before_they_are_noted_are_kept(postgres_database, tmp_path):
    """A file comes again while its exposure is removed: the removal waits for its rows."""
    world = World(postgres_database, FolderStore(tmp_path / "store"))
    exposure = world.exposure("EX")
    key = world.put("data/again.jpg")
    leftovers = Leftovers(database=world.database, store=world.store)

    def remove():
        with world.database.begin() as session:
            leftovers.remove(session, key, START)

    with world.database.begin() as session:
        assert leftovers.claim(session, [key]) == []
        with world.database.begin() as other:
            remember(other, {key: 5}, START)
        remover = threading.Thread(target=remove)
        remover.start()
        remover.join(0.5)
        assert remover.is_alive()  # it waits for the end of this transaction
        row = ExposureFile(
            exposure_id=exposure.id, name="again.jpg", role="other", key=key, size=5,
            sha256="0", md5="0",
        )  # fmt: skip
        row.identify()
        session.add(row)
    remover.join(60)
    assert world.store.exists(key)
    assert world.counts().get("passing_files") is None


def test_bytes_that_a_row_points_at_again_are_kept(world):
    exposure = world.exposure("EX")
    world.image(exposure)
    keys = world.stored()
    with world.database.begin() as session:
        remember(session, dict.fromkeys(keys, 5), START)
    world.service().sweep(START)
    assert world.stored() == keys
    assert "passing_files" not in world.counts()


def test_an_exposure_that_another_transaction_holds_is_left_for_later(postgres_database, tmp_path):
    world = World(postgres_database, FolderStore(tmp_path / "store"))
    held, free = world.exposure("EF"), world.exposure("EF")
    with world.database.begin() as session:
        session.scalar(select(Exposure).where(Exposure.id == held.id).with_for_update())
        assert world.service().sweep(START + DAY).removed == {"exposure": 1}
    assert world.names() == [held.base_filename]
    assert world.service().sweep(START + DAY).names[0]["name"] == held.base_filename
    assert free.id != held.id


def test_an_exposure_given_more_time_meanwhile_stays(world, monkeypatch):
    exposure = world.exposure("EF")
    service = world.service()
    found = service._due_exposures(START + DAY)
    ids = next(found)
    with world.database.begin() as session:
        session.execute(update(Exposure).values(expires_at=None))
    service._exposures(ids, START + DAY, service.sweep(START))
    assert world.names() == [exposure.base_filename]


# --- the rest ----------------------------------------------------------------------------


def test_info_images_expire_by_themselves_with_their_files(anywhere):
    world = anywhere
    rows = []
    for channel, hours in ((1, 0), (2, 1)):
        shown = START + timedelta(hours=hours)
        rows.append(
            InfoImage(
                site="sro", channel=channel, base_filename=f"base-{channel}",
                requested_at=shown, shown_at=shown, expires_at=shown + 2 * DAY,
            )
        )  # fmt: skip
    mark = InfoImage(
        site="sro", channel=1, base_filename="replaced", requested_at=START, expires_at=START + DAY
    )
    for row in (*rows, mark):
        row.identify()
        world.add(row)
        if row is not mark:
            world.add(_info_file(world, row))
    assert world.service().sweep(START + 2 * DAY - S).removed == {}
    report = world.service().sweep(START + 2 * DAY)
    assert report.removed == {"info image": 1}
    assert [key.rsplit("/")[-1] for key in world.stored()] == ["base-2.jpg"]
    (event,) = world.events()
    assert event["topic"] == "expiration"
    assert event["data"] == {
        "s3_directory": "info-images",
        "base_filename": "base-1",
        "site": "sro",
        "channel": 1,
    }
    assert world.removals() == [("info image", "base-1", "sro", "info-images: 2d", 1, 5)]
    world.service().sweep(START + 3 * DAY)
    assert (world.stored(), world.counts()) == ([], {})


def _info_file(world, image):
    row = InfoImageFile(
        info_image_id=image.id, name=f"{image.base_filename}.jpg", role="jpg_medium",
        key=world.put(f"info-images/{image.base_filename}.jpg"), size=5, sha256="0", md5="0",
    )  # fmt: skip
    row.identify()
    return row


def test_converted_files_go_after_their_time_and_with_their_exposure(world):
    exposure = world.exposure("EF")
    later = START + 30 * DAY
    own = PassingFile(
        key=world.put("downloads/own"), exposure_id=exposure.id, size=5, used_at=START,
        expires_at=later,
    )  # fmt: skip
    old = PassingFile(
        key=world.put("downloads/old"), size=5, used_at=START, expires_at=START + 2 * DAY
    )
    world.add(own, old)
    world.service().sweep(START + DAY)
    assert world.stored() == ["downloads/old"]
    assert not world.service().sweep(START + 2 * DAY - S).removed
    assert world.service().sweep(START + 2 * DAY).removed == {"download": 1}
    assert (world.stored(), world.counts()) == ([], {})
    assert ("download", "downloads/old", None, "downloads: 2d", 1, 5) in world.removals()


def test_the_upload_log_forgets_what_needs_nobody(anywhere, tmp_path):
    world = anywhere
    for state in ArrivalState:
        world.arrival(state)
    for _ in range(7):
        world.arrival(ArrivalState.ARCHIVED)
    world.arrival(ArrivalState.ARCHIVED, created_at=START + DAY)
    service = world.service(batch=3)
    assert not service.sweep(START + 2 * DAY - S).removed
    assert service.sweep(START + 2 * DAY).removed == {"upload log": 10}
    assert world.counts() == {"arrivals": 3}  # received, quarantined, and the recent one
    assert sum(int(name.split()[0]) for _, name, *_ in world.removals()) == 10


def test_an_entry_stays_while_its_file_lies_in_the_watched_folder(world, tmp_path):
    (tmp_path / "here.fits").write_bytes(b"x")
    paths = [tmp_path / "here.fits", tmp_path / "gone.fits"]
    for path in paths:
        world.arrival(ArrivalState.ARCHIVED, origin="folder", source=str(path))
    service = world.service(batch=1)
    for _ in range(4):  # one look at one entry in each sweep
        service.sweep(START + 9 * DAY)
    assert world.counts() == {"arrivals": 1}
    paths[0].unlink()
    for _ in range(2):
        service.sweep(START + 9 * DAY)
    assert world.counts() == {}


def test_an_entry_of_a_bucket_stays_once_its_exposure_has_expired(world):
    """Or the object, told of again, would be archived and expire once more."""
    expired, safe = world.exposure("EF"), world.exposure("EX")
    for number, exposure in enumerate((expired, safe)):
        world.arrival(
            ArrivalState.ARCHIVED, origin="s3", source=f"s3://b/{number}", collection="data",
            exposure_id=exposure.id,
        )  # fmt: skip
    world.arrival(ArrivalState.ARCHIVED, origin="s3", source="s3://b/i", collection="info-images")
    assert world.service().sweep(START + 9 * DAY).removed == {"exposure": 1, "upload log": 2}
    with world.database.reading() as session:
        assert session.scalar(select(Arrival.source)) == "s3://b/0"


def test_quarantined_files_go_only_when_set_and_then_with_their_bytes(world):
    quarantined(world)
    assert not world.service().sweep(START + 999 * DAY).removed
    report = world.service(quarantine="30d").sweep(START + 30 * DAY)
    assert report.removed == {"upload log": 1}
    assert (world.stored(), world.counts()) == ([], {})


def test_leave_to_upload_is_forgotten(world):
    world.add(
        UploadTicket(
            id=uuid.uuid4(), key="inbox/1/a.jpg", name="a.jpg", max_size=9,
            expires_at=START + 300 * S,
        )
    )  # fmt: skip
    assert not world.service().sweep(START + 2 * DAY).removed
    assert world.service().sweep(START + 2 * DAY + 300 * S).removed == {"upload ticket": 1}


def test_many_are_removed_in_batches(world, monkeypatch):
    monkeypatch.setattr(expiration_module, "_AT_ONCE", 3)
    for _ in range(8):
        world.exposure("EF")
    assert world.service().sweep(START + DAY).removed == {"exposure": 8}
    assert (world.stored(), world.counts()) == ([], {})
