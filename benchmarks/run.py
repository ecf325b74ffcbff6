"""All benchmarks: firstlight beside its peers on the same images, quality beside speed.

Processor time first, as a ratio to firstlight's. Run with::

    python benchmarks/run.py                       # everything
    python benchmarks/run.py --parts extraction    # one part
    python benchmarks/run.py --stages              # pixel stages against sep, astroscrappy, ccdproc
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from meter import ONE_THREAD, Row, report

os.environ.update(ONE_THREAD)  # before anything numerical is loaded

import chain
import extraction
import night
import plate_solving
from cases import real_frames, simulate
from inputs import Input, prepare
from peers import PROGRAMS, versions

HERE = Path(__file__).parent
PARTS = ("extraction", "astrometry", "chain", "night")
FRAMES = (30, 32, 34, 36, 38)  # of HAT-P-32: the field drifts on, hot pixels do not follow


def main() -> None:
    options = parse()
    if options.stages:
        sys.exit(subprocess.call([sys.executable, str(HERE / "pixel_stages.py")]))
    installed = versions()
    for name in ("stdpipe", *PROGRAMS):
        if name not in installed:
            print(f"{name} is not installed: left out")
    started = time.monotonic()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.work) as folder:
        rows = measure(options, Path(folder), installed)
    facts = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "load at start": round(load, 2),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "section": f"{options.rows} x {options.columns}",
        "seeds": options.seeds,
        "versions": installed,
    }
    print("\n" + report(rows))
    print(
        "\n" + ", ".join(f"{name} {value}" for name, value in facts.items() if name != "versions")
    )
    print(", ".join(f"{name} {value}" for name, value in installed.items()))
    save(options.out, facts, rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--columns", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=2, help="of the night")
    parser.add_argument("--work", type=Path, default=None, help="folder for temporary files")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--stages", action="store_true", help="only the pixel stages")
    return parser.parse_args()


def samples() -> Path | None:
    told = os.environ.get("FIRSTLIGHT_SAMPLES")
    if not told or not (Path(told) / "hatp32_microobs").is_dir():
        print("FIRSTLIGHT_SAMPLES does not lead to the real frames: left out")
        return None
    return Path(told)


def measure(options: argparse.Namespace, work: Path, installed: dict[str, str]) -> list[Row]:
    real = samples()
    rows: list[Row] = []
    groups: dict[str, list[Input]] = {}
    if set(options.parts) - {"night"}:
        tell("making the inputs")
        made = simulate(work, options.seeds, options.rows, options.columns)
        groups[f"simulated, {options.rows} x {options.columns}"] = [prepare(case) for case in made]
        if real is not None:
            frames = real_frames(work, real, FRAMES)
            groups["HAT-P-32 frames, 500 x 650"] = [prepare(case) for case in frames]
    for part, module in (("extraction", extraction), ("astrometry", plate_solving)):
        for data, inputs in groups.items() if part in options.parts else ():
            tell(f"{part}, {data}")
            rows += module.measure(data, inputs, installed)
    for data, inputs in groups.items() if "chain" in options.parts else ():
        tell(f"chain, {data}")
        rows += chain.measure(data, inputs, installed, work)
    if "night" in options.parts:
        tell("nights")
        rows += night.simulated(work, options.rows // 2, options.columns // 2, options.workers)
        rows += [] if real is None else night.real(real, work, options.workers)
    return rows


def tell(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {what}", file=sys.stderr, flush=True)


def save(out: Path, facts: dict, rows: list[Row]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    stem = facts["when"].replace(":", "").removesuffix("+0000")
    everything = {**facts, "rows": [row.as_dict() for row in rows]}
    (out / f"{stem}.json").write_text(json.dumps(everything, indent=1))
    (out / f"{stem}.md").write_text(report(rows, markdown=True) + "\n")
    print(f"written: {out.name}/{stem}.json and .md")


if __name__ == "__main__":
    main()
