"""Pages and lists of a full portal over HTTP, idle and while an image is analysed.

    python benchmarks/bench_portal.py fill WORKSPACE [--exposures 1000000] [--database URL]
    python benchmarks/bench_portal.py time WORKSPACE [--clients 4] [--seconds 20] [--load]

The workspace gets a million exposures, a hundred thousand objects and one object with fifty
thousand points. `firstlight serve` answers with one worker process; the clients ask as the
owner of the machine, each for all pages in turn. With ``--load`` an uploaded frame is analysed
again and again meanwhile. Times are of whole answers, packed, as a browser takes them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import httpx
import numpy as np

import bench_object_list
import search_million
from bench_image_analysis import NAME, analyse, free_port, simulated_frame, wait_for
from firstlight.factory import Factory
from firstlight.services.access import operator

POINTS = 50_000
AT_ONCE = 10_000
CURVE = "FIFTY_THOUSAND"
PAGES = (
    "/",
    "/objects",
    "/objects?search=FL",
    "/exposures",
    "/exposures?site=sro",
    "/observations",
    "/sites",
    "/sites/sro",
    "/jobs",
    f"/objects/{CURVE}",
    f"/objects/{CURVE}/light_curve.bin",
    "/api/sources?numPerPage=100",
    "/api/sources?numPerPage=100&totalMatches=true",
    "/api/exposures?limit=100",
    f"/api/sources/{CURVE}",
    "/api/groups",
    "/api/me",
    "/health",
)


def fill(workspace: Path, exposures: int, database_url: str | None) -> None:
    """Make the workspace and everything in it."""
    factory = Factory.create(workspace, database_url)
    bench_object_list.fill(factory.database)
    search_million.fill(factory.database, exposures)
    fill_curve(factory)


def fill_curve(factory: Factory) -> None:
    """Give one object a long light curve, by the service that takes photometry."""
    camera = _camera(factory)
    viewer = operator()
    factory.objects.post(viewer, {"id": CURVE, "ra": 201.0, "dec": -31.0, "group_ids": [1]})
    random = np.random.default_rng(4)
    for first in range(0, POINTS, AT_ONCE):
        phase = np.arange(first, first + AT_ONCE)
        factory.photometry.post(
            viewer,
            {
                "obj_id": CURVE,
                "instrument_id": camera,
                "filter": ["ztfg", "ztfr"] * (AT_ONCE // 2),
                "mjd": (59_000 + 0.02 * phase).tolist(),
                "flux": (100 + 20 * np.sin(phase / 7) + random.normal(0, 1, AT_ONCE)).tolist(),
                "fluxerr": 1.0,
                "zp": 23.9,
                "magsys": "ab",
                "group_ids": [1],
            },
        )


def _camera(factory: Factory) -> int:
    viewer = operator()
    place = {"name": "T", "nickname": "T", "diameter": 1, "lat": 1, "lon": 1, "elevation": 1}
    telescope = factory.telescopes.add(viewer, place)
    camera = {"name": "C", "type": "imager", "telescope_id": telescope}
    return factory.instruments.add(viewer, {**camera, "filters": ["ztfg", "ztfr"]})


class Reader(threading.Thread):
    """Somebody who reads all pages in turn until it is enough."""

    def __init__(self, base: str, until: float) -> None:
        super().__init__(daemon=True)
        self._base, self._until = base, until
        self.took: dict[str, list[float]] = defaultdict(list)
        self.sizes: dict[str, int] = {}
        self.refused: dict[str, int] = {}

    def run(self) -> None:
        """Ask."""
        with httpx.Client(base_url=self._base, timeout=60, follow_redirects=True) as client:
            while time.monotonic() < self._until:
                for page in PAGES:
                    begun = time.perf_counter()
                    with client.stream("GET", page) as answer:
                        size = sum(len(piece) for piece in answer.iter_raw())
                    self.took[page].append(time.perf_counter() - begun)
                    self.sizes[page] = size
                    if answer.status_code != 200:
                        self.refused[page] = answer.status_code


def read(base: str, clients: int, seconds: float) -> None:
    """Let clients read side by side, and print what it took them."""
    with httpx.Client(base_url=base, timeout=60, follow_redirects=True) as client:
        for page in PAGES:  # loads and compiles what is loaded and compiled once
            client.get(page)
    readers = [Reader(base, time.monotonic() + seconds) for _ in range(clients)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    print(f"{clients} side by side:")
    for page in PAGES:
        took = 1000 * np.concatenate([reader.took[page] for reader in readers])
        middle, high, worst = np.percentile(took, [50, 95, 100])
        refused = {code for reader in readers if (code := reader.refused.get(page))}
        print(
            f"  {page:48} {len(took):5} asked, median {middle:6.0f}, p95 {high:6.0f}, "
            f"worst {worst:6.0f} ms, {readers[0].sizes[page] / 1000:8.1f} kB {refused or ''}"
        )
    total = sum(len(took) for reader in readers for took in reader.took.values())
    print(f"  {total / seconds:.0f} answers a second")


def analyse_for_ever(base: str, frame: Path, over: threading.Event) -> None:
    """Keep a worker busy with what an astronomer uploads."""
    with httpx.Client(base_url=base, timeout=120) as client:
        while not over.is_set():
            analyse(client, frame)


def measure(workspace: Path, chosen: argparse.Namespace) -> None:
    """Serve the workspace and read it."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="firstlight-bench-") as folder:
        log = Path(folder) / "serve.log"
        command = [sys.executable, "-m", "firstlight", "-w", str(workspace), "serve"]
        with log.open("w") as stream:
            server = subprocess.Popen(
                [*command, "--port", str(port), "--workers", "1", "--no-reduce"],
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        over = threading.Event()
        try:
            wait_for(base, server)
            for clients in dict.fromkeys((1, chosen.clients)):
                read(base, clients, chosen.seconds)
            if chosen.load:
                frame = _with_target(base, Path(folder))
                print("while an image is analysed,", end=" ")
                busy = threading.Thread(
                    target=analyse_for_ever, args=(base, frame, over), daemon=True
                )
                busy.start()
                read(base, 1, chosen.seconds)
                over.set()
                busy.join()
        finally:
            over.set()
            server.terminate()
            server.wait(30)


def _with_target(base: str, folder: Path) -> Path:
    frame, ra, dec, _ = simulated_frame(folder / "sky", 2048)
    body = {"id": NAME, "ra": ra, "dec": dec, "group_ids": [1]}
    answer = httpx.post(f"{base}/api/sources", json=body, timeout=30)
    if answer.status_code not in {200, 409}:
        answer.raise_for_status()
    return frame


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("fill", "time"))
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--exposures", type=int, default=search_million.COUNT)
    parser.add_argument("--database", help="URL of an empty database; else SQLite")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--load", action="store_true", help="analyse an image meanwhile")
    chosen = parser.parse_args()
    if chosen.part == "fill":
        fill(chosen.workspace, chosen.exposures, chosen.database)
    else:
        measure(chosen.workspace, chosen)


if __name__ == "__main__":
    main()
