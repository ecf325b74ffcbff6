"""`make demo`: the whole job on a sample night, one command after the other.

Uses the real night of HAT-P-32 where FIRSTLIGHT_SAMPLES holds it, and a simulated one elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

PORTAL = "http://127.0.0.1:8000"  # where `firstlight serve` answers
HAT_P_32 = "02:04:10.28 +46:41:16.2"
SETTINGS = "firstlight.toml"  # by it a workspace is known


def run(*words: str) -> None:
    """Show a command as a person would type it, and run it; a failure ends the demo."""
    shown = " ".join(f'"{word}"' if " " in word else word for word in words)
    print(f"\n$ firstlight {shown}", flush=True)  # noqa: T201, a script that prints
    done = subprocess.run([sys.executable, "-m", "firstlight", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def a_night(workspace: Path) -> tuple[Path, str]:
    """A folder of raw images, and the place of a star with a transit."""
    samples = os.environ.get("FIRSTLIGHT_SAMPLES")
    real = Path(samples) / "hatp32_microobs" if samples else None
    if real is not None and real.is_dir():
        return real, HAT_P_32
    sky = workspace / "sky"
    run("simulate", str(sky), "--exposures", "30")
    return sky, (sky / "truth" / "transit.txt").read_text(encoding="utf-8").strip()


def page_of(folder: str, target: str) -> str:
    """Where the portal shows the star at a place."""
    told = [sys.executable, "-m", "firstlight", "-w", folder, "lightcurve", target, "--json"]
    found = json.loads(subprocess.run(told, check=True, capture_output=True).stdout)
    return f"/objects/{quote(found['object'])}"


def main(folder: str) -> None:
    """Make a workspace at `folder`, in place of an earlier demo, and run everything in it."""
    workspace = Path(folder)
    if (workspace / SETTINGS).exists():
        shutil.rmtree(workspace)
    started = time.monotonic()
    run("init", folder)
    files, target = a_night(workspace)
    scatter, curve = workspace / "scatter.png", workspace / "light-curve.png"
    run("-w", folder, "ingest", str(files))
    run("-w", folder, "reduce")
    run("-w", folder, "status")
    run("-w", folder, "stars", "--plot", str(scatter))
    run("-w", folder, "lightcurve", target, "--plot", str(curve))
    run("-w", folder, "analysis", "add-shipped")
    page = page_of(folder, target)
    last = max(path.name for path in files.iterdir() if path.suffix.lower() == ".fits")
    print(  # noqa: T201, a script that prints
        f"\nDone in {time.monotonic() - started:.0f} s. Look at:\n"
        f"  {curve}: the transit\n"
        f"  {scatter}: every star of the field\n"
        f"and try:\n"
        f"  firstlight -w {folder} show {last} --png {workspace / 'image.png'}\n"
        f"  firstlight -w {folder} stars --all\n"
        f"or open the portal:\n"
        f"  firstlight -w {folder} serve\n"
        f"  {PORTAL}/           all of it\n"
        f"  {PORTAL}{page}    the star with the transit:\n"
        f"      under Analyses, run the transit fit on it, or the period finder"
    )


if __name__ == "__main__":
    main(sys.argv[1])
