"""Many runs of an analysis service at once, and how the object's page does meanwhile.

    python benchmarks/bench_analyses.py [--runs 500] [--database URL] [--points 200]

A workspace is made in a temporary folder and served by ``firstlight serve``, as users do it. An
echo service in a process of its own answers each request at once and calls back at once, with a
result, a plot and a posterior. All runs are queued before the first one is sent; the clock runs
from there to the last one's end. Meanwhile one client asks for the object's page again and again.

CPU seconds are told for the server and for the echo service apart, per run: on a busy machine
they say more than the rate does.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import func, select, update

from bench_image_analysis import free_port, wait_for
from firstlight.config import FILE_NAME
from firstlight.factory import Factory
from firstlight.models.account import User
from firstlight.models.analysis import Analysis, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.services.access import operator
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.accounts.users import NewUser
from firstlight.services.analyses.analyses_start import RunWish

NAME = "SN2026bench"
PASSWORD = "correct horse battery staple"  # noqa: S105, of a workspace that lives for minutes
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
SETTINGS = """
[outgoing]
allow = ["127.0.0.1/32"]

[analyses]
most_per_object = 100000
most_waiting_per_user = 100000
"""


def echo(port: int) -> None:
    """Serve for ever: take a run, answer, call back from one of a few threads."""
    posterior = np.random.default_rng(1).normal(size=(2, 500)).round(4).tolist()
    analysis = {
        "results": {"format": "json", "data": {"chi2": 1.0}},
        "plots": [{"format": "png", "data": PNG}],
        "posterior_samples": {"t0": posterior[0], "x1": posterior[1]},
    }
    body = json.dumps({"status": "success", "message": "echo", "analysis": analysis}).encode()
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def call_back() -> None:
        # With a connection kept open, so that the measure is of the server and not of this.
        with httpx.Client(timeout=60) as client:
            while True:
                url = waiting.get()
                answer = client.post(
                    url, content=body, headers={"Content-Type": "application/json"}
                )
                if answer.status_code != 200:
                    print(answer.text, file=sys.stderr)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            waiting.put(sent["callback_url"])

        def log_message(self, *_: Any) -> None:
            pass

    for _ in range(4):
        threading.Thread(target=call_back, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.serve_forever()


def fill(workspace: Path, database_url: str | None, points: int, runs: int, service: int) -> None:
    """Make a workspace with an object, a service on that port, and runs that are not yet due."""
    Factory.create(workspace, database_url).database.dispose()
    path = workspace / FILE_NAME
    path.write_text(path.read_text() + SETTINGS)
    factory = Factory.open(workspace)
    new = NewUser(username="ada", roles=["Super admin"], password=PASSWORD)
    number = factory.users.create(operator(), new)
    factory.objects.post(operator(), {"id": NAME, "ra": 201.0, "dec": -31.0, "group_ids": [1]})
    times = np.linspace(60_000, 60_100, points)
    factory.photometry.post(
        operator(),
        {
            "obj_id": NAME,
            "instrument_id": add_camera(factory),
            "filter": (["ztfg", "ztfr"] * points)[:points],
            "mjd": times.tolist(),
            "flux": (100 + 20 * np.sin(times)).tolist(),
            "fluxerr": 1.0,
            "zp": 23.9,
            "magsys": "ab",
            "group_ids": [1],
        },
    )
    with factory.database.reading() as session:
        viewer = viewer_of_account(
            session, session.get_one(User, number), utc_now(), public=frozenset()
        )
    service_id = factory.analysis_services.create(
        viewer,
        {
            "name": "echo",
            "url": f"http://127.0.0.1:{service}/run",
            "authentication_type": "none",
            "analysis_type": "lightcurve_fitting",
            "input_data_types": ["photometry", "redshift"],
            "group_ids": [1],
        },
    )
    for _ in range(runs):
        factory.analysis_starter.start(viewer, NAME, service_id, RunWish())
        postpone(factory, utc_now() + timedelta(days=1))
    factory.database.dispose()


def add_camera(factory: Factory) -> int:
    """An instrument that the points belong to."""
    place = {"name": "T", "nickname": "T", "diameter": 1, "lat": 1, "lon": 1, "elevation": 1}
    telescope = factory.telescopes.add(operator(), place)
    camera = {"name": "C", "type": "imager", "telescope_id": telescope}
    return factory.instruments.add(operator(), {**camera, "filters": ["ztfg", "ztfr"]})


def postpone(factory: Factory, moment: datetime) -> None:
    """Have all runs that wait become due at a moment."""
    with factory.database.begin() as session:
        session.execute(
            update(Analysis)
            .where(Analysis.status == AnalysisStatus.QUEUED)
            .values(next_try_at=moment)
        )


def measure(workspace: Path, base: str, runs: int, server: int, service: int) -> None:
    """Let all runs begin, and print how long that takes."""
    factory = Factory.open(workspace)
    page = f"{base}/objects/{NAME}"
    took: list[float] = []
    over = threading.Event()
    with httpx.Client(timeout=60, follow_redirects=True) as client:
        for _ in range(3):  # loads and compiles what is loaded and compiled once
            timed(client, page)
        idle = [timed(client, page) for _ in range(10)]

    def read() -> None:
        with httpx.Client(timeout=60, follow_redirects=True) as client:
            while not over.wait(0.2):
                took.append(timed(client, page))

    reader = threading.Thread(target=read)
    reader.start()
    before = cpu_s(server), cpu_s(service), cpu_s(server, below=False)
    begun = time.monotonic()
    postpone(factory, utc_now())
    while counts(factory).get("completed", 0) < runs:
        time.sleep(0.05)
        if time.monotonic() - begun > 300:
            raise SystemExit(f"not done after 300 s: {counts(factory)}")
    seconds = time.monotonic() - begun
    over.set()
    reader.join()
    ours, theirs = cpu_s(server) - before[0], cpu_s(service) - before[1]
    web = cpu_s(server, below=False) - before[2]
    print(f"runs                 {runs}: {counts(factory)}")
    print(f"rate                 {runs / seconds:.1f} runs/s ({seconds:.1f} s)")
    print(f"CPU of the server    {1000 * ours / runs:.1f} ms a run, pages included")
    print(f"of that, web process {1000 * web / runs:.1f} ms a run")
    print(f"CPU of the service   {1000 * theirs / runs:.1f} ms a run")
    print(f"object page, idle    {1000 * statistics.median(idle):.0f} ms (median)")
    if took:
        print(
            f"object page, busy    {1000 * statistics.median(took):.0f} ms (median), "
            f"{1000 * sorted(took)[int(0.95 * (len(took) - 1))]:.0f} ms (95 %), n = {len(took)}"
        )


def timed(client: httpx.Client, page: str) -> float:
    """Seconds of one whole answer."""
    begun = time.perf_counter()
    client.get(page).raise_for_status()
    return time.perf_counter() - begun


def counts(factory: Factory) -> dict[str, int]:
    """Runs by status."""
    query = select(Analysis.status, func.count()).group_by(Analysis.status)
    with factory.database.reading() as session:
        return {str(status): count for status, count in session.execute(query)}


def cpu_s(process: int, *, below: bool = True) -> float:
    """CPU seconds of a process, and of all below it, those included that have ended."""
    ticks, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            number = int(path.parent.name)
            ticks[number] = sum(int(field) for field in fields[11 : 15 if below else 13])
            parents[number] = int(fields[1])
    family = {process}
    while below and (more := {each for each, up in parents.items() if up in family} - family):
        family |= more
    return sum(ticks[each] for each in family) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--database", default=None)
    parser.add_argument("--echo", type=int, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.echo is not None:
        echo(given.echo)
        return
    service_port, port = free_port(), free_port()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        fill(workspace, given.database, given.points, given.runs, service_port)
        service = subprocess.Popen([sys.executable, __file__, "--echo", str(service_port)])
        command = [sys.executable, "-m", "firstlight", "-w", str(workspace), "serve"]
        server = subprocess.Popen([*command, "--port", str(port), "--workers", "1"])
        try:
            wait_for(base, server)
            measure(workspace, base, given.runs, server.pid, service.pid)
        finally:
            for process in (server, service):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
