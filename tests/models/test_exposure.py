"""Exposure: files, columns, headers and pixels, as the seed describes them."""

import threading
import uuid
from collections.abc import Mapping

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import create_engine, event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.errors import ConflictError, InvalidInput
from firstlight.formats.file_errors import EmptyFile
from firstlight.instruments import Instrument, get_instrument_instance
from firstlight.instruments.header_errors import BadCoordinate, BadExposureTime
from firstlight.instruments.registry import forget_instrument
from firstlight.instruments.sections import UnknownSection
from firstlight.models import observation as _more  # noqa: F401, exposures point at it
from firstlight.models.base import Base
from firstlight.models.data_root import configure_data_roots
from firstlight.models.exposure import Exposure, exposure_id
from firstlight.models.section_data import SectionData

RNG = np.random.default_rng(3)
PIXELS = {name: RNG.integers(900, 1100, (20, 30)).astype(np.uint16) for name in "AB"}
CARDS = {
    "INSTRUME": "DemoInstrument", "TELESCOP": "DemoTelescope", "DATE-OBS": "2021-03-04T05:06:07.5",
    "EXPTIME": 60.0, "FILTER": "R", "IMAGETYP": "science", "OBJECT": "M 31", "RA": 10.68,
    "DEC": 41.27, "SITELAT": 31.96, "SITELONG": -111.6, "SITEELEV": 2096.0, "CCD-TEMP": -20.0,
    "XBINNING": 1, "PROPID": "2021A-1", "OBSERVER": "Vera",
}  # fmt: skip


@pytest.fixture(autouse=True)
def root(tmp_path):
    configure_data_roots(tmp_path / "data", tmp_path / "server")
    (tmp_path / "data").mkdir()
    (tmp_path / "server").mkdir()
    yield tmp_path / "data"
    configure_data_roots()


@pytest.fixture
def engine():
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def write_demo(path, **cards):
    wanted = CARDS | {name.replace("_", "-"): value for name, value in cards.items()}
    header = fits.Header([(name, value) for name, value in wanted.items() if value is not None])
    hdus = [fits.ImageHDU(PIXELS[name], fits.Header([("GAIN", 1.51)]), name=name) for name in "AB"]
    fits.HDUList([fits.PrimaryHDU(header=header), *hdus]).writeto(path)
    return path


@pytest.fixture
def demo(root):
    write_demo(root / "demo_1.fits")
    return Exposure("demo_1.fits")


# --- columns -------------------------------------------------------------------------------


def test_columns_come_from_the_header(demo):
    assert demo.instrument == "DemoInstrument"
    assert demo.telescope == "DemoTelescope"
    assert demo.mjd == pytest.approx(59277.2129340278 + 0, abs=1e-8)  # 05:06:37.5
    assert (demo.start_mjd, demo.end_mjd) == pytest.approx(
        (demo.mjd - 30 / 86400, demo.mjd + 30 / 86400)
    )
    assert demo.mid_mjd == demo.mjd
    assert (demo.ra, demo.dec, demo.hpx) == (10.68, 41.27, int(healpix_index(10.68, 41.27)))
    assert (demo.kind, demo.filter, demo.filter_array, demo.exp_time) == ("science", "R", None, 60)
    assert (demo.project, demo.target, demo.observer) == ("2021A-1", "M 31", "Vera")
    assert (demo.latitude, demo.longitude, demo.elevation) == (31.96, -111.6, 2096.0)
    assert (demo.temperature, demo.binning, demo.format) == (-20.0, "1x1", "fits")
    assert demo.airmass is None or demo.airmass >= 1
    assert demo.problems == []
    assert demo.missing_attributes() == []


def test_what_the_caller_says_counts(root):
    write_demo(root / "demo_1.fits", RA=999.0, DEC=None)
    with pytest.raises(BadCoordinate, match=r"demo_1\.fits.*RA.*999"):
        Exposure("demo_1.fits")
    told = Exposure("demo_1.fits", ra=-10.0, dec=3.0, target="mine")
    assert (told.ra, told.dec, told.target) == (350.0, 3.0, "mine")
    assert told.problems == []


