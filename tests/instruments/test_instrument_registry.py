"""Finding instruments: by name, by file, by header; from this package and from others."""

import subprocess
import sys

import pytest

from firstlight.errors import BadSettings, InvalidInput
from firstlight.instruments import (
    INSTRUMENT_INSTANCE_CACHE,
    Instrument,
    configure_instrument,
    define_instrument,
    get_instrument_instance,
    guess_instrument,
    instrument_names,
    registry,
)
from firstlight.instruments.registry import (
    AmbiguousInstrument,
    DuplicateInstrument,
    UnknownInstrument,
    forget_instrument,
)


@pytest.fixture(autouse=True)
def _leave_no_trace():
    before = set(instrument_names())
    yield
    for name in set(instrument_names()) - before:
        forget_instrument(name)


def test_our_own_are_known_without_importing_them():
    program = (
        "from firstlight.instruments import *; "
        "print(*instrument_names(), get_instrument_instance('MicroObservatory').pixel_scale)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    *names, scale = done.stdout.split()
    assert scale == "5.16"
    in_code = {"DSLR", "DemoInstrument", "GenericFITS", "MicroObservatory", "PANOPTES"}
    assert in_code | {"PhotonRanch", "DECam", "LS4", "PTF", "ZTF"} <= set(names)


def test_one_instance_is_shared():
    one = get_instrument_instance("DemoInstrument")
    assert get_instrument_instance("DemoInstrument") is one
    assert INSTRUMENT_INSTANCE_CACHE["DemoInstrument"] is one


def test_unknown_names_get_the_nearest():
    with pytest.raises(UnknownInstrument, match="did you mean DemoInstrument"):
        get_instrument_instance("DemoInstrumnt")


@pytest.mark.parametrize(
    ("filename", "header", "name"),
    [("demo_2021.fits", None, "DemoInstrument"),
     ("HATP-32171220013343.FITS", None, "MicroObservatory"),
     ("some/folder/x.fits", None, "GenericFITS"),
     ("x.fits", {"INSTRUME": "DemoInstrument", "TELESCOP": "DemoTelescope"}, "DemoInstrument"),
     ("x.fits", {"CREATOR": "MicroObservatory2014-05-23", "INSTRUME": "Main"}, "MicroObservatory"),
     ("demo_2021.fits", {"INSTRUME": "Another"}, "GenericFITS"),
     ("demo_2021.fits", {"OBJECT": "M 31"}, "DemoInstrument"),
     (None, {"INSTRUME": " demoinstrument "}, "DemoInstrument")],
)  # fmt: skip
def test_guessing(filename, header, name):
    assert guess_instrument(filename, header) == name


def test_only_the_last_part_of_a_path_counts():
    assert guess_instrument("demo_night.fits/other.fits") == "GenericFITS"


def test_nothing_to_guess_from():
    with pytest.raises(InvalidInput):
        guess_instrument(None)


def test_two_claims_are_an_error_until_the_header_decides():
    class East(Instrument):
        telescope = "East"
        header_instruments = ("Shared",)
        filename_regex = r"^shared_"

    class West(East):
        telescope = "West"

    with pytest.raises(AmbiguousInstrument, match="East and West"):
        guess_instrument("shared_1.fits")
    assert guess_instrument("shared_1.fits", {"INSTRUME": "Shared", "TELESCOP": "west"}) == "West"


def test_a_subclass_is_registered_and_may_be_defined_again():
    for gain in (1.0, 2.0):
        type("Again", (Instrument,), {"gain": gain, "__module__": __name__})
        assert get_instrument_instance("Again").gain == gain


def test_a_name_is_taken_once():
    type("Taken", (Instrument,), {"__module__": "one"})
    with pytest.raises(DuplicateInstrument, match="Taken"):
        type("Taken", (Instrument,), {"__module__": "two"})


def test_a_broken_package_does_not_stop_the_others(monkeypatch, caplog):
    class Broken:
        name, value = "Broken", "nowhere:Broken"

        def load(self):
            raise ImportError("no module named nowhere")

    registry._load_plugin(Broken())
    assert "nowhere" in caplog.text
    with pytest.raises(UnknownInstrument, match="no module named nowhere"):
        get_instrument_instance("Broken")
    registry._broken.pop("Broken")
    assert "DemoInstrument" in instrument_names()


def test_an_instrument_from_settings():
    define_instrument("Balcony", telescope="Lens", gain=0.4, pixel_scale=9.0)
    balcony = get_instrument_instance("Balcony")
    assert balcony.look_up("gain", 0) == (0.4, "instrument", None)
    assert guess_instrument("a.fits", {"INSTRUME": "Balcony"}) == "Balcony"
    with pytest.raises(BadSettings, match="did you mean pixel_scale"):
        define_instrument("Terrace", pixelscale=9.0)


def test_settings_count_more_than_the_header():
    type("Set", (Instrument,), {"gain": 1.0, "__module__": __name__})
    configure_instrument("Set", gain=3.0)
    known = get_instrument_instance("Set").look_up("gain", 0, {"GAIN": 2.0})
    assert known == (3.0, "settings", None)
    with pytest.raises(BadSettings, match="gain"):
        configure_instrument("Set", gian=3.0)
