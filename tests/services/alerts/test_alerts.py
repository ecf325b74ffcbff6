"""Every kept measurement that may go out is told of once, and sent until it has arrived."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "web"))
from archived import archive
from measured import measure
from reduced import reduce

from firstlight.formats.alert_packet import read_alerts
from firstlight.models.alert import Alert
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.forced_run import ForcedRun
from firstlight.models.image import ImageInput
from firstlight.models.measurement import Measurement, MeasurementSet
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.models.reference import Reference
from firstlight.remotes.alert_sink import AlertNotTaken, StoreSink
from firstlight.services.alerts.alerts import AlertFileMissing, AlertReport, AlertService
from firstlight.services.alerts.settings import AlertSettings
from firstlight.services.object_matching import belonging
from firstlight.storage.folder import FolderStore


class Sink:
    def __init__(self):
        self.taken = []
        self.down = False

    def send(self, topic, key, packet):
        if self.down:
            raise AlertNotTaken("no answer", subject="broker")
        self.taken.append((topic, key, read_alerts(packet)[0]))


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'alerts.sqlite'}")
    opened.upgrade()
    yield opened
    opened.dispose()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr("firstlight.models.measurement.data_path",
                        lambda name: tmp_path / "data" / name)  # fmt: skip
    return FolderStore(tmp_path / "data")


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture
def numbers(database, store):
    exposure = archive(database, store, 1, site="sro")
    rows = reduce(database, store, exposure)
    return measure(database, store, exposure, rows, names=("FL26aaa", "FL26aab", None))


def service(database, store, sink, *, public=frozenset(), **settings):
    settings = AlertSettings(**{"sites": ("sro",), **settings})
    return AlertService(
        database=database, store=store, settings=settings, make_sink=lambda: sink,
        public_sites=public,
    )  # fmt: skip


def test_each_is_told_of_once(database, store, sink, numbers):
    alerts = service(database, store, sink)
    assert alerts.send() == AlertReport(packed=2, sent=2, failures=[])
    assert alerts.send() == AlertReport(packed=0, sent=0, failures=[])
    assert [key for _, key, _ in sink.taken] == ["FL26aaa", "FL26aab"]
    topic, _, packet = sink.taken[0]
    assert topic == "firstlight-alerts"
    assert packet["alertId"] == numbers[0]
    assert packet["diaSource"]["psfFlux"] == pytest.approx(30_000.0)
    assert packet["diaObject"]["nDiaSources"] == 1
    assert packet["cutoutDifference"][:2] == b"\x1f\x8b"
    assert alerts.packet(numbers[1])["diaObject"]["diaObjectId"] == "FL26aab"
    with pytest.raises(AlertFileMissing):
        alerts.packet(numbers[2])


def test_what_is_not_public_stays(database, store, sink, numbers):
    kept_back = service(database, store, sink, sites=("other",)).send()
    assert (kept_back.packed, kept_back.withheld) == (0, 2)
    told = service(database, store, sink, sites=(), everything=True).send()
    assert (told.packed, told.withheld) == (2, 0)


@pytest.mark.parametrize(("public", "packed"), [({"sro"}, 2), (None, 2), ({"other"}, 0)])
def test_what_public_sites_measured_goes_out(database, store, sink, numbers, public, packed):
    public = None if public is None else frozenset(public)
    assert service(database, store, sink, public=public, sites=()).send().packed == packed


def test_what_hardly_is_real_or_is_known_stays(database, store, sink, numbers):
    with database.begin() as session:
        session.get_one(Measurement, numbers[0]).known_as = "(4) Vesta"
        session.get_one(Measurement, numbers[1]).real = 0.3
    assert service(database, store, sink).send().packed == 0


def test_it_is_sent_when_the_receiver_is_back(database, store, sink, numbers):
    alerts, sink.down = service(database, store, sink), True
    report = alerts.send()
    assert (report.packed, report.sent, len(report.failures)) == (2, 0, 2)
    told = alerts.listed()
    assert [each["attempts"] for each in told] == [1, 1]
    assert told[0]["error"] == "no answer"
    sink.down = False
    assert alerts.send() == AlertReport(packed=0, sent=2, failures=[])
    assert all(each["sent_at"] is not None and each["error"] is None for each in alerts.listed())


def test_a_run_that_died_after_the_file_is_gone_on_with(database, store, sink, numbers):
    alerts = service(database, store, sink)
    alerts._pack(numbers[0])
    with database.begin() as session:
        session.delete(session.get_one(Alert, numbers[0]))
    assert alerts.send().sent == 2


def test_history_comes_along(database, store, sink, numbers):
    with database.begin() as session:
        thing = session.query(Object).filter_by(name="FL26aab").one()
        exposure = session.query(Exposure).one()
        belongs = belonging(session, exposure)
        for n, days in enumerate((-400.0, -3.0, 0.0, 2.0)):
            key = thing.id.__class__(int=n + 1)
            session.add(Photometry(
                key=key, object_id=thing.id, origin="forced", mjd=exposure.mjd + days,
                filter="rp", flux_ujy=-2.0, flux_err_ujy=1.5, limiting_mag=20.5, flags=0,
                **belongs,
            ))  # fmt: skip
    service(database, store, sink).send()
    (point,) = sink.taken[1][2]["prvDiaForcedSources"]
    assert point["psfFlux"] == pytest.approx(-2000.0)
    assert point["limitingMag"] == pytest.approx(20.5)


@pytest.fixture
def later(database, store):
    """Object FL26aaa a night earlier, in an image that was compared with a later reference."""
    exposure = archive(database, store, 2, site="sro", minute=-1440)
    rows = reduce(database, store, exposure)
    (number,) = measure(database, store, exposure, rows, names=("FL26early",), turn=2)
    with database.begin() as session:
        measured = session.get_one(Measurement, number)
        used = session.get_one(MeasurementSet, measured.set_id).reference_id
        session.get_one(Reference, used).mjd_start = measured.mjd + 3.0
        thing = session.query(Object).filter_by(name="FL26aaa").one()
        measured.object_id = thing.id
        set_of_it = session.get_one(MeasurementSet, measured.set_id)
        session.add(ForcedRun(
            exposure_id=exposure.id, section_id="0", image_id=set_of_it.image_id,
            difference_id=set_of_it.difference_id, provenance_id=set_of_it.provenance_id,
            n_objects=1,
        ))  # fmt: skip
        link = ImageInput(
            image_id=set_of_it.difference_id, role="reference", number=0,
            input_image_id=session.get_one(Reference, used).image_id,
        )  # fmt: skip
        session.add(link)
        session.add(Photometry(
            key=thing.id, object_id=thing.id, origin="forced", mjd=measured.mjd,
            image_id=set_of_it.image_id, filter="rp", flux_ujy=-30.0, flux_err_ujy=1.5, flags=0,
            **belonging(session, exposure),
        ))  # fmt: skip
    return number


def test_what_was_compared_with_a_later_reference_is_no_news(database, store, sink, numbers, later):
    report = service(database, store, sink).send()
    assert (report.packed, report.looking_back) == (2, 1)
    packet = sink.taken[0][2]
    assert packet["diaObject"]["diaObjectId"] == "FL26aaa"
    # Nor does it make the object older than it is.
    assert packet["diaObject"]["nDiaSources"] == 1
    assert packet["prvDiaSources"] == packet["prvDiaForcedSources"] == []


def test_it_is_told_of_when_that_is_wanted(database, store, sink, numbers, later):
    report = service(database, store, sink, later_references=True).send()
    assert (report.packed, report.looking_back) == (3, 0)
    packet = sink.taken[0][2]
    assert [each["diaSourceId"] for each in packet["prvDiaSources"]] == [later]
    assert [each["psfFlux"] for each in packet["prvDiaForcedSources"]] == [-30_000.0]
    assert sink.taken[2][2]["alertId"] == later


def test_files_alone_are_enough(database, store, numbers):
    assert service(database, store, StoreSink()).send().sent == 2
    assert len(list(store.list("alerts/"))) == 2
