"""Real frames by the command line: what cannot be solved says so, nothing is solved wrongly."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from house import House, make_house

pytestmark = pytest.mark.sample

# Whether solve-field is installed here must not decide how long this takes.
NO_SECOND_OPINION = "[recipe.solve_astrometry]\nsolve_field = false\n"
HATP32 = 31.0428, 46.6878


@pytest.fixture(scope="module")
def panoptes(
    samples: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[House, dict[str, Any]]:
    house = make_house(tmp_path_factory.mktemp("panoptes") / "w")
    # Whether solve-field is installed here must not decide what is solved.
    house.set(NO_SECOND_OPINION)
    house.run("ingest", *sorted((samples / "panoptes").glob("*.fits")))
    house.run("reduce")
    return house, house.status()


@pytest.mark.slow
def test_panoptes_wide_field(panoptes):
    entry = panoptes[1]["unsolved.fits"]
    assert entry["state"] == "done", entry["error"]
    assert entry["instrument"] == "PANOPTES"
    sections = {section["section"]: section for section in entry["sections"]}
    assert set(sections) == {"R", "G", "B"}
    for section in sections.values():
        assert section["n_matched"] >= 250
        # Of pixels of a colour, which are 20.6 arcseconds wide.
        assert section["astrometric_rms_arcsec"] / 20.6 < 0.2
        assert section["zero_point_err"] < 0.06
        assert section["limiting_magnitude"] > 12


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rotation.fits", "tiny.fits", "noheader.fits"])
def test_panoptes_odd_frames_are_solved_rightly_or_not(panoptes, name):
    entry = panoptes[1][name]
    if entry["steps"]["solve_astrometry"]["state"] == "done":
        assert entry["n_matched"] >= 8
        assert entry["astrometric_rms_arcsec"] < 10
    else:
        assert entry["state"] == "failed"
        assert entry["error"]["message"]
    if name == "rotation.fits" and entry["n_matched"]:
        text = panoptes[0].json("show", name)
        assert text["tree"]["children"]


def test_two_frames_of_a_small_field_are_registered(samples: Path, tmp_path: Path):
    house = make_house(tmp_path / "w", settings=NO_SECOND_OPINION)
    house.run("ingest", *sorted((samples / "properimage_eso085").glob("*.fit")))
    house.run("reduce")
    entries = house.status()
    assert len(entries) == 2
    registered = []
    for entry in entries.values():
        assert entry["steps"]["solve_astrometry"]["state"] == "failed"
        assert "not solved" in entry["error"]["message"]
        registered += [part["registration"] for part in entry["sections"] if part["registration"]]
    (onto,) = registered
    assert onto["rms_pixels"] / np.sqrt(onto["n_matched"]) < 0.1
    assert onto["n_matched"] > 100
    # Whoever took the frames laid them onto each other, to a fraction of a pixel at the edges.
    (a, b, dx), (c, d, dy) = np.array(onto["matrix"])[:2]
    np.testing.assert_allclose([a, b, c, d], [1, 0, 0, 1], atol=5e-4)
    np.testing.assert_allclose([dx, dy], [0, 0], atol=0.5)
    assert "not solved" in house.ask("status").out


@pytest.mark.slow
def test_hatp32_without_any_pointing(samples: Path, tmp_path: Path):
    frames = sorted((samples / "hatp32_microobs").rglob("*.FITS"))[::12]
    assert len(frames) == 6
    blind = tmp_path / "blind"
    blind.mkdir()
    for frame in frames:
        with fits.open(frame) as hdus:
            for card in ("RA", "DEC", "HA", "TELALT", "TELAZ"):
                hdus[0].header.remove(card, ignore_missing=True, remove_all=True)
            hdus.writeto(blind / frame.name, output_verify="silentfix+ignore")
    house = make_house(tmp_path / "w")
    house.run("ingest", blind)
    house.run("reduce")
    for name, entry in house.status().items():
        assert entry["steps"]["solve_astrometry"]["state"] == "done", (name, entry["error"])
        assert entry["astrometric_rms_arcsec"] < 0.4 * 5.2
        assert entry["n_matched"] > 20
        assert "blind" in str(entry["steps"]["solve_astrometry"]["notes"])
    curve = house.json("lightcurve", f"{HATP32[0]} {HATP32[1]}")
    assert len(curve["points"]) == 6


def _pictures() -> list[str]:
    folder = Path(os.environ.get("FIRSTLIGHT_SAMPLES", "")) / "tetra3_wide"
    return sorted(path.name for path in folder.glob("*.tiff")) or ["none"]


@pytest.mark.slow
@pytest.mark.parametrize("name", _pictures())
def test_wide_pictures_are_solved(samples: Path, tmp_path: Path, name: str):
    house = House(tmp_path)
    answer = house.run("solve", samples / "tetra3_wide" / name, "--json").json
    assert 10 < answer["width_degrees"] < 13
    assert answer["rms_pixels"] < 0.5
    assert answer["n_matched"] > 20
    assert answer["cards"]["CTYPE1"].startswith("RA---TAN")
