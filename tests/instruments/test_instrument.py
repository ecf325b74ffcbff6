"""The Instrument class: sections, properties and files."""

import inspect as python_inspect
import pickle
from io import BytesIO

import numpy as np
import pytest
from astropy.io import fits

from firstlight.errors import InvalidInput
from firstlight.formats.fits_errors import NoSuchImage
from firstlight.instruments import (
    Instrument,
    SensorSection,
    get_instrument_instance,
    instrument_names,
)
from firstlight.instruments.registry import forget_instrument
from firstlight.instruments.sections import SectionMap, UnknownSection, section_key


class Mosaic(Instrument, register=False):
    """The way of the seed: properties in __init__, then super().__init__()."""

    def __init__(self):
        self.telescope = "Big"
        self.gain = 2.0
        self.read_noise = 4.0
        self.filter_array = ["R", "V", "R", "I"]
        super().__init__()

    def get_section_ids(self):
        return range(4)

    def _make_new_section(self, identifier):
        number = int(identifier)
        return SensorSection(
            identifier=identifier,
            instrument=self.name,
            gain=2.1 if number == 1 else None,
            offset_x=1000.0 * number,
            filter_array_index=number,
            defective=number == 3,
        )


def test_a_section_overrides_and_the_instrument_fills_in():
    camera = Mosaic()
    assert camera.get_property(1, "gain") == 2.1
    assert camera.get_property(0, "gain") == 2.0
    assert camera.get_property(1, "read_noise") == 4.0
    assert camera.get_property(None, "gain") == 2.0
    assert camera.get_property(0, "telescope") == "Big"
    assert camera.get_property(0, "dark_current") is None
    with pytest.raises(InvalidInput, match="colour"):
        camera.get_property(0, "colour")


def test_integers_and_strings_are_one_key():
    camera = Mosaic()
    assert camera.get_property("3", "defective") is True  # upstream compared '1' with 1
    assert camera.get_property(3, "defective") is True
    assert camera.get_property(2, "defective") is False
    assert camera.sections[0] is camera.sections["0"]
    assert camera.get_section(np.int64(2)) is camera.get_section("2")
    assert list(camera.sections) == ["0", "1", "2", "3"]


def test_geometry_and_filter_array():
    camera = Mosaic()
    assert camera.get_section_offsets(2) == (2000.0, 0.0)
    assert [camera.get_section_filter_array_index(each) for each in range(4)] == [0, 1, 2, 3]
    assert get_instrument_instance("GenericFITS").get_section_offsets(0) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["DemoInstrument", "MicroObservatory"])
@pytest.mark.parametrize("section_id", [0, "0", "A", "B", 1, "Z", -1, 2.0, None, True, ""])
def test_checking_and_listing_sections_agree(name, section_id):
    camera = get_instrument_instance(name)
    listed = not isinstance(section_id, float | bool | type(None)) and section_key(section_id) in [
        section_key(each) for each in camera.get_section_ids()
    ]
    if listed:
        camera.check_section_id(section_id)
    else:
        with pytest.raises(UnknownSection):
            camera.check_section_id(section_id)


def test_the_source_of_a_value_is_told():
    demo = get_instrument_instance("DemoInstrument")
    assert demo.look_up("gain", "A", {"GAIN": 1.52}) == (1.52, "header", "GAIN")
    assert demo.look_up("gain", "A", {}) == (1.5, "section", None)
    assert demo.look_up("gain", "B") == (1.7, "section", None)
    assert demo.look_up("gain") == (2.0, "instrument", None)
    assert demo.get_gain(None, "A") == 1.5
    assert demo.get_gain({"GAIN": 1.52}, "A") == 1.52
    assert demo.get_gain_at_pixel({"GAIN": 1.52}, "A", 3, 4) == 1.52  # upstream: AttributeError
    assert demo.get_read_noise({"RDNOISE": "4.5 e"}, "A") == 4.5
    assert demo.get_saturation_limit({}, "A") == 60_000


@pytest.mark.parametrize(
    ("cards", "limit"),
    [({"BITPIX": 16, "NAXIS": 2, "BZERO": 32768}, 65535), ({"BITPIX": 16, "NAXIS": 2}, 32767),
     ({"BITPIX": 8, "NAXIS": 2}, 255), ({"BITPIX": -32, "NAXIS": 2}, None), ({}, None)],
)  # fmt: skip
def test_saturation_is_assumed_from_the_bits(cards, limit):
    known = get_instrument_instance("GenericFITS").look_up("saturation_limit", 0, cards)
    assert known == (limit, "unknown" if limit is None else "assumed", None)


def test_the_gain_setting_of_a_cmos_camera_is_not_electrons_per_adu():
    camera = get_instrument_instance("GenericFITS")
    assert camera.look_up("gain", 0, {"GAIN": 120}) == (1.0, "assumed", None)
    assert camera.look_up("gain", 0, {"GAIN": 120, "EGAIN": 0.25}) == (0.25, "header", "EGAIN")
    assert camera.look_up("gain", 0, {"GAIN": 1.3}) == (1.3, "header", "GAIN")


