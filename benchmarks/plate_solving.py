"""Where a frame is: firstlight, solve-field and SCAMP on the same list of detections.

All know the same stars, Tycho-2. SCAMP begins from the header's projection; it cannot search
blindly. A new process of firstlight, with imports and the loading of its index, stands beside
the call in a running one, since the others are programs.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from extraction import REPEATS, least
from firstlight_solve import SCALE_TOLERANCE, solve, write_list
from inputs import Input
from judging import projection
from meter import Row
from peers import Scamp, quietly

PART = "Astrometry"
RADIUS = 3.0
MANY = 100  # reference stars that bear a third order
Answer = Callable[[], "WCS | None"]


def measure(data: str, inputs: list[Input], installed: dict[str, str]) -> list[Row]:
    rows: dict[str, Row] = {}
    for item in inputs:
        for name, (action, read) in _tools(item, installed).items():
            row = rows.setdefault(name, Row(PART, data, name, base=name == "firstlight, hinted"))
            spent = least(action, 1 if "process" in name else REPEATS)
            wcs = read()
            table = item.piece.sources.table
            x, y = np.asarray(table["x"]), np.asarray(table["y"])
            figures = {} if wcs is None else projection(item.case, item.truth, wcs, x, y)
            if not figures:
                row.failures.append(item.case.name)
                continue
            row.add(item.case.name, spent, figures)
    return list(rows.values())


def _tools(item: Input, installed: dict[str, str]) -> dict[str, tuple[Answer, Answer]]:
    """By name: what is measured, and how its answer is read."""
    folder, case = item.folder, item.case
    table = item.piece.sources.table
    flux = np.asarray(table["flux"])
    middle = flux.shape[1] // 2
    sources = {name: np.asarray(table[name]) for name in ("x", "y", "x_err", "y_err", "fwhm")}
    sources |= {"flux": flux[:, middle], "flux_err": np.asarray(table["flux_err"])[:, middle]}
    bright = np.isfinite(sources["flux"]) & (sources["flux"] > 0)
    sources = {name: column[bright] for name, column in sources.items()}
    stars = folder / "stars.xyls"
    write_list(stars, sources["x"], sources["y"], sources["flux"])
    script = str(Path(__file__).with_name("firstlight_solve.py"))
    tools: dict[str, tuple[Answer, Answer]] = {}
    for how in ("hinted", "blind"):
        own = folder / f"own-{how}.hdr"
        arguments = [str(folder), str(own), how]
        tools[f"firstlight, {how}"] = (
            lambda own=own, how=how: solve(folder, own, how),
            lambda own=own: _read(own),
        )
        if how == "hinted":
            tools["firstlight, hinted, new process"] = (
                lambda arguments=arguments: quietly([sys.executable, script, *arguments], folder),
                lambda own=own: _read(own),
            )
        if "solve-field" in installed:
            target = folder / f"solved-{how}.wcs"
            command = _solve_field(item, stars, target, blind=how == "blind")
            tools[f"solve-field, {how}"] = (
                lambda target=target, command=command: _fresh(target, command, folder),
                lambda target=target: _read(target),
            )
    if "scamp" in installed:
        known = item.piece.wcs.n_matched if item.piece.wcs else 0
        scamp = Scamp(case, folder, sources, 3 if known > MANY else 2)
        tools["SCAMP, from the header"] = (scamp.run, lambda: _scamp_answer(scamp))
    return tools


def _fresh(target: Path, command: list[str], folder: Path) -> None:
    target.unlink(missing_ok=True)
    quietly(command, folder)


def _solve_field(item: Input, stars: Path, target: Path, *, blind: bool) -> list[str]:
    case = item.case
    ny, nx = case.shape
    command = ["solve-field", "--no-plots", "--overwrite", "--dir", str(item.folder)]
    command += ["--out", f"solved-{'blind' if blind else 'hinted'}", "--wcs", str(target)]
    for product in ("--new-fits", "--solved", "--match", "--rdls", "--corr", "--index-xyls"):
        command += [product, "none"]
    command += ["--x-column", "X", "--y-column", "Y", "--sort-column", "FLUX"]
    command += ["--width", str(nx), "--height", str(ny), "--tweak-order", "3", "--crpix-center"]
    command += ["--scale-units", "arcsecperpix"]
    command += ["--scale-low", str(case.scale * (1 - SCALE_TOLERANCE))]
    command += ["--scale-high", str(case.scale * (1 + SCALE_TOLERANCE))]
    if not blind:
        command += [f"--ra={case.ra}", f"--dec={case.dec}", f"--radius={RADIUS}"]
    return [*command, "--cpulimit", "60", str(stars)]


def _read(path: Path) -> WCS | None:
    if not path.exists():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cards that astropy mends
        if path.suffix == ".hdr":
            return WCS(fits.Header.fromtextfile(path))
        return WCS(fits.getheader(path))


def _scamp_answer(scamp: Scamp) -> WCS | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above
            return WCS(scamp.header())
    except (OSError, ValueError):
        return None
