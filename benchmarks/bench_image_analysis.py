"""An uploaded image to a calibrated magnitude by a real server, which answers others meanwhile.

Usage: ``python benchmarks/bench_image_analysis.py [--size 2048] [--runs 5]``. A simulated frame is
uploaded over HTTP to ``firstlight serve`` with one worker of each kind; a second thread asks for a
list, an analysis and a page all the time. The first run compiles and loads, and is not counted.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.factory import Factory
from firstlight.models.audience import public_audience
from firstlight.models.object import Object
from firstlight.simulation import DetectorSettings, NightSettings, simulate_night

NAME = "bench"
ASK_EVERY_S = 0.02


def simulated_frame(folder: Path, size: int) -> tuple[Path, float, float, float]:
    """A raw frame, and place and magnitude of a star in it that is no variable."""
    settings = NightSettings(
        n_exposures=1, n_bias=0, n_dark=0, n_flat=0,
        detector=DetectorSettings(rows=size, columns=size),
    )  # fmt: skip
    truth = simulate_night(settings, folder, catalog=Tycho2())
    frame = next(path for path in sorted(folder.rglob("*.fit*")) if "truth" not in path.parts)
    stars = truth.stars
    varies = {variable.star for variable in truth.variables}
    x, y = truth.positions(0, "A")
    middle = np.hypot(x - size / 2, y - size / 2)
    near = [int(k) for k in np.argsort(middle) if 11 < stars.magnitude[k] < 13 and k not in varies]
    chosen = near[0]
    return frame, float(stars.ra[chosen]), float(stars.dec[chosen]), float(stars.magnitude[chosen])


class Asker(threading.Thread):
    """Somebody who looks at pages all the time."""

    def __init__(self, base: str) -> None:
        super().__init__(daemon=True)
        self._base, self._over = base, threading.Event()
        self.took: dict[str, list[float]] = {}

    def run(self) -> None:
        paths = (f"/api/sources/{NAME}/image_analyses", "/api/health", "/")
        with httpx.Client(base_url=self._base, follow_redirects=True) as client:
            while not self._over.is_set():
                for path in paths:
                    begun = time.perf_counter()
                    client.get(path)
                    self.took.setdefault(path, []).append(time.perf_counter() - begun)
                time.sleep(ASK_EVERY_S)

    def stop(self) -> None:
        self._over.set()
        self.join()


def analyse(client: httpx.Client, frame: Path) -> dict:
    path = f"/api/sources/{NAME}/image_analyses"
    begun = time.perf_counter()
    with frame.open("rb") as stream:
        answer = client.post(path, files={"file": (frame.name, stream)})
    answer.raise_for_status()
    number = answer.json()["data"][0]["id"]
    uploaded = time.perf_counter() - begun
    while True:
        told = client.get(f"{path}/{number}").json()["data"]
        if told["state"] not in ("queued", "running"):
            break
        time.sleep(0.05)
    wall = time.perf_counter() - begun
    if told["state"] != "done":
        raise SystemExit(f"the analysis failed: {told['error']}")
    steps = {step["name"]: step["seconds"] for step in told["steps"]}
    started = datetime.fromisoformat(told["created_at"])
    limit = next(step for step in told["steps"] if step["name"] == "limit")
    known = (datetime.fromisoformat(limit["started_at"]) - started).total_seconds() + uploaded
    return {"wall": wall, "magnitude known": known, "uploaded": uploaded, "steps": steps,
            "preview": told["preview"]}  # fmt: skip


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def wait_for(base: str, server: subprocess.Popen) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise SystemExit("the server ended")
        try:
            if httpx.get(f"{base}/api/health", timeout=2).status_code < 500:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="firstlight-bench-") as folder:
        workspace = Path(folder) / "workspace"
        frame, ra, dec, mag = simulated_frame(Path(folder) / "sky", chosen.size)
        factory = Factory.create(workspace)
        with factory.database.begin() as session:
            session.add(
                Object(
                    id=uuid.uuid4(),
                    name=NAME,
                    ra=ra,
                    dec=dec,
                    hpx=int(healpix_index(ra, dec)),
                    origin="benchmark",
                    audience_id=public_audience(session),
                )
            )
        factory.database.dispose()
        command = [sys.executable, "-m", "firstlight", "-w", str(workspace), "serve"]
        log = (Path(folder) / "serve.log").open("w")
        server = subprocess.Popen(
            [*command, "--port", str(port)], stdout=log, stderr=subprocess.STDOUT
        )
        base = f"http://127.0.0.1:{port}"
        try:
            wait_for(base, server)
            report(base, frame, mag, chosen.runs)
        except BaseException:
            print((Path(folder) / "serve.log").read_text()[-3000:])
            raise
        finally:
            server.terminate()
            server.wait(20)


def report(base: str, frame: Path, mag: float, runs: int) -> None:
    with httpx.Client(base_url=base, timeout=120) as client:
        analyse(client, frame)
        asker = Asker(base)
        asker.start()
        found = [analyse(client, frame) for _ in range(runs)]
        asker.stop()
    for name in ("wall", "magnitude known", "uploaded"):
        values = [each[name] for each in found]
        print(f"{name:16} median {statistics.median(values):6.2f} s, worst {max(values):6.2f} s")
    for step in found[0]["steps"]:
        print(f"  {step:14} {statistics.median(each['steps'][step] or 0 for each in found):6.2f} s")
    preview = found[-1]["preview"]
    for method, measured in preview["methods"].items():
        error = measured["magnitude_err"]
        print(f"{method}: {measured['magnitude']:.3f} ± {error:.3f}, true {mag:.3f}")
    for path, took in asker.took.items():
        middle, high, worst = np.percentile(1000 * np.array(took), [50, 95, 100])
        told = f"median {middle:.0f}, p95 {high:.0f}, worst {worst:.0f} ms"
        print(f"{path:40} {len(took)} asked: {told}")


if __name__ == "__main__":
    main()