def test_nonsense_in_what_matters_is_an_error_and_elsewhere_a_note(root):
    write_demo(root / "demo_1.fits", EXPTIME="abc")
    with pytest.raises(BadExposureTime, match="abc"):
        Exposure("demo_1.fits")
    write_demo(root / "demo_2.fits", CCD_TEMP="cold", SITELAT=95.0)
    noted = Exposure("demo_2.fits")
    assert noted.temperature is None
    assert {problem.field for problem in noted.problems} == {"CCD-TEMP", "SITELAT"}


def test_missing_cards_are_noted_not_fatal(root):
    write_demo(root / "demo_1.fits", DATE_OBS=None, FILTER=None, RA=None)
    found = Exposure("demo_1.fits")
    assert found.mjd is None
    assert found.filter == "unknown"
    assert {problem.field for problem in found.problems} == {"DATE-BEG", "FILTER", "RA"}
    assert found.missing_attributes() == ["mjd", "ra"]
    assert found.missing_attributes() == ["mjd", "ra"]  # upstream emptied its constant


def test_header_is_a_small_lower_case_subset(root):
    class Weather(Instrument):
        auxiliary_keys = ("DOME", "wind")
        translations = {"wind": "WINDSPD"}  # noqa: RUF012, as users write it
        gain = 1.5

    try:
        fits.PrimaryHDU(
            PIXELS["A"],
            fits.Header([*CARDS.items(), ("DOME", 12), ("WINDSPD", 3.5), ("GAIN", 1.4)]),
        ).writeto(root / "a.fits")
        found = Exposure("a.fits", instrument="Weather")
        assert found.header == {"dome": 12, "wind": 3.5, "gain": 1.4}
    finally:
        forget_instrument("Weather")


def test_the_same_bytes_have_the_same_id(root, demo):
    (root / "copy.fits").write_bytes((root / "demo_1.fits").read_bytes())
    copied = Exposure("copy.fits")
    assert copied.id == demo.id == exposure_id(demo.sha256)
    assert copied.sha256 == demo.sha256
    assert demo.size == (root / "demo_1.fits").stat().st_size
    assert demo.id.version == 5
    assert Exposure(nofile=True).id != Exposure(nofile=True).id


def test_positions_are_checked():
    exposure = Exposure(nofile=True)
    exposure.ra, exposure.dec = 370.0, -5.0
    assert exposure.ra == 10.0
    assert exposure.hpx == int(healpix_index(10.0, -5.0))
    exposure.ra = None
    assert exposure.hpx is None
    for name, value in (("dec", 91.0), ("ra", float("nan"))):
        with pytest.raises(InvalidInput, match=name):
            setattr(exposure, name, value)
    with pytest.raises(InvalidInput, match="science"):
        exposure.kind = "lunch"


def test_the_kind_and_calibrations(root):
    write_demo(root / "demo_1.fits", IMAGETYP="Bias Frame", FILTER=None, RA=None, DEC=None)
    bias = Exposure("demo_1.fits")
    assert (bias.kind, bias.filter, bias.airmass) == ("bias", None, None)
    assert bias.missing_attributes() == []


@pytest.mark.sample
def test_a_real_exposure(root, samples):
    name = "HATP-32171220013343.FITS"
    (root / name).write_bytes((samples / "hatp32_microobs" / name).read_bytes())
    real = Exposure(name)
    assert real.instrument == "MicroObservatory"
    assert real.telescope == "Cecilia"
    assert real.airmass == pytest.approx(1.127, abs=0.001)
    assert real.longitude == -110.88
    assert real.data["0"].shape == (500, 650)
    assert real.header["telalt"] == 62.592


# --- files ---------------------------------------------------------------------------------


def test_a_name_is_needed():
    with pytest.raises(InvalidInput, match="nofile=True"):
        Exposure()


def test_missing_files(root):
    with pytest.raises(FileNotFoundError, match=r"none\.fits"):
        Exposure(filename="none.fits")
    (root / "empty.fits").touch()
    with pytest.raises(EmptyFile):
        Exposure("empty.fits")


