"""Cameras that are files: what they say of headers and sections, and what is wrong with a file."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from firstlight.algorithms.flags import Flag
from firstlight.formats.fits_errors import NoSuchImage
from firstlight.instruments import get_instrument_instance, guess_instrument, load_cameras
from firstlight.instruments.camera_file import BadCamera, read_camera_file
from firstlight.instruments.camera_tables import read_crosstalk, read_linearity
from firstlight.instruments.registry import camera_fingerprints, instrument_names
from firstlight.models.data_root import configure_data_roots
from firstlight.models.data_root import data_root as data_root_of_tests
from firstlight.models.exposure import Exposure

# A raw header of section S1 and its exposure, as the public description of raw files shows them.
DECAM_EXPOSURE = {
    "INSTRUME": "DECam", "TELESCOP": "CTIO 4.0-m telescope", "OBSERVAT": "CTIO",
    "OBS-LONG": 70.81489, "OBS-LAT": -30.16606, "OBS-ELEV": 2215.0, "PROCTYPE": "raw",
    "OBSTYPE": "object", "OBJECT": "field 7", "PROPID": "2013A-0741", "EXPTIME": 90.0,
    "DATE-OBS": "2013-04-22T08:03:29.134", "MJD-OBS": 56404.335754, "TIMESYS": "UTC",
    "RA": "16:18:38.640", "DEC": "-12:20:09.600", "TELRA": "16:18:38.729",
    "TELDEC": "-12:20:08.700", "FILTER": "z DECam SDSS c0004 9260.0 1520.0", "AIRMASS": 1.34,
    "PIXSCAL1": 0.27,
}  # fmt: skip
DECAM_S1 = {
    "EXTNAME": "S1", "CCDNUM": 25, "DETPOS": "S1", "NAXIS1": 2160, "NAXIS2": 4146,
    "TRIMSEC": "[57:2104,51:4146]", "DATASEC": "[57:2104,51:4146]",
    "TRIMSECA": "[1081:2104,51:4146]", "DATASECA": "[1081:2104,51:4146]",
    "BIASSECA": "[2105:2154,51:4146]", "CCDSECA": "[1025:2048,1:4096]",
    "AMPSECA": "[2048:1025,4096:1]", "GAINA": 4.59347726229, "RDNOISEA": 7.17960496096,
    "SATURATA": 43266.0, "TRIMSECB": "[57:1080,51:4146]", "DATASECB": "[57:1080,51:4146]",
    "BIASSECB": "[7:56,51:4146]", "CCDSECB": "[1:1024,1:4096]", "AMPSECB": "[1:1024,4096:1]",
    "GAINB": 4.4014084507, "RDNOISEB": 7.01628521127, "SATURATB": 44935.0,
}  # fmt: skip
TWIN = """
sections = [{ id = "one", number = 1, layout = "pair", x = -10.0 }, { id = "two", number = 2 }]
[camera]
name = "Twin"
telescope = "Test tube"
gain = 2.0
[files]
filename_regex = '^twin_'
header_instruments = "TWIN"
[header.convert]
temperature = { add = -273.15, missing = [-1] }
filter = { map = { "1" = "red" } }
[[layouts.pair]]
name = "A"
data = "[3:12,1:20]"
overscan = "[1:2,1:20]"
place = "[1:10,1:20]"
gain = 1.5
full_well = 90000
[[layouts.pair]]
name = "B"
data = "[13:22,1:20]"
place = "[11:20,1:20]"
read_from = "top right"
[crosstalk]
file = "twin.crosstalk"
[linearity]
file = "twin.csv"
"""


@pytest.fixture
def workspace(tmp_path):
    """A folder of cameras, forgotten again afterwards."""
    (tmp_path / "twin.toml").write_text(TWIN)
    yield tmp_path
    load_cameras(tmp_path / "nothing")
    assert "Twin" not in instrument_names()


@pytest.fixture
def data_root(tmp_path):
    """Files of exposures lie below the root of the data."""
    before = data_root_of_tests()
    configure_data_roots(tmp_path)
    yield tmp_path
    configure_data_roots(before)


def decam():
    return get_instrument_instance("DECam")


def test_decam_has_62_sections_where_its_makers_say_they_are():
    camera = decam()
    assert camera.get_section_ids() == [each.id for each in camera.says.sections]
    assert len(camera.get_section_ids()) == 62
    assert {s.identifier for s in camera.sections.values() if s.defective} == {"N30", "S7"}
    numbers = {section.id: section.number for section in camera.says.sections}
    assert (numbers["S29"], numbers["S1"], numbers["N11"], numbers["N31"]) == (1, 25, 42, 62)
    # Raw headers of S1 have CRPIX 2151.2 and 14826.0, those of S29 13423.2 and 6307.3.
    for name, crpix in (("S1", (2151.2, 14826.0)), ("S29", (13423.2, 6307.3))):
        x, y = camera.get_section_offsets(name)
        assert (1024 - x, 2048 - y) == pytest.approx(crpix, abs=0.11)
    corners = [camera.get_section_offsets(name) for name in ("N31", "S31", "N29", "N7", "N1")]
    assert corners[0] == pytest.approx((12399.2, 4259.3), abs=0.1)
    assert corners[1][0] == -corners[0][0]
    assert corners[2][1] == -corners[0][1]
    assert corners[3][1] - corners[4][1] == pytest.approx(6 * 4259.33, abs=0.1)


def test_amplifiers_of_decam_swap_sides_and_have_their_own_gain():
    camera, header = decam(), {**DECAM_EXPOSURE, **DECAM_S1}
    right, left = camera.get_amplifiers(header, "S1", (4146, 2160))
    assert right.area.data == (slice(50, 4146), slice(1080, 2104))
    assert right.area.trim == (slice(0, 4096), slice(1024, 2048))
    assert (right.area.read_from, left.area.read_from) == ("top right", "top left")
    assert (right.own["gain"], left.own["gain"]) == (4.59347726229, 4.4014084507)
    assert (right.own["read_noise"], left.own["saturation_limit"]) == (7.17960496096, 44935.0)
    assert set(left.told.values()) == {"header"}
    assert camera.get_gain_at_pixel(header, "S1", 1023, 7) == 4.4014084507
    assert camera.get_gain_at_pixel(header, "S1", 1024, 7) == 4.59347726229


def test_the_file_knows_the_amplifiers_where_the_header_does_not():
    camera = decam()
    left, right = camera.get_amplifiers({}, "N4", (4146, 2160))
    assert (left.area.name, right.area.name) == ("A", "B")
    assert left.area.bias == (slice(0, 4096), slice(6, 56))
    assert right.area.read_from == "bottom right"
    south = camera.get_amplifiers({}, "S4", (4146, 2160))
    assert [each.area.trim[1].start for each in south] == [1024, 0]
    assert camera.get_amplifiers({}, "N4", (4096, 2048)) == []  # it was trimmed before
    assert camera.look_up("gain", "N4").value == 4.0


@pytest.mark.parametrize(
    ("product", "name", "what"),
    [
        ("wtmap", "anything.fits.fz", "weight map"),
        ("weight", "anything.fits.fz", "weight map"),
        ("dqmask", "c4d_150412_073257_ooi_z_ls9.fits.fz", "mask"),
        (None, "night/c4d_150412_073257_oow_z_ls9.fits.fz", "weight map"),
        # Whoever cut these files copied the first header of the image.
        ("image", "c4d_150412_073257_ood_z_ls9.N11.fits", "mask"),
        ("image", "c4d_150412_073257_ooi_z_ls9.N11.fits", None),
        (None, "c4d_150412_073257_ori.fits.fz", None),
        (None, "mosaic_ood_.fits", None),
    ],
)
def test_masks_and_weight_maps_are_known_by_header_and_name(product, name, what):
    header = DECAM_EXPOSURE | ({} if product is None else {"PRODTYPE": product})
    assert decam().companion_of(header, name) == what
    assert get_instrument_instance("GenericFITS").companion_of(header, name) is None


def test_a_raw_header_of_decam_is_read(data_root):
    primary = fits.PrimaryHDU()
    primary.header.update(DECAM_EXPOSURE)
    hdus = [primary]
    for name in ("N4", "S1", "FN1"):
        image = fits.ImageHDU(np.full((4, 6), 1000, np.int16), name=name)
        image.header["CCDNUM"] = 1
        hdus.append(image)
    path = data_root / "c4d_130422_080530_ori.fits"
    fits.HDUList(hdus).writeto(path)
    exposure = Exposure(filename=str(path))
    assert exposure.instrument == "DECam"
    assert guess_instrument(None, DECAM_EXPOSURE) == "DECam"
    assert (exposure.filter, exposure.project, exposure.kind) == ("z", "2013A-0741", "science")
    assert exposure.longitude == -70.81489
    assert exposure.ra == pytest.approx(244.6614, abs=1e-4)
    assert exposure.mjd == pytest.approx(56404.335754 + 45 / 86400, abs=1e-5)
    assert list(exposure.data) == ["S1", "N4"]  # in the order of the camera, no focus chips
    assert exposure.section_headers["S1"]["EXTNAME"] == "S1"
    assert exposure.instrument_object.get_pixel_scale(exposure.raw_header, "S1") == 0.263


def test_ls4_has_an_array_of_filters(data_root):
    camera = get_instrument_instance("LS4")
    assert len(camera.get_section_ids()) == 32
    filters = {q: camera.filter_array[camera.get_section_filter_array_index(f"{q}_A")]
               for q in ("NE", "NW", "SE", "SW")}  # fmt: skip
    assert filters == {"NE": "i", "NW": "z", "SE": "g", "SW": "i"}
    hdus = [fits.PrimaryHDU()]
    for name in ("SW_A", "NE_C"):
        image = fits.ImageHDU(np.full((4, 6), 1000, np.int16))
        image.header.update(
            {"CCD_LOC": name, "INSTRUME": "LS4Cam", "TELESCOP": "ESO 1.0-m Schmidt",
             "TELE-RA": 10.5, "TELE-DEC": -30.25, "STARTOBS": "2025-08-01T03:04:05",
             "EXPTIME": 45.0, "FILTER": "clear", "LONGITUD": 70.74167, "LATITUDE": -29.25444}
        )  # fmt: skip
        hdus.append(image)
    path = data_root / "20250801030405s_00014.fits"
    fits.HDUList(hdus).writeto(path)
    exposure = Exposure(filename=str(path))
    assert exposure.instrument == "LS4"
    assert (exposure.filter, exposure.filter_array) == (None, ["i", "z", "g", "i"])
    assert (exposure.ra, exposure.dec, exposure.longitude) == (157.5, -30.25, -70.74167)
    assert list(exposure.data) == ["NE_C", "SW_A"]
    assert exposure.section_headers["NE_C"]["CCD_LOC"] == "NE_C"


# Of a section that one amplifier read; the areas are those of files of two amplifiers.
LS4_ONE_AMPLIFIER = {
    "NAXIS": 2, "NAXIS1": 2074, "NAXIS2": 4120, "BIASSEC": "[1031:1050,1:4096]",
    "DATASECL": "[7:1030,1:4096]", "BIASSECL": "[1031:1050,1:4096]", "PRESECL": "[1:6,1:4096]",
    "DATASECR": "[21:1044,1:4096]", "BIASSECR": "[1:20,1:4096]", "PRESECR": "[1045:1050,1:4096]",
    "GAIN": 1.0, "READNOIS": 0.0, "CCDTEMP": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("section", "data", "overscan", "corner"),
    [("NE_A", (6, 2054), (2054, 2074), "bottom left"),
     ("SE_C", (20, 2068), (0, 20), "bottom right")],
)  # fmt: skip
def test_sections_of_ls4_that_one_amplifier_reads(section, data, overscan, corner):
    camera = get_instrument_instance("LS4")
    (whole,) = camera.get_amplifiers(LS4_ONE_AMPLIFIER, section, (4120, 2074))
    assert whole.area.data == (slice(0, 4096), slice(*data))
    assert whole.area.bias == (slice(0, 4096), slice(*overscan))
    assert whole.area.trim == (slice(0, 4096), slice(0, 2048))
    assert whole.area.read_from == corner
    assert camera.get_amplifiers(LS4_ONE_AMPLIFIER, section, (4096, 2048)) == []


def test_what_nobody_told_the_controller_of_ls4_is_not_known():
    camera = get_instrument_instance("LS4")
    assert camera.look_up("gain", "NE_A", LS4_ONE_AMPLIFIER).source == "instrument"
    assert camera.look_up("read_noise", "NE_A", LS4_ONE_AMPLIFIER).source == "assumed"
    told = camera.extract_header_info(LS4_ONE_AMPLIFIER, ["temperature"])
    assert told == {"temperature": None}
    assert camera.look_up("gain", "NE_A", {"GAIN": 2.31}).value == 2.31


def test_files_of_ls4_with_an_image_of_each_amplifier_are_refused(tmp_path):
    path = tmp_path / "20251027065735s_00015.fits"
    hdus = [fits.PrimaryHDU()]
    for side in ("LEFT", "RIGHT"):
        image = fits.ImageHDU(np.ones((4, 6), np.float32))
        image.header.update({"CCD_LOC": "NW_C", "AMP_NAME": side})
        hdus.append(image)
    fits.HDUList(hdus).writeto(path)
    with pytest.raises(NoSuchImage, match="several images of section NW_C"):
        get_instrument_instance("LS4").section_ids_of_file(path)


def test_files_of_ls4_before_they_are_packed():
    assert guess_instrument("20260410004924sC0_00025_07.fits") == "LS4"
    assert guess_instrument("20260409005320s_00014.fits.fz") == "LS4"


@pytest.mark.parametrize(
    ("name", "section", "cards"),
    [
        ("PTF", 5, {"INSTRUME": "PTF/MOSAIC", "TELESCOP": "P48", "CCDID": 5, "READNOI": 11.6,
                    "SATURVAL": 38000.0, "GAIN": 1.7, "FILTER": "R"}),
        ("ZTF", 41, {"INSTRUME": "ZTF/MOSAIC", "TELESCOP": "Palomar 48-inch", "RCID": 41,
                     "READNOI": 9.5, "SATURATE": 38000.0, "GAIN": 6.1, "FILTER": "ZTF_r"}),
    ],
)  # fmt: skip
def test_reduced_images_of_ptf_and_ztf(name, section, cards, data_root):
    image = fits.PrimaryHDU(np.full((4, 6), 700.0, np.float32))
    image.header.update({**cards, "OBSMJD": 58300.25, "EXPTIME": 30.0, "CRVAL1": 12.0,
                         "CRVAL2": 34.0})  # fmt: skip
    stem = "ztf_20180701250000_000535_zr_c11_o_q2_sciimg" if name == "ZTF" else "PTF_20110429_scie_"
    path = data_root / f"{stem}.fits"
    image.writeto(path)
    exposure = Exposure(filename=str(path))
    camera = exposure.instrument_object
    assert exposure.instrument == name
    assert (exposure.ra, exposure.dec) == (12.0, 34.0)
    assert exposure.mjd == pytest.approx(58300.25 + 15 / 86400)
    assert [str(each) for each in exposure.data] == [str(section)]
    header = dict(exposure.raw_header)
    assert camera.look_up("read_noise", section, header).value == cards["READNOI"]
    assert camera.look_up("saturation_limit", section, header).value == 38000.0
    assert "flat" in camera.corrections_done(header)
    assert camera.get_amplifiers(header, section, (4, 6)) == []
    mask = np.zeros((4, 6), np.int16)
    mask[1, 1], mask[2, 2], mask[3, 3] = 1 << 8, (1 << 0) | (1 << 10), 1 << 1
    mask[0, :2] = 1 << 5, 1 << 12
    beside = path.name.replace("_sciimg", "_mskimg").replace("_scie_", "_mask_")
    fits.PrimaryHDU(mask).writeto(data_root / beside)
    fits.setval(data_root / beside, "CCDID" if name == "PTF" else "RCID", value=section)
    flags = camera.load_section_flags(path, section, header)
    assert flags[1, 1] == Flag.SATURATED
    assert flags[2, 2] == Flag.TRAIL | Flag.NO_DATA
    assert flags[3, 3] == 0  # where a source is, is no fault
    assert flags[0, :2].tolist() == [Flag.BAD, 0]  # a ghost, and a wide halo


def test_bits_of_ptf_and_ztf_that_differ():
    told = np.array([1 << 3, 1 << 6, 1 << 11])
    ptf, ztf = (get_instrument_instance(name).says.mask.read(told) for name in ("PTF", "ZTF"))
    assert ptf.tolist() == [0, Flag.BLEED, Flag.BAD]  # dirty, in PTF
    assert ztf.tolist() == [Flag.BAD, Flag.BAD, 0]  # where a source is, in ZTF


def test_headers_of_palomar_tell_the_place():
    header = {"OBSLON": -116.8597, "OBSLAT": 33.3483, "OBSALT": 1706.0}
    assert get_instrument_instance("ZTF").get_site(header) == (33.3483, -116.8597, 1706.0)


def test_the_time_is_when_the_shutter_opened():
    header = {"OBSMJD": 60554.1364815, "SHUTOPEN": "2024-09-01T03:16:33.430", "EXPTIME": 30.0}
    told = get_instrument_instance("ZTF").get_mid_mjd(header)
    assert (told - 60554) * 86400 == pytest.approx(3 * 3600 + 16 * 60 + 48.43, abs=1e-3)


def test_a_camera_of_ones_own_needs_no_code(workspace):
    assert load_cameras(workspace) == ["Twin"]
    camera = get_instrument_instance("Twin")
    assert guess_instrument("twin_1.fits") == "Twin"
    assert guess_instrument(None, {"INSTRUME": "twin"}) == "Twin"
    told = camera.extract_header_info({"CCD-TEMP": 263.15, "FILTER": 1}, ["temperature", "filter"])
    assert told == {"temperature": -10.0, "filter": "red"}
    assert camera.extract_header_info({"CCD-TEMP": -1}, ["temperature"]) == {"temperature": None}
    left, right = camera.get_amplifiers({}, "one", (20, 22))
    assert left.own == {"gain": 1.5, "saturation_limit": 60000.0}
    assert left.told == {"gain": "camera file"}
    assert right.own == {}
    assert camera.get_amplifiers({"GAINA": 1.75}, "one", (20, 22))[0].own["gain"] == 1.75
    camera.settings["gain"] = 3.0  # what the settings say counts most
    assert "gain" not in camera.get_amplifiers({"GAINA": 1.75}, "one", (20, 22))[0].own
    del camera.settings["gain"]
    for again in (copy.copy(camera), pickle.loads(pickle.dumps(camera))):  # noqa: S301, our own
        assert again.get_section_offsets("one") == (-10.0, 0.0)


def test_tables_are_found_in_the_folder_and_change_the_fingerprint(workspace):
    load_cameras(workspace)
    first = camera_fingerprints()
    assert list(first) == ["Twin"]
    (workspace / "twin.crosstalk").write_text("# victim source\nccd01A ccd01B 1e-3 1e-5\n")
    (workspace / "twin.csv").write_text("section,amplifier,counts,linear\none,A,0,0\none,A,9,10\n")
    (workspace / "linearity_table_v0.4.fits").write_bytes(b"")
    with pytest.raises(BadCamera, match="linearity"):
        load_cameras(workspace)
    (workspace / "linearity_table_v0.4.fits").unlink()
    load_cameras(workspace)
    assert camera_fingerprints() != first
    camera = get_instrument_instance("Twin")
    (term,) = camera.get_crosstalk("one")
    assert (term.victim, term.section, term.source, term.coefficient) == ("A", "one", "B", 1e-3)
    assert camera.get_crosstalk("two") == []
    left, right = camera.get_amplifiers({}, "one", (20, 22))
    assert left.linearity.correction[-1] == pytest.approx(1.0)
    assert right.linearity is None


def test_a_camera_of_the_package_may_be_described_anew(tmp_path):
    ours = decam().path
    (tmp_path / "mine.toml").write_text(ours.read_text().replace("gain = 4.0", "gain = 4.5"))
    assert load_cameras(tmp_path) == ["DECam"]
    assert decam().gain == 4.5
    (tmp_path / "other.toml").write_text(ours.read_text())
    with pytest.raises(BadCamera, match="second DECam"):
        load_cameras(tmp_path)
    load_cameras(tmp_path / "nothing")
    assert decam().gain == 4.0


def test_public_tables_of_decam_are_read(tmp_path):
    camera = decam().says
    text = tmp_path / "DECam_xtalk.txt"
    text.write_text("# comment\nccd01A ccd01B 0.00012\nccd01A ccd02A -3.5e-5 1 0\n\n")
    terms = read_crosstalk(text, camera)["S29"]
    assert [(t.victim, t.section, t.source) for t in terms] == [
        ("A", "S29", "B"),
        ("A", "S30", "A"),
    ]
    counts = np.arange(0, 65536, dtype=np.float64)
    columns = [
        fits.Column("ADU", "J", array=counts.astype(np.int32)),
        fits.Column("ADU_LINEAR_A", "E", array=counts * (1 + 1e-6 * counts)),
        fits.Column("ADU_LINEAR_B", "E", array=counts),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="CCD35")
    path = tmp_path / "linearity.fits"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    tables = read_linearity(path, camera)
    assert set(tables) == {("N4", "A"), ("N4", "B")}
    assert tables["N4", "A"].correction[40_000] == pytest.approx(1600, rel=1e-3)
    assert not tables["N4", "B"].correction.any()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("gain = 2.0", "gian = 2.0", "did you mean gain"),
        ("gain = 2.0", "gain = -2.0", "greater than 0"),
        ("[camera]", "[camera", "not a TOML file"),
        ('"[3:12,1:20]"', '"3-12"', "[x1:x2,y1:y2]"),
        ('layout = "pair"', 'layout = "pear"', "there is no layout pear"),
        ('id = "two"', 'id = "one"', "same id"),
        ('place = "[1:10,1:20]"', 'place = "[1:9,1:20]"', "differ in size"),
        ("'^twin_'", "'^twin_('", "filename_regex"),
        ('read_from = "top right"', 'read_from = "above"', "read_from"),
    ],
)
def test_what_is_wrong_with_a_camera_file_is_told(old, new, told, tmp_path):
    path = tmp_path / "camera.toml"
    path.write_text(TWIN.replace(old, new, 1))
    with pytest.raises(BadCamera) as fault:
        read_camera_file(path)
    assert told in f"{fault.value} {fault.value.hint} {fault.value.field} {fault.value.expected}"
    assert "camera.toml" in str(fault.value.as_dict())


@given(st.text(max_size=60))
def test_any_text_is_a_table_of_crosstalk_or_a_told_fault(tmp_path_factory, text):
    path: Path = tmp_path_factory.mktemp("table") / "x.txt"
    path.write_text(text, encoding="utf-8")
    try:
        terms = read_crosstalk(path, decam().says)
    except BadCamera:
        return
    assert all(abs(term.coefficient) < 1 for each in terms.values() for term in each)


@pytest.mark.parametrize(
    ("told", "is_reduced"),
    [("InstCal", True), ("Resampled", True), ("Stacked", True), ("SkySub", True),
     ("RAW", False), ("raw", False), ("MasterCal", False), (None, False)],
)  # fmt: skip
def test_what_the_archive_calls_reduced(told, is_reduced):
    done = decam().corrections_done({} if told is None else {"PROCTYPE": told})
    assert (done is not None and "flat" in done) == is_reduced


@pytest.mark.parametrize(
    ("version", "flags"),
    [("V3.4.9", [Flag.SATURATED, Flag.SATURATED | Flag.BAD, Flag.INTERPOLATED, Flag.BLEED]),
     ("DES V2.1", [Flag.SATURATED, Flag.SATURATED | Flag.BAD, Flag.INTERPOLATED, Flag.BLEED]),
     ("V3.5.0", [Flag.NO_DATA, Flag.SATURATED, Flag.BLEED, 0]),
     ("V4.8.2a", [Flag.NO_DATA, Flag.SATURATED, Flag.BLEED, 0]),
     (None, [Flag.NO_DATA, Flag.SATURATED, Flag.BLEED, 0])],
)  # fmt: skip
def test_masks_of_decam_were_bits_once(version, flags, tmp_path):
    image = tmp_path / "c4d_130422_080530_ooi_z_v1.fits"
    mask = np.array([[2, 3, 4, 64], [0, 0, 0, 0]], np.int16)
    for path, data in ((image, np.ones((2, 4), np.float32)),
                       (tmp_path / image.name.replace("ooi", "ood"), mask)):  # fmt: skip
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, name="N4")]).writeto(path)
    header = {"PROCTYPE": "InstCal"} | ({} if version is None else {"PLVER": version})
    assert decam().load_section_flags(image, "N4", header).tolist() == [flags, [0] * 4]


def test_resampled_images_have_masks_of_their_own(tmp_path):
    for name in ("opi", "opd"):
        image = fits.ImageHDU(np.full((2, 4), 3, np.int16), name="N4")
        path = tmp_path / f"c4d_150412_073257_{name}_z_v1.fits"
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    image, header = tmp_path / "c4d_150412_073257_opi_z_v1.fits", {"PROCTYPE": "Resampled"}
    assert (decam().load_section_flags(image, "N4", header) == Flag.SATURATED).all()
    (tmp_path / "c4d_150412_073257_opd_z_v1.fits").unlink()
    assert decam().load_section_flags(image, "N4", header) is None


@pytest.mark.sample
def test_the_pixel_scale_of_decam_is_that_of_the_sky(samples):
    paths = sorted(samples.glob("legacypipe/**/images/decam/**/c4d_*_ooi_*"))
    assert len(paths) >= 8
    for path in paths:
        with fits.open(path) as opened:
            solution = WCS(next(hdu.header for hdu in opened if "CTYPE1" in hdu.header))
        here = solution.pixel_to_world([50, 51, 50], [50, 50, 51])
        sides = [here[0].separation(here[place]).arcsec for place in (1, 2)]
        assert sides == pytest.approx([decam().pixel_scale] * 2, abs=0.0008)


@pytest.mark.sample
def test_stamps_of_the_community_pipeline(samples, data_root):
    configure_data_roots(samples)
    image = next(samples.glob("legacypipe/testcase3/**/c4d_180218_090701_ooi_z_ls9.N10.fits*"))
    exposure = Exposure(filename=str(image))
    camera, header = exposure.instrument_object, dict(exposure.section_headers["N10"])
    assert (exposure.instrument, list(exposure.data), exposure.filter) == ("DECam", ["N10"], "z")
    merged = {**dict(exposure.raw_header), **header}
    assert camera.look_up("gain", "N10", merged).keyword == "GAINA"
    assert 3.5 < camera.look_up("gain", "N10", merged).value < 5
    flags = camera.load_section_flags(image, "N10", merged)
    assert flags is not None
    assert flags.shape == exposure.data["N10"].shape
    # CRPIX of the stamp is that of the section less whole pixels.
    for axis, size, offset in zip((1, 2), (1024, 2048), camera.get_section_offsets("N10"),
                                  strict=True):  # fmt: skip
        off = header[f"CRPIX{axis}"] - (size - offset)
        assert off == pytest.approx(round(off), abs=0.05)


def test_the_example_of_the_page_is_a_camera(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "how-to" / "cameras.md"
    path = tmp_path / "twin.toml"
    path.write_text(page.read_text(encoding="utf-8").split("```text\n")[1].split("```")[0])
    says, _ = read_camera_file(path)
    assert (says.camera.name, len(says.sections)) == ("Twin", 2)
