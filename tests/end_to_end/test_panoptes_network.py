"""An evening of a PANOPTES unit by the command line, from its files to light curves and a movie."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from house import House, make_house
from PIL import Image as Picture

# What light curves must reach is defined beside the pipeline's own tests.
sys.path.append(str(Path(__file__).parents[1] / "pipeline"))
from colour_observation import LIMIT, Observed, check_signals

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.errors import MissingDependency
from firstlight.formats.movie import find_ffmpeg
from firstlight.formats.tables import read_table
from firstlight.pipeline.stamp_light_curves import DESCRIPTIONS, ObservationStamps
from firstlight.simulation.colour_night import (
    ColourNightSettings,
    ColourTruth,
    simulate_colour_night,
)

FEW = ColourNightSettings(seed=3, n_exposures=10, rows=440, columns=440, drift=6.0)
# In small fields few stars are alike.
FEW_STARS = "[stamp_light_curves]\nfewest_references = 5\n"
COLOURS = ("R", "G", "B")


@dataclass
class Evening:
    """A unit's files, and the workspace that took and reduced them."""

    folder: Path
    house: House
    said: dict[str, str]

    @cached_property
    def truth(self) -> ColourTruth:
        facts = json.loads((self.folder / "truth" / "colour_truth.json").read_text())
        return ColourTruth.draw(ColourNightSettings(**facts["settings"]), Tycho2())

    @property
    def name(self) -> str:
        return self.truth.settings.sequence_id

    @property
    def frames(self) -> int:
        return self.truth.settings.n_exposures

    @cached_property
    def shown(self) -> dict[str, Any]:
        items: dict[str, Any] = self.house.json("observations", "show", self.name)["items"]
        return items

    def file(self, role: str, number: int | None = None) -> Path:
        """A file of the observation, or of one of its exposures."""
        if number is None:
            (key,) = (each["url"] for each in self.shown["files"] if each["role"] == role)
        else:
            key = self.shown["images"][number]["files"][role]["url"]
        return self.house.folder / "data" / key

    @cached_property
    def stars(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.house.json("stars", "--all")
        return rows

    @cached_property
    def stamps(self) -> tuple[ObservationStamps, list[str]]:
        table = read_table(self.file("stamps").read_bytes())
        stamps, names = ObservationStamps.from_columns(table.columns, table.metadata["pattern"])
        return stamps, list(names)


def reduced(folder: Path, house: House) -> Evening:
    said = {"ingest": house.run("ingest", folder).out, "reduce": house.run("reduce").out}
    return Evening(folder, house, said)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    """A small cut-out in ten exposures."""
    folder = tmp_path_factory.mktemp("few")
    simulate_colour_night(FEW, folder / "unit", catalog=Tycho2())
    return reduced(folder / "unit", make_house(folder / "w", settings=FEW_STARS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    """What `firstlight simulate --camera panoptes` makes: thirty exposures."""
    folder = tmp_path_factory.mktemp("whole")
    said = House(folder).run("simulate", folder / "unit", "--camera", "panoptes").out
    evening = reduced(folder / "unit", make_house(folder / "w"))
    evening.said["simulate"] = said
    return evening


def test_a_small_evening(few: Evening):
    check_reduction(few)
    check_observation(few)
    check_pictures(few)
    check_stamps(few)
    check_shown_curves(few)
    check_again(few)


@pytest.mark.slow
def test_thirty_exposures(whole: Evening):
    assert f"30 exposures of {whole.name}" in whole.said["simulate"]
    check_reduction(whole)
    check_observation(whole)
    check_pictures(whole)
    check_stamps(whole)
    check_shown_curves(whole)


@pytest.mark.slow
def test_both_signals_come_out_within_the_noise(whole: Evening):
    truth = whole.truth
    observed = observed_by(whole, [truth.pulsator.star, truth.transit.star])
    check_signals(observed)
    found = np.array([observed.signal(int(star)) for star in observed.stars])
    assert np.hypot(*(found[:, 0] / found[:, 1])) > 4.5, "not by chance: one time in 25 000"
    places = (whole.folder / "truth" / "transit.txt").read_text().strip()
    assert places in whole.said["simulate"]
    assert whole.house.json("lightcurve", places)["object"]


@pytest.mark.slow
def test_stars_that_are_alone_have_the_noise_that_is_expected(whole: Evening):
    known = {row["name"] for row in whole.stars if row["n_points"] == whole.frames}
    truth = whole.truth
    signals = {truth.pulsator.star, truth.transit.star}
    alone = [int(s) for s in truth.undisturbed() if int(s) not in signals]
    alone = [star for star in alone if named(whole, star) in known][:12]
    assert len(alone) == 12
    ratios = np.array([observed_by(whole, [star]).ratio(star) for star in alone])
    assert np.sqrt(np.mean(ratios**2)) <= LIMIT


@pytest.mark.slow
def test_a_second_delivery_changes_nothing(whole: Evening):
    check_again(whole)


# --- checks -----------------------------------------------------------------------------------


def check_reduction(evening: Evening) -> None:
    n = evening.frames
    assert f"{n} archived" in evening.said["ingest"]
    assert f"{3 * n} × reduce, 1 × stamps, {n} × colour pictures" in evening.said["reduce"]
    assert "0 failures" in evening.said["reduce"]
    entries = evening.house.status().values()
    assert len(entries) == n
    for entry in entries:
        assert (entry["state"], entry["filter"]) == ("done", "R+G+B"), entry["error"]
        assert [section["section"] for section in entry["sections"]] == ["B", "G", "R"]
        for section in entry["sections"]:
            assert section["n_matched"] > 50
            assert section["astrometric_rms_arcsec"] / 20.6 < 0.2
    assert "R+G+B" in evening.house.ask("status").out


def check_observation(evening: Evening) -> None:
    n, settings = evening.frames, evening.truth.settings
    listed = evening.house.json("observations", "list", "unit=PAN001")
    assert [each["id"] for each in listed["items"]] == [evening.name]
    told = evening.shown["sequence"]
    assert (told["unit_id"], told["camera_id"], told["field"]) == ("PAN001", "14d3bd", "Wasp 12")
    assert (told["state"], told["image_count"]) == ("done", n)
    assert told["total_exptime"] == n * settings.exposure_time
    assert told["start_date"] == f"{settings.time(0):%Y-%m-%dT%H:%M:%SZ}"
    roles = ["blue_fits", "colour_jpg", "green_fits", "raw", "red_fits"]
    assert all(sorted(image["files"]) == roles for image in evening.shown["images"])
    text = evening.house.ask("observations", "files", evening.name).out
    keys = text.split()
    made = sum(1 for each in evening.shown["files"])
    assert len(set(keys)) == len(keys) == 5 * n + made
    assert all((evening.house.folder / "data" / key).is_file() for key in keys)
    pictures = evening.house.ask("observations", "files", evening.name, "--kind", "jpg").out
    assert pictures.split() == [key for key in keys if key.endswith(".jpg")]


def check_pictures(evening: Evening) -> None:
    truth, settings = evening.truth, evening.truth.settings
    for number in (0, evening.frames - 1):
        v, u = (a.ravel() for a in np.mgrid[0.1:0.9:5j, 0.1:0.9:5j])
        place = truth.projection(number)
        x, y = u * (settings.columns - 1), v * (settings.rows - 1)
        ra, dec = place.pixel_to_sky(x, y)
        for role in ("red_fits", "green_fits", "blue_fits"):
            with fits.open(evening.file(role, number)) as hdus:
                (hdu,) = (each for each in hdus if each.data is not None)
                header = hdu.header
                assert hdu.data.shape == (settings.rows // 2, settings.columns // 2)
            found = WCS(header, fix=False).all_world2pix(ra, dec, 0)
            # Where the mosaic's pixels lie in this image is told by the cards of NOAO.
            expected = (
                header["LTM1_1"] * (x + 1) + header["LTV1"] - 1,
                header["LTM2_2"] * (y + 1) + header["LTV2"] - 1,
            )
            assert np.hypot(*(np.array(found) - np.array(expected))).max() < 0.2
        picture = Picture.open(io.BytesIO(evening.file("colour_jpg", number).read_bytes()))
        assert picture.format == "JPEG"
        assert picture.size == (settings.columns // 2, settings.rows // 2)
        levels = np.asarray(picture, float)
        assert levels.std() > 10
        assert np.abs(levels - levels.mean(axis=2, keepdims=True)).max() > 30, "it has colours"
    check_movie(evening)


def check_movie(evening: Evening) -> None:
    try:
        ffmpeg = find_ffmpeg()
    except MissingDependency:
        assert "timelapse" not in [each["role"] for each in evening.shown["files"]]
        return
    side = evening.truth.settings.columns // 2
    command = [ffmpeg, "-loglevel", "error", "-i", evening.file("timelapse"), "-f", "rawvideo"]
    raw = subprocess.run(
        [*command, "-pix_fmt", "gray", "-"], capture_output=True, check=True, timeout=60
    ).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(evening.frames, side, side)
    assert np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2)).min() > 0.5


def check_stamps(evening: Evening) -> None:
    table = pq.read_table(evening.file("stamps"))
    assert set(table.column_names) == set(DESCRIPTIONS)
    stamps, names = evening.stamps
    assert table.num_rows == len(names) * evening.frames
    assert len(names) > 50
    assert np.allclose(stamps.mjd, evening.truth.mjd, atol=1e-8)
    # The stamps hold the raw pixels of where they say they are.
    truth, settings = evening.truth, evening.truth.settings
    row = int(np.flatnonzero(stamps.usable.all(axis=1))[0])
    at = slice(stamps.ymin[row, 1], stamps.ymin[row, 1] + stamps.side)
    across = slice(stamps.xmin[row, 1], stamps.xmin[row, 1] + stamps.side)
    raw = (truth.raw(1)[at, across] - settings.bias) * settings.gain
    assert np.allclose(stamps.pixels[row, 1], raw)


def check_shown_curves(evening: Evening) -> None:
    """Stars once, with their colours; none of the aperture, which is not asked for."""
    rows = evening.stars
    assert sorted(row["name"] for row in rows) == sorted(evening.stamps[1])
    assert all(row["method"] == "stamps" and list(row["colours"]) == list(COLOURS) for row in rows)
    assert evening.house.json("stars", "--all", "--method", "aperture") == []
    head = evening.house.ask("stars", "--all").out.splitlines()[0]
    assert "rms R rms G rms B" in " ".join(head.split())
    best = min((r for r in rows if r["n_points"] == evening.frames), key=lambda r: r["rms"])
    curve = evening.house.json("lightcurve", f"{best['ra']} {best['dec']}")
    assert curve["object"] == best["name"]
    assert curve["methods"] == ["stamps"]
    assert list(curve["filters"]) == [*COLOURS, "RGB"]
    assert all(each["points"] == evening.frames for each in curve["filters"].values())
    assert len(curve["points"]) == 4 * evening.frames
    plot = evening.folder / "lc.png"
    evening.house.ask("lightcurve", best["name"], "--plot", plot)
    with Picture.open(plot) as picture:
        assert picture.size[1] > 1000, "a panel for each colour and one for all"
    lines = evening.house.ask("lightcurve", best["name"]).out.splitlines()
    assert " ".join(lines[0].split()) == "bjd_tdb R ± G ± B ± RGB ± flags"
    assert len(lines) == evening.frames + 2
    assert all(f"{name} " in lines[-1] for name in (*COLOURS, "RGB"))


def check_again(evening: Evening) -> None:
    before = evening.house.tables()
    said = evening.house.run("ingest", evening.folder).out
    assert f"0 archived, {evening.frames} known already" in said
    assert "nothing to do" in evening.house.run("reduce").out
    after = evening.house.tables()
    assert {name: len(rows) for name, rows in after.items()} == {
        name: len(rows) for name, rows in before.items()
    }
    again = evening.house.json("observations", "show", evening.name)["items"]
    assert again == evening.shown


def named(evening: Evening, star: int) -> str | None:
    """What firstlight calls a star of the truth; None where it has no stamps."""
    ra, dec = (np.array([row[name] for row in evening.stars]) for name in ("ra", "dec"))
    apart = angular_separation(evening.truth.ra[star], evening.truth.dec[star], ra, dec)
    nearest = int(np.argmin(apart))
    return evening.stars[nearest]["name"] if apart[nearest] < 3 / 3600 else None


def observed_by(evening: Evening, stars: list[int]) -> Observed:
    """Stars of the truth as `firstlight lightcurve` shows them, all colours together."""
    stamps, names = evening.stamps
    found = [named(evening, star) for star in stars]
    rows = [names.index(str(name)) for name in found]
    flux, error = np.full((2, len(stars), evening.frames), np.nan)
    for number, name in enumerate(found):
        for point in evening.house.json("lightcurve", str(name))["points"]:
            if point["filter"] == "RGB":
                frame = int(np.argmin(np.abs(stamps.mjd - point["mjd"])))
                flux[number, frame], error[number, frame] = point["rel_flux"], point["rel_flux_err"]
    places = SimpleNamespace(ymin=stamps.ymin[rows], xmin=stamps.xmin[rows], side=stamps.side)
    curves = SimpleNamespace(combined=flux, combined_error=error)
    return Observed(evening.truth, np.array(stars), places, curves)  # type: ignore[arg-type]  # only these are asked for