def test_full_paths(root, demo):
    path = str(root / "demo_1.fits")
    assert demo.get_fullpath() == path
    assert demo.get_fullpath(as_list=True) == [path]
    assert Exposure(root / "demo_1.fits").filename == "demo_1.fits"


def test_a_missing_file_comes_from_the_server(root, tmp_path):
    write_demo(tmp_path / "server" / "demo_1.fits")
    exposure = Exposure(filename="demo_1.fits")
    assert exposure.get_fullpath(download=False) == str(root / "demo_1.fits")
    (root / "demo_1.fits").unlink()
    with pytest.raises(FileNotFoundError):
        exposure.get_fullpath(download=False)
    np.testing.assert_array_equal(exposure.data["A"], PIXELS["A"])
    (root / "demo_1.fits").unlink()
    (tmp_path / "server" / "demo_1.fits").unlink()
    with pytest.raises(FileNotFoundError):
        exposure.get_fullpath()


@pytest.mark.parametrize(
    ("filename", "extensions"),
    [("night/Demo_2021.", ["A.fits", "B.fits"]), ("night/", ["first.fits", "second.fits"])],
)
def test_one_file_a_section(root, filename, extensions):
    (root / "night").mkdir()
    for number, (extension, name) in enumerate(zip(extensions, "AB", strict=True)):
        header = fits.Header([*CARDS.items(), ("CHIP", number)])
        fits.PrimaryHDU(PIXELS[name], header).writeto(root / (filename + extension))
    exposure = Exposure(filename=filename, filename_extensions=extensions)
    paths = [str(root / (filename + extension)) for extension in extensions]
    assert exposure.get_fullpath() == paths
    np.testing.assert_array_equal(exposure.data["B"], PIXELS["B"])
    assert exposure.raw_header["CHIP"] == 0
    assert exposure.section_headers["B"]["CHIP"] == 1
    single = Exposure(
        filename=filename + extensions[0][:1], filename_extensions=[extensions[0][1:]]
    )
    assert single.get_fullpath() == paths[:1]  # a list, even of one


# --- pixels and headers --------------------------------------------------------------------


def test_data_is_a_lazy_mapping(demo):
    data = demo.data
    assert isinstance(data, SectionData)
    assert isinstance(data, Mapping)
    assert data.loaded == []
    assert list(data) == ["A", "B"]
    assert len(data) == 2
    assert "A" in data
    assert "C" not in data
    assert 0 not in data
    assert [key for key, _ in data.items()] == ["A", "B"]
    assert {key: image.shape for key, image in data.items()} == {"A": (20, 30), "B": (20, 30)}
    np.testing.assert_array_equal(data["B"], PIXELS["B"])
    assert data["B"] is data["B"]
    assert data["A"].dtype == np.uint16
    with pytest.raises(UnknownSection, match="A, B"):
        data["C"]
    assert data.get("C") is None


def test_zero_and_its_text_are_one_key(root):
    fits.PrimaryHDU(PIXELS["A"], fits.Header(list(CARDS.items()))).writeto(root / "x.fits")
    exposure = Exposure("x.fits", instrument="GenericFITS")
    assert exposure.data[0] is exposure.data["0"]
    assert 0 in exposure.data
    assert "0" in exposure.data
    assert exposure.data.loaded == ["0"]
    exposure.data["0"] = PIXELS["B"]
    assert exposure.data[0] is PIXELS["B"]


def test_memory_is_bounded(demo):
    demo.data.budget = PIXELS["A"].nbytes + 1
    first = demo.data["A"]
    assert demo.data["B"] is not None
    assert demo.data.loaded == ["B"]
    assert demo.data["A"] is not first
    # What was set is in no file: it is never dropped.
    demo.data["A"] = PIXELS["B"]
    assert demo.data["B"] is not None
    assert set(demo.data.loaded) == {"A", "B"}


