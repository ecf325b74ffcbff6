"""The tutorial runs, and a package of somebody else is found."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from firstlight.instruments import instrument_names
from firstlight.instruments.registry import forget_instrument

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorials" / "add-an-instrument.md"
PACKAGE = ROOT / "examples" / "new_instrument"


@pytest.fixture(autouse=True)
def _leave_no_trace():
    before = set(instrument_names())
    yield
    for name in set(instrument_names()) - before:
        forget_instrument(name)


def test_tutorial_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    names: dict[str, object] = {"__name__": "tutorial"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102, our own page is the code under test


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example as a built wheel, unpacked where nothing but PYTHONPATH leads."""
    pytest.importorskip("hatchling", reason="hatchling builds the example")
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(PACKAGE, folder / "source")
    build = "from hatchling.build import build_wheel; print(build_wheel('..'))"
    done = subprocess.run(
        [sys.executable, "-c", build],
        cwd=folder / "source",
        capture_output=True,
        text=True,
        check=True,
    )
    with zipfile.ZipFile(folder / done.stdout.strip().splitlines()[-1]) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def _run(site: Path, program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(site), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_package_of_somebody_else_is_found_without_being_imported(installed):
    program = (
        "from firstlight.instruments import *; import sys; "
        "assert 'backyard_camera' not in sys.modules; "
        "print(guess_instrument('backyard_1.fits'), "
        "guess_instrument('x.fits', {'INSTRUME': 'BackyardMosaic', 'TELESCOP': 'Newton'}), "
        "get_instrument_instance('BackyardMosaic').get_property('SW', 'gain'))"
    )
    assert _run(installed, program) == "Backyard BackyardMosaic 1.8"


def test_its_converters_work(installed):
    program = (
        "from firstlight.instruments import *; "
        "print(get_instrument_instance('BackyardMosaic').extract_header_info("
        "{'SHUTTER': 1500, 'POINT_RA': 2}, ['exp_time', 'ra']))"
    )
    assert _run(installed, program) == "{'exp_time': 1.5, 'ra': 30.0}"
