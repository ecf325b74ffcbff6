"""Whole nights by the command line: raw files to light curves, database and products included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from cases import camera
from firstlight.catalogs.quad_index import is_built
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.simulation import NightSettings, simulate_night
from meter import Row, Spent, run_watched

PART = "Night by the command line"
TARGET = "02:04:10.28 +46:41:16.2"
PROGRAM = [sys.executable, "-m", "firstlight"]


def real(samples: Path, work: Path, workers: int) -> list[Row]:
    """All frames of the HAT-P-32 night, with the compiled kernels cold and warm."""
    files = samples / "hatp32_microobs"
    compiled = {"NUMBA_CACHE_DIR": str(work / "compiled")}
    rows = [
        _run(f"{state} kernels", work / f"night-{state}", files, compiled, workers)
        for state in ("cold", "warm")
    ]
    rows[1].base = True
    if not is_built(Tycho2()):
        rows[0].note = "the index of the sky was not there and may be part of it"
    return rows


def simulated(work: Path, rows: int, columns: int, workers: int) -> list[Row]:
    """Five exposures of two sections with their calibration frames; kernels warm."""
    folder = work / "night-sky"
    settings = NightSettings(
        n_exposures=5, n_bias=3, n_dark=3, n_flat=3, detector=camera(rows, columns)
    )
    simulate_night(settings, folder)
    row = _run("firstlight", work / "night-simulated", folder, {}, workers, each=2)
    row.data, row.base = "simulated, 5 exposures of 2 sections", True
    return [row]


def _run(
    tool: str, folder: Path, files: Path, env: dict[str, str], workers: int, each: int = 1
) -> Row:
    row = Row(PART, "HAT-P-32, 71 frames", tool)
    there = ["-w", str(folder)]
    status, _, setting_up = run_watched([*PROGRAM, "init", str(folder)], env)
    commands = {
        "ingest": [*PROGRAM, *there, "ingest", str(files)],
        "reduce": [*PROGRAM, *there, "reduce", "--workers", str(workers)],
    }
    quality = {"init cpu": setting_up.cpu, "init wall": setting_up.wall}
    total, peak = Spent(), 0.0
    for name, command in commands.items():
        failed, memory, spent = run_watched(command, env)
        status, peak = status or failed, max(peak, memory)
        total.cpu, total.wall = total.cpu + spent.cpu, total.wall + spent.wall
        quality |= {f"{name} cpu": spent.cpu, f"{name} wall": spent.wall}
    if status:
        row.failures.append(f"exit status {status}")
    row.peak_mb = peak
    quality |= _counts(there, {**os.environ, **env})
    sections = each * quality["exposures"]
    quality["cpu/section"] = total.cpu / max(sections, 1)
    row.add(tool, total, quality)
    return row


def _counts(there: list[str], env: dict[str, str]) -> dict[str, float]:
    """Science exposures, of them without a fault, and stars with light curves."""

    def asked(*words: str) -> list[dict]:
        said = subprocess.run(
            [*PROGRAM, *there, *words, "--json"], env=env, capture_output=True, check=False
        )
        return json.loads(said.stdout) if said.returncode == 0 else []

    entries = [entry for entry in asked("status") if entry.get("kind") == "science"]
    done = sum(entry["state"] == "done" for entry in entries)
    return {"exposures": len(entries), "done": done, "curves": len(asked("stars", "--all"))}
