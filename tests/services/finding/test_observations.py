"""Observations as the network's service tells them, from rows alone."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from firstlight.errors import InvalidInput
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile
from firstlight.models.observation import Observation
from firstlight.models.observation_file import ObservationFile
from firstlight.models.provenance import Provenance, Software
from firstlight.provenance.lineage import Lineage
from firstlight.services.finding.observations import (
    STATUSES,
    ObservationMissing,
    ObservationQuery,
    ObservationService,
)

MJD0 = 58_165.46  # 2018-02-16 11:02
SEQUENCE = "PAN001_14d3bd_20180216T110240"
FOLDER = "PAN001/14d3bd/20180216T110240"


class Archive:
    """Rows put into the tables."""

    def __init__(self, database):
        self.database = database
        self.service = ObservationService(database=database)
        self._count = 0

    def observe(self, states, *, sequence=None, target="HD 189733", mjd=MJD0, ra=300.0, dec=22.0,
                site="PAN001", night=None):  # fmt: skip
        """An observation with an exposure for each reduction state; its exposures are returned."""
        row = Observation(
            instrument="PANOPTES", target=target, sequence=sequence,
            night=night or date(2018, 2, 15), filter="R+G+B",
        )  # fmt: skip
        row.identify()
        exposures = []
        for number, state in enumerate(states):
            self._count += 1
            name = f"raw/PANOPTES/{FOLDER}/{self._count:04d}.fits.fz"
            exposures.append(
                Exposure(
                    nofile=True,
                    filename=name,
                    instrument="PANOPTES",
                    telescope=site,
                    site=site,
                    mjd=mjd + number / 720,
                    exp_time=120.0,
                    filter_array=["R", "G", "B"],
                    ra=ra,
                    dec=dec,
                    target=target,
                    airmass=1.2,
                    reduction_state=state,
                    observation_id=row.id,
                    camera="14d3bd",
                    header={"creator": "POCSv0.6", "ha-mnt": 0.5, "imageid": f"image {number}"},
                )
            )
        with self.database.begin() as session:
            session.add(row)
            session.flush()
            session.add_all(exposures)
        return row.id, exposures

    def file(self, exposure, role, name):
        row = ExposureFile(
            exposure_id=exposure.id, name=name, role=role, key=f"data/{name}", size=5,
            sha256="0" * 64, md5="0" * 32,
        )  # fmt: skip
        row.identify()
        with self.database.begin() as session:
            session.add(row)

    def movie(self, observation_id):
        lineage = Lineage("make_timelapse", "1", {})
        row = ObservationFile(
            observation_id=observation_id, role="timelapse", name="timelapse.mp4",
            key="timelapses/a.mp4", size=9, sha256="1" * 64, n_exposures=3,
        )  # fmt: skip
        row.made_by(lineage, {"observation": observation_id})
        with self.database.begin() as session:
            Software.record(session)
            Provenance.record(session, lineage)
            session.add(row)

    def found(self, sites=None, **conditions):
        page = self.service.find(ObservationQuery.of(**conditions), sites)
        return [item["id"] for item in page.items]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request):
    opened = Database(request.getfixturevalue(f"{request.param}_url"))
    yield opened
    opened.dispose()


@pytest.fixture
def archive(database):
    return Archive(database)


def test_what_is_told_of_an_observation(archive):
    ident, _ = archive.observe(["none"] * 3, sequence=SEQUENCE)
    page = archive.service.find(ObservationQuery()).as_dict()
    assert page["total"] == 1
    assert page["next"] is None
    assert page["items"] == [
        {
            "id": SEQUENCE,
            "observation_id": str(ident),
            "unit_id": "PAN001",
            "camera_id": "14d3bd",
            "instrument": "PANOPTES",
            "start_date": "2018-02-16T11:01:24Z",
            "night": "2018-02-15",
            "exptime": 120.0,
            "pocs_version": "POCSv0.6",
            "state": "received",
            "field": "HD 189733",
            "filter": "R+G+B",
            "ra": 300.0,
            "dec": 22.0,
            "image_count": 3,
            "total_exptime": 360.0,
        }
    ]


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (["none", "none"], "received"),
        (["done", "none"], "partial"),
        (["failed", "none"], "partial"),
        (["partial", "done"], "partial"),
        (["failed", "partial"], "failed"),
        (["done", "done"], "done"),
    ],
)
def test_the_status_follows_from_the_exposures(archive, states, status):
    archive.observe(states, sequence=SEQUENCE)
    (item,) = archive.service.find(ObservationQuery()).items
    assert item["state"] == status
    for other in STATUSES:
        assert archive.found(status=other) == ([SEQUENCE] if other == status else [])


def test_counts_change_with_the_exposures(archive):
    _, exposures = archive.observe(["none"] * 3, sequence=SEQUENCE)
    with archive.database.begin() as session:
        session.delete(session.get_one(Exposure, exposures[0].id))
    (item,) = archive.service.find(ObservationQuery()).items
    assert item["image_count"] == 2
    assert item["start_date"] == "2018-02-16T11:03:24Z"
    with archive.database.begin() as session:
        for each in exposures[1:]:
            session.delete(session.get_one(Exposure, each.id))
    assert archive.found() == []


def test_filters(archive):
    today = utc_now().date()
    recent = f"PAN002_ee04d1_{today:%Y%m%d}T010000"
    archive.observe(["done"] * 6, sequence=SEQUENCE)
    archive.observe(["none"], sequence=recent, target="M 42", ra=83.8, dec=-5.4, site="PAN002",
                    night=today - timedelta(days=2))  # fmt: skip
    plain, _ = archive.observe(["none"] * 2, target="100% 'cloud'", ra=359.9, dec=10.0, site="Home",
                               night=date(2019, 1, 1))  # fmt: skip
    assert archive.found() == [recent, str(plain), SEQUENCE]
    assert archive.found(days=7) == [recent]
    assert archive.found(days=1) == []
    assert archive.found(since=date(2019, 1, 1)) == [recent, str(plain)]
    assert archive.found(until="2018-12-31") == [SEQUENCE]
    assert archive.found(min_images=2) == [str(plain), SEQUENCE]
    assert archive.found(min_images=7) == []
    assert archive.found(unit="PAN001") == [SEQUENCE]
    assert archive.found(unit="Home") == [str(plain)]
    assert archive.found(unit="PAN00_") == []
    assert archive.found(field="hd 18") == [SEQUENCE]
    assert archive.found(field="0%") == [str(plain)]
    assert archive.found(field="%") == [str(plain)]
    assert archive.found(field="'; drop table observations; --") == []
    assert archive.found(sites=["PAN002", "Home"]) == [recent, str(plain)]
    assert archive.found(sites=[]) == []
    assert archive.found(unit="PAN001", status="done", min_images=5, field="189") == [SEQUENCE]


def test_a_cone_is_a_cone(archive):
    """Upstream cuts a box without cos(dec) and without the seam of right ascension."""
    archive.observe(["none"], sequence=SEQUENCE, ra=359.9, dec=10.0)
    assert archive.found(ra=0.1, dec=10.0, radius=0.21) == [SEQUENCE]
    assert archive.found(ra=0.1, dec=10.0, radius=0.19) == []
    polar = SEQUENCE.replace("PAN001", "PAN009")
    archive.observe(["none"], sequence=polar, ra=10.0, dec=89.0)
    assert archive.found(ra=190.0, dec=89.0, radius=2.01) == [polar]
    assert archive.found(ra=190.0, dec=89.0, radius=1.99) == []
    # The corner of the box is outside the cone.
    archive.observe(["none"], sequence=SEQUENCE.replace("PAN001", "PAN008"), ra=50.0, dec=60.0)
    assert archive.found(ra=51.9, dec=60.95, radius=1.0) == []


@pytest.mark.parametrize("at_once", [4, 200])
def test_pages_follow_each_other_without_a_gap(archive, monkeypatch, at_once):
    monkeypatch.setattr("firstlight.services.finding.observations._AT_ONCE", at_once)
    for number in range(23):
        archive.observe(["none"], target=f"field {number}", night=date(2020, 1, 1 + number // 3))
    whole = archive.found(limit=1000)
    assert len(archive.service.weeks(ObservationQuery())) > 1
    pages, cursor = [], None
    while True:
        page = archive.service.find(ObservationQuery(limit=5, cursor=cursor))
        pages.append([item["id"] for item in page.items])
        cursor = page.next
        if cursor is None:
            break
    assert [len(page) for page in pages] == [5, 5, 5, 5, 3]
    assert [name for page in pages for name in page] == whole
    assert len(set(whole)) == 23


def _all_of(archive):
    ident, exposures = archive.observe(["none"] * 2, sequence=SEQUENCE)
    archive.file(exposures[0], "raw", "a.fits.fz")
    archive.file(exposures[0], "colour_jpg", "a.jpg")
    archive.file(exposures[1], "red_fits", "b_r.fits")
    archive.movie(ident)
    return ident, exposures


def test_one_observation_with_its_images_and_files(archive):
    ident, exposures = _all_of(archive)
    answer = archive.service.one(SEQUENCE, link=lambda key: f"https://a/{key}")
    assert answer == archive.service.one(str(ident), link=lambda key: f"https://a/{key}")
    items = answer["items"]
    assert answer["total"] == len(items)
    assert items["sequence"]["image_count"] == 2
    assert items["sequence_dir"] == FOLDER
    assert [image["imgtime"] for image in items["images"]] == [
        "2018-02-16T11:01:24Z",
        "2018-02-16T11:03:24Z",
    ]
    first = items["images"][0]
    assert first["file_path"] == exposures[0].filename
    assert (first["exptime"], first["airmass"], first["ha_mnt"]) == (120.0, 1.2, 0.5)
    assert (first["moonfrac"], first["moonsep"]) == (None, None)
    assert first["files"]["colour_jpg"]["url"] == "https://a/data/a.jpg"
    files = items["sequence_files"]
    assert files["jpg"] == ["https://a/data/a.jpg"]
    assert files["mp4"] == ["https://a/timelapses/a.mp4"]
    assert len(files["fz"]) == 3
    assert [each["role"] for each in items["files"]] == ["timelapse"]


def test_a_list_for_wget(archive):
    _, exposures = _all_of(archive)
    listed = archive.service.file_list(SEQUENCE, link=lambda key: f"https://a/{key}")
    assert listed.name == f"{SEQUENCE}.txt"
    assert listed.text.splitlines() == [
        f"https://a/{exposures[0].filename}",
        "https://a/data/a.fits.fz",
        "https://a/data/a.jpg",
        f"https://a/{exposures[1].filename}",
        "https://a/data/b_r.fits",
        "https://a/timelapses/a.mp4",
    ]
    assert listed.text.endswith("\n")
    only = archive.service.file_list(SEQUENCE, kinds=[".jpg", "MP4"])
    assert only.text.split() == ["data/a.jpg", "timelapses/a.mp4"]


@pytest.mark.parametrize(
    "name", ["PAN001_14d3bd_20200101T000000", "780a3faf-38ab-4442-9716-2be06e4ec0c6", "", "a/b"]
)
def test_what_is_not_there(archive, name):
    archive.observe(["none"], sequence=SEQUENCE)
    for ask in (archive.service.one, archive.service.file_list):
        with pytest.raises(ObservationMissing):
            ask(name)
        with pytest.raises(ObservationMissing):
            ask(SEQUENCE, sites=["elsewhere"])


def test_totals_of_weeks(archive):
    archive.observe(["none"] * 3, sequence=SEQUENCE)
    other = "PAN001_14d3bd_20180218T080000"
    archive.observe(["none"] * 2, sequence=other, night=date(2018, 2, 18))
    later = "PAN001_14d3bd_20181231T080000"
    archive.observe(["none"], sequence=later, night=date(2018, 12, 31))
    archive.observe(["none"], target="x", site="Home", night=date(2018, 12, 31))
    weeks = archive.service.weeks(ObservationQuery(limit=1))
    assert [(week["year"], week["week"], week["unit"]) for week in weeks] == [
        (2019, 1, "Home"),  # the last day of 2018 is in the first week of 2019
        (2019, 1, "PAN001"),
        (2018, 7, "PAN001"),
    ]
    assert weeks[2] == {
        "year": 2018,
        "week": 7,
        "unit": "PAN001",
        "num_observations": 2,
        "num_images": 5,
        "total_minutes_exptime": 10.0,
        "observations": [SEQUENCE, other],
    }
    assert [week["unit"] for week in archive.service.weeks(ObservationQuery(), ["Home"])] == [
        "Home"
    ]


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ({"days": 0}, "days"),
        ({"limit": 100_000}, "limit"),
        ({"ra": 400, "dec": 0, "radius": 1}, "ra"),
        ({"ra": 10.0}, None),
        ({"status": "lost"}, None),
        ({"since": "yesterday"}, "since"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_queries_that_make_no_sense(conditions, field):
    with pytest.raises(InvalidInput) as caught:
        ObservationQuery.of(**conditions)
    assert caught.value.field == field


def test_a_cursor_of_another_list(archive):
    with pytest.raises(InvalidInput, match="cursor"):
        archive.service.find(ObservationQuery(cursor="page 2"))