def test_headers_are_in_three_places(demo):
    assert demo.raw_header["OBJECT"] == "M 31"
    assert demo.section_headers["A"]["GAIN"] == 1.51
    assert "GAIN" not in demo.raw_header
    assert isinstance(demo.section_headers, Mapping)
    assert list(demo.section_headers) == ["A", "B"]
    header = fits.Header([("GAIN", 9.0)])
    demo.section_headers["A"] = header  # upstream wrote to an attribute that is not there
    assert demo.section_headers["A"] is header
    del demo.section_headers["A"]
    assert demo.section_headers["A"]["GAIN"] == 1.51


@pytest.mark.parametrize("clear", ["clear_cache", "data.clear_cache"])
def test_clearing_clears_pixels_and_headers(root, demo, clear):
    old = (demo.data["A"], demo.section_headers["A"], demo.raw_header)
    (root / "demo_1.fits").unlink()
    write_demo(root / "demo_1.fits", OBJECT="M 33")
    owner = demo.data if clear.startswith("data") else demo
    owner.clear_cache()
    assert demo.data["A"] is not old[0]
    assert demo.section_headers["A"] is not old[1]
    assert demo.raw_header["OBJECT"] == "M 33"


def test_many_threads_load_once(demo):
    results = []
    threads = [threading.Thread(target=lambda: results.append(demo.data["A"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(result) for result in results}) == 1


# --- saving --------------------------------------------------------------------------------


def _in_memory(**columns):
    facts = {"instrument": "DemoInstrument", "telescope": "DemoTelescope", "mjd": 59277.25,
             "exp_time": 30.0, "ra": 150.1163, "dec": -0.00951, "filter": "R"}  # fmt: skip
    exposure = Exposure(nofile=True, **(facts | columns))
    for name in "AB":
        exposure.data[name] = PIXELS[name]
    return exposure


def test_save_and_read_again(root):
    exposure = _in_memory(target="M 31", project="p", temperature=-10.0, airmass=1.25)
    path = exposure.save()
    assert path == exposure.get_fullpath()
    again = Exposure(exposure.filename)
    for name in ("instrument", "telescope", "exp_time", "ra", "dec", "filter", "kind", "target",
                 "project", "temperature", "airmass", "sha256"):  # fmt: skip
        assert getattr(again, name) == getattr(exposure, name), name
    assert again.mjd == pytest.approx(exposure.mjd, abs=1e-9)
    np.testing.assert_array_equal(again.data["B"], PIXELS["B"])
    assert again.data["B"].dtype == np.uint16
    exposure.data.clear_cache()
    np.testing.assert_array_equal(exposure.data["A"], PIXELS["A"])


@pytest.mark.parametrize(
    ("columns", "name"),
    [({}, "DemoInstrument_20210304T055945.000_science_R_r150.1163m00.0095.fits"),
     ({"dec": 0.00951}, "DemoInstrument_20210304T055945.000_science_R_r150.1163p00.0095.fits"),
     ({"ra": 1e-7, "dec": -1e-7},
      "DemoInstrument_20210304T055945.000_science_R_r000.0000p00.0000.fits"),
     ({"ra": 359.99999}, "DemoInstrument_20210304T055945.000_science_R_r000.0000m00.0095.fits"),
     ({"dec": -89.5}, "DemoInstrument_20210304T055945.000_science_R_r150.1163m89.5000.fits"),
     ({"filter": "H_alpha/2"},
      "DemoInstrument_20210304T055945.000_science_H-alpha-2_r150.1163m00.0095.fits"),
     ({"filter": None, "filter_array": ["R", "V"]},
      "DemoInstrument_20210304T055945.000_science_R-V_r150.1163m00.0095.fits"),
     ({"kind": "bias", "filter": None, "ra": None, "exp_time": 0.0},
      "DemoInstrument_20210304T060000.000_bias_nofilter.fits"),
     ({"mjd": 59277.2499999999, "exp_time": 0.0},
      "DemoInstrument_20210304T060000.000_science_R_r150.1163m00.0095.fits")],
)  # fmt: skip
def test_invented_names(columns, name):
    assert _in_memory(**columns).invent_filename() == name


def test_raw_files_are_not_overwritten(root):
    exposure = _in_memory(filename="a.fits")
    exposure.save()
    exposure.save()  # the same bytes
    exposure.data["A"] = PIXELS["B"]
    with pytest.raises(ConflictError, match=r"a\.fits"):
        exposure.save()
    assert fits.getdata(root / "a.fits", "A")[0, 0] == PIXELS["A"][0, 0]
    exposure.save(overwrite=True)
    np.testing.assert_array_equal(Exposure("a.fits").data["A"], PIXELS["B"])


def test_what_is_missing_is_told_before_anything_is_written(root):
    exposure = _in_memory(mjd=None, filter=None)
    with pytest.raises(InvalidInput, match="mjd, filter"):
        exposure.save()
    with pytest.raises(InvalidInput, match="save"):
        exposure.get_fullpath()
    assert list(root.iterdir()) == []
    with pytest.raises(InvalidInput, match="shape"):
        exposure.data["A"] = np.zeros(5)


# --- database ------------------------------------------------------------------------------


def test_round_trip_through_the_database(engine, demo):
    with Session(engine) as session:
        session.add(demo)
        session.commit()
        key = demo.id
    with Session(engine) as session:
        found = session.get_one(Exposure, key)
        assert (found.ra, found.header, found.filename_extensions) == (10.68, demo.header, None)
        assert isinstance(found.id, uuid.UUID)
        assert found.raw_header["OBJECT"] == "M 31"
        np.testing.assert_array_equal(found.data["A"], PIXELS["A"])


def test_a_science_exposure_has_exactly_one_filter(engine):
    for columns in ({"filter": None}, {"filter_array": ["R", "V"]}):
        with Session(engine) as session:
            session.add(_in_memory(filename=f"{len(columns)}.fits", **columns))
            with pytest.raises(IntegrityError, match="one_filter"):
                session.commit()
    with Session(engine) as session:
        array = _in_memory(filename="a.fits", filter=None, filter_array=["R", "V"])
        session.add_all([array, _in_memory(filename="b.fits", filter=None, kind="bias")])
        session.commit()
        assert session.scalars(select(Exposure.filter_array).order_by(Exposure.filename)).all() == [
            ["R", "V"],
            None,
        ]


def test_a_name_is_used_once(engine):
    with Session(engine) as session:
        session.add_all([_in_memory(filename="a.fits"), _in_memory(filename="a.fits")])
        with pytest.raises(IntegrityError, match="filename"):
            session.commit()


def test_instruments_are_shared_and_follow_the_date(engine, root):
    class Ageing(Instrument):
        gain = 2.0

    try:
        with Session(engine) as session:
            rows = [
                Exposure(
                    nofile=True, instrument="Ageing", mjd=mjd, filter="R", filename=f"{mjd}.fits"
                )
                for mjd in (58000.0, 59000.0, 59000.5)
            ]
            assert rows[0].instrument_object is get_instrument_instance("Ageing")
            session.add_all(rows)
            session.commit()
            camera = get_instrument_instance("Ageing")
            camera.sections[0].gain = 3.0
            camera.commit_sections(session, 58900.0, 59100.0)
            camera.fetch_sections()  # the shared instance is as it was
        asked: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
        with Session(engine) as session:
            early, late, later = session.scalars(select(Exposure).order_by(Exposure.mjd)).all()
            assert early.instrument_object.get_property(0, "gain") == 2.0
            assert late.instrument_object.get_property(0, "gain") == 3.0
            assert later.instrument_object is late.instrument_object
            assert len(asked) == 2  # the exposures, and all sections once
            session.expunge(late)
        # Once detached, and not looked at before, it still knows.
        with Session(engine) as session:
            detached = session.scalars(select(Exposure).where(Exposure.mjd == 59000.0)).one()
        assert detached.instrument_object.get_property(0, "gain") == 3.0
        fresh = Exposure(nofile=True, instrument="Ageing", mjd=59000.0)
        assert fresh.instrument_object.get_property(0, "gain") == 2.0
        with Session(engine) as session:
            fresh.update_instrument(session)
        assert fresh.instrument_object.get_property(0, "gain") == 3.0
    finally:
        forget_instrument("Ageing")