def test_pixel_scale_grows_with_binning():
    demo = get_instrument_instance("DemoInstrument")
    assert demo.get_pixel_scale({"XBINNING": 2}, "A") == 10.0
    assert get_instrument_instance("GenericFITS").get_pixel_scale({"PIXSCALE": 0.27}, 0) == 0.27
    assert get_instrument_instance("GenericFITS").get_pixel_scale({}, 0) is None


@pytest.mark.parametrize("name", instrument_names())
def test_no_attribute_is_a_forgotten_call_and_no_method_returns_an_error(name):
    # Upstream, a missing `getattr` made orientation_fixed a tuple (always true), and two
    # methods returned an exception instead of raising it.
    camera = get_instrument_instance(name)
    assert isinstance(camera.orientation_fixed, bool)
    for attribute in dir(camera):
        value = getattr(camera, attribute)
        assert not isinstance(value, BaseException)
        if attribute.startswith("_") or not callable(value):
            continue
        if not python_inspect.signature(value).parameters:
            assert not isinstance(value(), BaseException)


def test_a_subclass_keeps_its_own_values():
    class Fixed(Instrument, register=False):
        orientation_fixed = True

    assert Fixed().orientation_fixed is True
    assert Fixed(gain=3.0).gain == 3.0
    with pytest.raises(InvalidInput, match="gian"):
        Fixed(gian=3.0)


def test_instruments_cross_the_border_of_a_process():
    demo = get_instrument_instance("DemoInstrument")
    again = pickle.loads(pickle.dumps(demo))  # noqa: S301, our own bytes
    assert again.get_property("A", "gain") == 1.5
    assert again.fetch_sections()["B"].gain == 1.7


def test_section_map():
    section = SensorSection(identifier="0", instrument="x")
    sections = SectionMap({"0": section})
    assert 0 in sections
    assert "0" in sections
    assert 1 not in sections
    del sections[0]
    assert len(sections) == 0


# --- files ---------------------------------------------------------------------------------


def _write(path, arrays, names=()):
    hdus = [fits.ImageHDU(array, name=name) for array, name in zip(arrays, names, strict=True)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


ARRAYS = [np.full((3, 4), number, np.int16) for number in range(4)]


def test_sections_are_found_by_name_whatever_their_order(tmp_path):
    path = _write(tmp_path / "demo.fits", ARRAYS[:2], ["B", "A"])
    demo = get_instrument_instance("DemoInstrument")
    assert demo.load_section_image(path, "A")[0, 0] == 1
    assert demo.read_header(path, "B")["EXTNAME"] == "B"
    assert demo.read_header(path)["NAXIS"] == 0
    assert [image[0, 0] for image in demo.load(path)] == [1, 0]


def test_sections_are_found_by_place(tmp_path):
    path = _write(tmp_path / "a.fits", ARRAYS, ["w", "x", "y", "z"])
    assert [image[0, 0] for image in Mosaic().load(path)] == [0, 1, 2, 3]
    assert Mosaic().load_section_image(path, "2")[0, 0] == 2


def test_sections_in_files_of_their_own(tmp_path):
    paths = [tmp_path / f"{number}.fits" for number in range(4)]
    for path, array in zip(paths, ARRAYS, strict=True):
        fits.PrimaryHDU(array, fits.Header([("WHO", int(array[0, 0]))])).writeto(path)
    assert Mosaic().load_section_image(paths, 3)[0, 0] == 3
    assert Mosaic().read_header(paths)["WHO"] == 0
    assert Mosaic().read_header(paths, 2)["WHO"] == 2


def test_a_section_that_is_not_in_the_file(tmp_path):
    path = _write(tmp_path / "demo.fits", ARRAYS[:1], ["A"])
    demo = get_instrument_instance("DemoInstrument")
    with pytest.raises(NoSuchImage, match=r"demo\.fits"):
        demo.load_section_image(path, "B")
    with pytest.raises(UnknownSection):
        demo.load_section_image(path, "C")


def test_any_fits_file_has_its_sections_counted(tmp_path):
    path = _write(tmp_path / "a.fits", ARRAYS, ["w", "x", "y", "z"])
    camera = get_instrument_instance("GenericFITS")
    assert camera.section_ids_of_file(path) == [0, 1, 2, 3]
    assert camera.load_section_image(path, 3)[0, 0] == 3
    with pytest.raises(NoSuchImage):
        camera.load_section_image(path, 4)
    with pytest.raises(UnknownSection):
        camera.load_section_image(path, "A")


def test_ten_lines_make_a_camera(tmp_path):
    class Backyard(Instrument):
        telescope = "C11"
        gain = 0.27
        read_noise = 3.1
        pixel_scale = 0.55
        saturation_limit = 65535.0
        size_x, size_y = 4144, 2822
        filename_regex = (r"^backyard_.*\.fits?$",)
        translations = {"target": "STAR"}  # noqa: RUF012, as users write it

    try:
        camera = get_instrument_instance("Backyard")
        stream = BytesIO()
        fits.PrimaryHDU(ARRAYS[1], fits.Header([("STAR", "Vega")])).writeto(stream)
        path = tmp_path / "backyard_1.fits"
        path.write_bytes(stream.getvalue())
        assert camera.load_section_image(path, 0).shape == (3, 4)
        info = camera.extract_header_info(camera.read_header(path), ["target"])
        assert info == {"target": "Vega"}
    finally:
        forget_instrument("Backyard")
