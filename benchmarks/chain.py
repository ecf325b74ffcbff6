"""Raw section to zero point: firstlight's recipe and an STDPipe flow, each in its own process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from inputs import Input
from judging import catalogue_magnitudes, projection, read_projection, zero_point
from meter import Row, Spent, run_watched

PART = "Chain, raw section to zero point"
TOOLS = {"firstlight, in process": "firstlight_chain.py", "STDPipe": "stdpipe_chain.py"}


def measure(data: str, inputs: list[Input], installed: dict[str, str], work: Path) -> list[Row]:
    rows = []
    for tool, script in TOOLS.items():
        if tool == "STDPipe" and not {"stdpipe", "source-extractor", "solve-field"} <= set(
            installed
        ):
            continue
        row = Row(PART, data, tool, base=not rows)
        out = work / script.removesuffix(".py")
        out.mkdir(exist_ok=True)
        command = [sys.executable, str(Path(__file__).with_name(script)), str(out)]
        _, row.peak_mb, _ = run_watched([*command, *(item.case.folder for item in inputs)])
        for item in inputs:
            _take(row, item, out / item.folder.name)
        rows.append(row)
    return rows


def _take(row: Row, item: Input, place: Path) -> None:
    if not place.with_suffix(".json").exists():
        row.failures.append(f"{item.case.name}: no answer")
        return
    facts = json.loads(place.with_suffix(".json").read_text())
    if facts["failed"]:
        row.failures.append(f"{item.case.name}: {facts['failed']}")
    quality: dict[str, float] = {}
    wcs = read_projection(place.with_suffix(".hdr"))
    if wcs is not None and place.with_suffix(".npz").exists():
        with np.load(place.with_suffix(".npz")) as file:
            table = dict(file)
        quality = {"stars": len(table["x"])}
        quality |= projection(item.case, item.truth, wcs, table["x"], table["y"])
        if not facts["failed"]:
            quality |= _photometry(item, wcs, table)
    row.stages.append(facts.get("stages", {}))
    row.add(item.case.name, Spent(facts["cpu"], facts["wall"]), quality)


def _photometry(item: Input, wcs: WCS, table: dict[str, np.ndarray]) -> dict[str, float]:
    if item.truth is None:
        return catalogue_magnitudes(item.case, wcs, table)
    return zero_point(item.truth, table["x"], table["y"], table["mag"])
