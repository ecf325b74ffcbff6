"""Kill it, interrupt it, spoil a file: the same command again ends as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from house import House, same


def _wait_for(house: House, process: subprocess.Popen[str], products: int) -> bool:
    """Wait until so many files are there; whether the process still runs then."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if house.count_products() >= products:
            return True
        time.sleep(0.02)
    return process.poll() is None


def _kill_at_random(house: House, luck: random.Random, wanted: int, *, group: bool) -> bool:
    """Start `reduce` and kill -9 it at about `wanted` products; whether it was still running."""
    process = house.start("reduce")
    try:
        if luck.random() < 0.75:
            _wait_for(house, process, wanted)
            time.sleep(luck.uniform(0, 0.4))
        else:
            time.sleep(luck.uniform(0, 3.0))  # while it starts
        running = process.poll() is None
        if running and group:
            os.killpg(process.pid, signal.SIGKILL)
        elif running:
            os.kill(process.pid, signal.SIGKILL)
        return running
    finally:
        process.kill()
        process.communicate()


def _assert_as_undisturbed(house: House, reduced: House) -> None:
    done = house.run("reduce")
    assert "failed" not in done.err
    assert same(house.tables(), reduced.tables()) == []
    assert same(house.files(), reduced.files()) == []
    assert "nothing to do" in house.run("reduce").out


def _kill_and_finish(
    archived: House, reduced: House, folder: Path, *, kills: int, seed: int
) -> None:
    """So many kills while it runs; when it gets to its end all the same, it starts from nothing."""
    luck, everything = random.Random(seed), reduced.count_products()
    house, killed, rounds = archived.copy_to(folder / "0"), 0, 0
    while killed < kills:
        there = house.count_products()
        step = 1 + 2 * (everything - there) // (kills - killed)
        wanted = min(there + luck.randint(0, step), everything)
        if _kill_at_random(house, luck, wanted, group=(seed + killed) % 2 == 0):
            killed += 1
        else:
            _assert_as_undisturbed(house, reduced)
            rounds += 1
            house = archived.copy_to(folder / str(rounds))
    _assert_as_undisturbed(house, reduced)


def test_three_kills_leave_no_trace(archived: House, reduced: House, tmp_path: Path) -> None:
    _kill_and_finish(archived, reduced, tmp_path / "w", kills=3, seed=0)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(1, 11))
def test_fifty_kills_leave_no_trace(
    archived: House, reduced: House, tmp_path: Path, seed: int
) -> None:
    _kill_and_finish(archived, reduced, tmp_path / "w", kills=5, seed=seed)


def test_interrupted_it_says_how_to_go_on_and_does(
    archived: House, reduced: House, tmp_path: Path
) -> None:
    house = archived.copy_to(tmp_path / "w")
    process = house.start("reduce")
    assert _wait_for(house, process, 12)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "the same command again goes on from here" in err
    assert "Traceback" not in err
    assert house.count_products() < len(
        [name for name in reduced.files() if name.startswith(("images", "sources"))]
    )
    _assert_as_undisturbed(house, reduced)


def test_bad_frames_never_stop_the_rest(archived: House, sky: Path, tmp_path: Path) -> None:
    house = archived.copy_to(tmp_path / "w")
    house.set("[recipe.solve_astrometry]\nsolve_field = false\n")
    starless = tmp_path / "demo_starless.fits"
    with fits.open(sky / "demo_20240803_science_0002.fits") as hdus:
        for hdu in hdus[1:]:
            noise = np.random.default_rng(5).normal(1200, 8, hdu.data.shape)
            hdu.data = noise.astype(np.uint16)
        hdus.writeto(starless)
    house.run("ingest", starless)
    (cut,) = (house.folder / "data" / "raw").rglob("*science_0003.fits")
    cut.chmod(0o644)
    os.truncate(cut, cut.stat().st_size // 2)

    done = house.run("reduce")
    # Of pure noise nothing is found at all, or a peak or two that are no field of stars.
    assert "failed demo_starless.A: " in done.err
    assert "failed demo_starless.B: " in done.err
    assert "not solved" in done.err or "no source" in done.err
    assert "science_0003" in done.err
    entries = house.status()
    assert entries["demo_20240803_science_0003.fits"]["state"] == "failed"
    damage = entries["demo_20240803_science_0003.fits"]["error"]
    assert "science_0003" in damage["subject"]
    assert entries["demo_starless.fits"]["state"] == "failed"
    assert entries["demo_starless.fits"]["steps"]["preprocess"]["state"] == "done"
    steps = entries["demo_starless.fits"]["steps"]
    assert "failed" in (steps["find_sources"]["state"], steps["solve_astrometry"]["state"])
    assert steps["solve_photometry"]["state"] == "skipped"
    good = [e for name, e in entries.items() if e["kind"] == "science" and e["state"] == "done"]
    assert len(good) == 5
    assert house.json("stars", "--all")
