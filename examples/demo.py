"""`make demo`: the whole job on a sample night, one command after the other.

Uses the real night of HAT-P-32 where FIRSTLIGHT_SAMPLES holds it, and a simulated one elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

TARGETS = {"real": "02:04:10.28 +46:41:16.2"}


def run(*words: str) -> str:
    """Show a command as a person would type it, and run it."""
    print(f"\n$ firstlight {' '.join(words)}", flush=True)  # noqa: T201, a script that prints
    command = [sys.executable, "-m", "firstlight", *words]
    subprocess.run(command, check=True)
    return words[0]


def main(folder: str) -> None:
    """Make a workspace at `folder`, in place of an earlier demo, and run everything in it."""
    workspace = Path(folder)
    if (workspace / "firstlight.toml").exists():
        shutil.rmtree(workspace)
    started = time.monotonic()
    samples = Path(os.environ.get("FIRSTLIGHT_SAMPLES", "")) / "hatp32_microobs"
    run("init", folder)
    if os.environ.get("FIRSTLIGHT_SAMPLES") and samples.is_dir():
        files, target = samples, "02:04:10.28 +46:41:16.2"
    else:
        files = workspace / "sky"
        run("simulate", str(files), "--exposures", "30")
        target = (files / "truth" / "transit.txt").read_text().strip()
    run("-w", folder, "ingest", str(files))
    run("-w", folder, "reduce")
    run("-w", folder, "status")
    run("-w", folder, "stars", "--plot", str(workspace / "scatter.png"))
    run("-w", folder, "lightcurve", target, "--plot", str(workspace / "light-curve.png"))
    print(  # noqa: T201, a script that prints
        f"\nDone in {time.monotonic() - started:.0f} s. Look at:\n"
        f"  {workspace / 'light-curve.png'}\n  {workspace / 'scatter.png'}\n"
        f"  firstlight -w {folder} show IMAGE_OR_EXPOSURE --png image.png"
    )


if __name__ == "__main__":
    main(sys.argv[1])
