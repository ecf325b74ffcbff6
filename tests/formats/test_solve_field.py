import json
import sys
import time

import numpy as np
import pytest
from astropy.io import fits

from firstlight.algorithms.plate.plate_solve import Prior
from firstlight.algorithms.sky.projection import Projection
from firstlight.formats.solve_field import SolveField

TRUTH = Projection((10.0, -20.0), (320.0, 240.0), np.array([[-1e-3, 1e-4], [1e-4, 1e-3]]))

# A stand-in for solve-field: keeps what it was asked, and answers with the cards in CARDS.
FAKE = """#!{python}
import json, pathlib, sys, time
from astropy.io import fits
arguments = sys.argv[1:]
stars = fits.getdata(arguments[-1])
asked = {{"arguments": arguments, "x": stars["X"].tolist(), "flux": stars["FLUX"].tolist()}}
pathlib.Path({log!r}).write_text(json.dumps(asked))
{behaviour}
"""
ANSWER = """
cards = json.loads(pathlib.Path({cards!r}).read_text())
wcs = pathlib.Path(arguments[arguments.index("--wcs") + 1])
fits.PrimaryHDU(header=fits.Header(cards)).writeto(wcs)
"""


@pytest.fixture
def fake(tmp_path):
    """Makes a program with a behaviour, and gives it with the log of what it was asked."""

    def make(behaviour):
        cards, log = tmp_path / "cards.json", tmp_path / "log.json"
        cards.write_text(json.dumps(TRUTH.to_header()))
        program = tmp_path / "solve-field"
        program.write_text(
            FAKE.format(
                python=sys.executable,
                log=str(log),
                behaviour=behaviour.format(cards=str(cards)),
            )
        )
        program.chmod(0o755)
        return SolveField(str(program), timeout=20.0), lambda: json.loads(log.read_text())

    return make


STARS = np.array([[1.0, 5.0, np.nan, 8.0], [2.0, 6.0, 1.0, 9.0], [3.0, 9.0, 99.0, 4.0]])


def test_asks_with_what_is_known_and_reads_the_answer(fake):
    program, asked = fake(ANSWER)
    found = program.solve(*STARS, (480, 640), Prior(10.1, -20.1, 1.0, 3.0, 4.0))
    assert found.crval == TRUTH.crval
    assert found.crpix == pytest.approx(TRUTH.crpix)
    assert np.allclose(found.cd, TRUTH.cd)
    arguments = asked()["arguments"]
    for wanted in ("--dec=-20.1", "--ra=10.1", "--scale-low", "640", "480"):
        assert wanted in arguments
    assert asked()["x"] == [6.0, 9.0, 2.0], "1-based, brightest first, finite"
    assert asked()["flux"] == [9.0, 4.0, 3.0]


def test_asks_blind_without_limits(fake):
    program, asked = fake(ANSWER)
    assert program.solve(*STARS, (480, 640)) is not None
    assert not [a for a in asked()["arguments"] if a.startswith(("--ra", "--scale", "--radius"))]


@pytest.mark.parametrize(
    "behaviour",
    ["", "sys.exit(1)", "pathlib.Path(arguments[arguments.index('--wcs') + 1]).write_text('no')"],
)
def test_no_answer_is_none(fake, behaviour):
    program, _ = fake(behaviour)
    assert program.solve(*STARS, (480, 640)) is None


def test_another_projection_is_none(fake):
    behaviour = ANSWER.replace("wcs =", 'cards["CTYPE1"] = "RA---ZEA"; wcs =')
    program, _ = fake(behaviour)
    assert program.solve(*STARS, (480, 640)) is None


def test_out_of_time_stops_its_children_too(fake, tmp_path):
    child = "import time, pathlib; time.sleep(3); pathlib.Path({0!r}).touch()"
    mark = tmp_path / "outlived"
    behaviour = (
        "import subprocess\n"
        f"subprocess.Popen([sys.executable, '-c', {child.format(str(mark))!r}])\n"
        "time.sleep(60)"
    )
    program, asked = fake(behaviour)
    program._timeout = 2.5
    assert program.solve(*STARS, (480, 640)) is None
    assert asked()
    time.sleep(3)
    assert not mark.exists()


def test_not_installed_is_none():
    program = SolveField("no-such-program-here")
    assert not program.installed
    assert program.solve(*STARS, (480, 640)) is None


def test_headers_round_trip_and_faults_are_named():
    cards = TRUTH.to_header()
    again = Projection.from_header(fits.Header(cards))
    assert again.crval == TRUTH.crval
    assert np.array_equal(again.cd, TRUTH.cd)
    with pytest.raises(ValueError, match="CRVAL2"):
        Projection.from_header({k: v for k, v in cards.items() if k != "CRVAL2"})
    with pytest.raises(ValueError, match="CDELT"):
        Projection.from_header({k: v for k, v in cards.items() if not k.startswith("CD")})
    with pytest.raises(ValueError, match="not a TAN"):
        Projection.from_header({})
