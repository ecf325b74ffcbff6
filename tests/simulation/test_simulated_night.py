"""Files of a night: as the camera delivers them, and the same every time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from given_stars import NOBODY_VARIES, crowd

from firstlight.errors import ConflictError
from firstlight.simulation import StarSettings, Truth, simulate_night

TINY = {"rows": 96, "columns": 128}


@pytest.fixture(scope="module")
def tiny(small_settings):
    detector = small_settings.detector.model_copy(update=TINY)
    stars = StarSettings(**NOBODY_VARIES)
    return small_settings.model_copy(update={"detector": detector, "stars": stars})


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def night(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("night") / "new"
    told = []
    truth = simulate_night(
        tiny, folder, catalog=crowd(tiny), progress=lambda *a: told.append(a), write_images=True
    )
    return folder, truth, told


def test_files_and_progress(night, tiny):
    folder, truth, told = night
    names = sorted(p.name for p in folder.glob("*.fits"))
    assert len(names) == 2 + 2 * 2 + 2 + 6 == len(told)
    assert told[-1] == (14, 14, truth.exposures[-1].name)
    assert [t[0] for t in told] == list(range(1, 15))
    assert not list(folder.glob("*.partial"))
    kinds = [fits.getheader(folder / n)["IMAGETYP"] for n in names]
    assert {k: kinds.count(k) for k in set(kinds)} == {
        "bias": 2,
        "dark": 4,
        "flat": 2,
        "science": 6,
    }
    times = {fits.getheader(p)["EXPTIME"] for p in folder.glob("*dark*.fits")}
    assert times == {tiny.exposure_time, 4 * tiny.exposure_time}


def test_science_file_is_what_the_camera_delivers(night, tiny):
    folder, truth, _ = night
    now = truth.exposures[2]
    with fits.open(folder / now.name) as hdus:
        primary, section = hdus[0].header, hdus["B"]
        assert [h.name for h in hdus] == ["PRIMARY", "A", "B"]
        assert section.data.dtype == np.uint16
        assert section.data.shape == (96, 128 + 32)
        assert (section.data == truth.raw(2, "B")).all()
        header = dict(section.header)
    assert header["DATASEC"] == "[1:128,1:96]"
    assert header["BIASSEC"] == "[129:160,1:96]"
    assert (header["GAIN"], header["RDNOISE"], header["SATURATE"]) == (1.7, 6.5, 60000)
    assert (primary["INSTRUME"], primary["TELESCOP"]) == ("DemoInstrument", "DemoTelescope")
    assert (primary["RA"], primary["DEC"]) == (tiny.ra, tiny.dec)
    assert (primary["SITELAT"], primary["SITELONG"]) == (tiny.latitude, tiny.longitude)
    assert primary["PIXSCALE"] == tiny.sky.pixel_scale
    assert "CRVAL1" not in header
    start = np.datetime64(primary["DATE-OBS"]) - np.datetime64("1858-11-17")
    assert start / np.timedelta64(1, "D") == pytest.approx(now.start_mjd, abs=2e-3 / 86400)


def test_calibration_frames_show_the_detector(night, tiny):
    folder, truth, _ = night
    detector = truth.detectors["A"]
    stem = "demo_20241023"
    bias = fits.getdata(folder / f"{stem}_bias_001.fits", "A").astype(float)
    assert bias.mean() == pytest.approx(tiny.detector.bias_level, abs=15)
    long = fits.getdata(folder / f"{stem}_dark_120s_002.fits", "A")[:, :128].astype(float)
    hot = detector.hot_pixels(3.0)
    assert np.median(long[hot]) - np.median(long) > 120 * 3 / detector.gain / 2
    flats = [fits.getdata(folder / f"{stem}_flat_{i:03d}.fits", "A")[:, :128] * 1.0 for i in (1, 2)]
    levels = [np.median(f) for f in flats]
    assert levels[0] > 2 * levels[1] > 20000
    shape = (flats[0] - 1000) / np.median(flats[0] - 1000)
    alive = ~detector.dead_pixels()
    assert np.corrcoef(shape[alive], detector.flat[alive])[0, 1] > 0.8


def test_expected_images_are_written_on_demand(night):
    folder, truth, _ = night
    written = np.load(folder / "truth" / f"{Path(truth.exposures[1].name).stem}_A.npy")
    assert written == pytest.approx(truth.expected_electrons(1, "A"), rel=1e-6)


def test_same_seed_same_bytes(night, tiny, tmp_path):
    folder, _, _ = night
    simulate_night(tiny, tmp_path, catalog=crowd(tiny))
    first, second = digests(folder), digests(tmp_path)
    assert second == {k: v for k, v in first.items() if not k.endswith(".npy")}
    loaded = Truth.load(folder)
    assert (loaded.raw(5, "A") == fits.getdata(folder / loaded.exposures[5].name, "A")).all()


def test_another_seed_is_another_night_and_calibrations_change_no_science(night, tiny, tmp_path):
    folder, truth, _ = night
    name = truth.exposures[0].name
    other = tiny.model_copy(update={"seed": 8})
    simulate_night(other, tmp_path / "seed", catalog=crowd(tiny))
    assert (fits.getdata(folder / name, "A") != fits.getdata(tmp_path / "seed" / name, "A")).any()
    more = tiny.model_copy(update={"n_bias": 3})
    simulate_night(more, tmp_path / "more", catalog=crowd(tiny))
    assert (folder / name).read_bytes() == (tmp_path / "more" / name).read_bytes()


def test_another_night_is_not_written_over(night, tiny):
    folder, _, _ = night
    before = digests(folder)
    with pytest.raises(ConflictError):
        simulate_night(tiny.model_copy(update={"seed": 9}), folder, catalog=crowd(tiny))
    assert digests(folder) == before


def test_faults_are_on_disk(tiny, tmp_path):
    faulty = tiny.model_copy(update={"with_faults": True, "n_bias": 0, "n_dark": 0, "n_flat": 0})
    truth = simulate_night(faulty, tmp_path, catalog=crowd(tiny))
    sizes = [(tmp_path / e.name).stat().st_size for e in truth.exposures]
    assert [e.fault for e in truth.exposures] == ["", "", "clouded", "", "truncated", ""]
    assert sizes[4] < 0.7 * sizes[0]
    assert len(set(sizes)) == 2
    assert truth.electrons(2, "A").max() < 0.01 * truth.electrons(1, "A").max()
