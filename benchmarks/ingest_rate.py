"""How fast the archive takes what a site sends, and how soon it can be found and heard of.

A pretend site sends light files (header texts and JPGs) at a steady rate, into a watched folder
or by HTTP. For each file three moments are taken from one clock: its last byte written (the rename
to its final name, or the answer to the upload), its row visible to another connection, its event
received by a client of the live stream in another process. Run with::

    python benchmarks/ingest_rate.py                     # 60 files/s for a minute, SQLite
    python benchmarks/ingest_rate.py --way upload --rate 20
    python benchmarks/ingest_rate.py --rate 120 --seconds 30 --database URL
    python benchmarks/ingest_rate.py --rate 0            # how fast it can: all files at once
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from meter import ONE_THREAD, adopt_orphans

os.environ.update(ONE_THREAD)  # before anything numerical is loaded

import httpx
import psutil
import sqlalchemy as sa

from firstlight.simulation.delivery import Sent, deliver, receiver_for
from firstlight.simulation.pretend_site import PretendFile, PretendSite, SiteSettings

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "firstlight"]
LOOK_S = 0.02  # between looks for new rows: an error of this much, always too late
SETTLE_S = 60.0
PERCENTS = (50, 90, 99, 100)


class Prepared(PretendSite):
    """A site whose files are made before the clock runs."""

    def prepare(self) -> None:
        self._made = {file.name: PretendSite.content(self, file) for file in self.files}

    def content(self, file):
        return self._made[file.name]


@dataclass
class Seen:
    """When each name was first seen."""

    at: dict[str, float] = field(default_factory=dict)

    def see(self, name: str) -> None:
        self.at.setdefault(name, time.time())


def main() -> None:
    options = parse()
    adopt_orphans()
    count = round(options.rate * options.seconds) or options.files
    site = Prepared(
        SiteSettings(exposures=-(-count // 2), kinds=("header", "picture"), rows=128, columns=192)
    )
    tell(f"making {count} files")
    site.prepare()
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.work) as folder:
        for repeat in range(options.repeats):
            rows.append(measure(options, site, Path(folder) / str(repeat)))
            print(line(rows[-1]), flush=True)
    facts = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "database": "sqlite" if options.database is None else "postgresql",
        "way": options.way,
        "senders": options.senders,
        "workers": options.workers,
    }
    print("\n" + table(facts, rows))
    save(options.out, facts, rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=60.0, help="files/s; 0 for all at once")
    parser.add_argument("--way", choices=("folder", "upload"), default="folder")
    parser.add_argument("--senders", type=int, default=1, help="at the same time")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--files", type=int, default=2000, help="where all come at once")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--database", default=None, help="URL of an empty PostgreSQL database")
    parser.add_argument("--no-stream", action="store_true", help="without the web server")
    parser.add_argument("--work", type=Path, default=None, help="folder for temporary files")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def tell(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {what}", file=sys.stderr, flush=True)


def measure(options: argparse.Namespace, site: Prepared, folder: Path) -> dict:
    """One run: its latencies in seconds, its rate, and what it cost."""
    workspace, incoming = folder / "w", folder / "in"
    incoming.mkdir(parents=True)
    database = [] if options.database is None else ["--database", options.database]
    subprocess.run([*COMMAND, "init", str(workspace), *database], check=True, capture_output=True)
    url = options.database or f"sqlite:///{workspace / 'firstlight.sqlite'}"
    count = round(options.rate * options.seconds) or options.files
    order = list(site.files)[:count]
    visible, heard, stop = Seen(), Seen(), threading.Event()
    settings = workspace / "firstlight.toml"
    settings.write_text(settings.read_text() + f'\n[[sources.folders]]\npath = "{incoming}"\n')
    started = os.getloadavg()[0]
    with running(options, workspace) as (process, address):
        watchers = [threading.Thread(target=watch_rows, args=(url, visible, stop))]
        if address is not None:
            watchers.append(
                threading.Thread(target=hear_events, args=(address, heard, stop), daemon=True)
            )
        for watcher in watchers:
            watcher.start()
        try:
            time.sleep(3)  # the workers are up, the stream is open
            before = spent(process)
            sent = send(options, site, order, incoming if options.way == "folder" else address)
            wait_for(visible, count)
            if address is not None:
                wait_for(heard, count)
            cost = [after - begun for after, begun in zip(spent(process), before, strict=True)]
        finally:
            stop.set()
            watchers[0].join()
    return facts_of(sent, visible, heard, cost) | {
        "rate wanted": options.rate or None,
        "load at start": round(started, 2),
    }


def send(
    options: argparse.Namespace, site: Prepared, order: list[PretendFile], where: Path | str
) -> list[Sent]:
    """All files, by several senders side by side, in the order of the moments they ended."""
    shares = [order[first :: options.senders] for first in range(options.senders)]
    rate = options.rate / options.senders if options.rate else None

    def one(number: int) -> list[Sent]:
        time.sleep(number / options.rate if options.rate else 0)
        return deliver(site, shares[number], receiver_for(str(where)), rate=rate)

    with ThreadPoolExecutor(options.senders) as pool:
        sent = [each for some in pool.map(one, range(options.senders)) for each in some]
    return sorted(sent, key=lambda each: each.at)


@contextmanager
def running(
    options: argparse.Namespace, workspace: Path
) -> Iterator[tuple[subprocess.Popen, str | None]]:
    """The archive, live: `serve`, which watches too, or `watch` alone."""
    there = [*COMMAND, "-w", str(workspace)]
    if options.no_stream:
        command = [*there, "watch", "--no-reduce"]
    else:
        command = [*there, "serve", "--port", "0", "--no-reduce"]
    process = subprocess.Popen(
        [*command, "--workers", str(options.workers)],
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    )
    try:
        address = None
        if not options.no_stream:
            said = process.stdout.readline()
            address = said.split()[-1].rstrip("/")
        threading.Thread(target=lambda: list(process.stdout), daemon=True).start()
        yield process, address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def watch_rows(url: str, seen: Seen, stop: threading.Event) -> None:
    """Look for what is new, on a connection of its own.

    A file's event is written in the transaction of its rows and numbered in the order in which
    these become visible, so asking for new events is asking for new rows, and cheap.
    """
    engine = sa.create_engine(url)
    query = sa.text("SELECT number, data FROM events WHERE number > :last ORDER BY number")
    last = 0
    with engine.connect() as connection:
        while not stop.is_set():
            for number, data in connection.execute(query, {"last": last}):
                told = json.loads(data) if isinstance(data, str) else data
                seen.see(told.get("filename", ""))
                last = number
            connection.rollback()
            time.sleep(LOOK_S)
    engine.dispose()


def hear_events(address: str, seen: Seen, stop: threading.Event) -> None:
    """Read the live stream as a browser does."""
    patience = httpx.Timeout(60.0)  # the stream says that it is alive more often than that
    with httpx.stream("GET", f"{address}/api/events", timeout=patience) as answer:
        answer.raise_for_status()
        for text in answer.iter_lines():
            if stop.is_set():
                return
            if text.startswith("data:"):
                seen.see(json.loads(text[5:])["data"].get("filename", ""))


def wait_for(seen: Seen, count: int) -> None:
    """Until all are there, or nothing more comes."""
    before, since = -1, time.monotonic()
    while len(seen.at) < count:
        if len(seen.at) != before:
            before, since = len(seen.at), time.monotonic()
        if time.monotonic() - since > SETTLE_S:
            return
        time.sleep(0.1)


def spent(process: subprocess.Popen) -> tuple[float, float]:
    """CPU seconds so far: of the process, and of all its children."""
    root = psutil.Process(process.pid)
    return _cpu(root), sum(_cpu(each) for each in root.children(recursive=True))


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def facts_of(sent: list[Sent], visible: Seen, heard: Seen, cost: list[float]) -> dict:
    rows, events = (
        [seen.at[name] - each.at for each in sent if (name := each.file.name[5:]) in seen.at]
        for seen in (visible, heard)
    )
    took = sent[-1].at - sent[0].at
    until = max(visible.at.values(), default=float("nan")) - sent[0].at
    return {
        "files": len(sent),
        "sent/s": round((len(sent) - 1) / took, 1) if took else None,
        "archived/s": round(len(rows) / until, 1),
        "rows": len(rows),
        "events": len(events),
        "row s": percentiles(rows),
        "event s": percentiles(events),
        "cpu ms/file": round(1000 * sum(cost) / len(sent), 2),
        "of it in workers": round(1000 * cost[1] / len(sent), 2),
    }


def percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    place = {q: min(len(ordered) - 1, round(q / 100 * (len(ordered) - 1))) for q in PERCENTS}
    names = {50: "median", 90: "90 %", 99: "99 %", 100: "longest"}
    told = {names[q]: round(ordered[place[q]], 3) for q in PERCENTS}
    return told | {"mean": round(statistics.fmean(values), 3)}


def line(row: dict) -> str:
    return json.dumps(row)


def table(facts: dict, rows: list[dict]) -> str:
    head = (
        "| files | sent/s | archived/s | CPU ms a file "
        "| row visible: median, 90 %, 99 %, longest s | event: the same s |"
    )
    lines = [head, "|" + "---|" * 6]
    for row in rows:
        latencies = [
            ", ".join(f"{row[name].get(key, float('nan')):.2f}" for key in
                      ("median", "90 %", "99 %", "longest"))
            for name in ("row s", "event s")
        ]  # fmt: skip
        cells = [row["files"], row["sent/s"], row["archived/s"], row["cpu ms/file"], *latencies]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    told = ", ".join(f"{name} {value}" for name, value in facts.items())
    return "\n".join([*lines, "", told])


def save(out: Path, facts: dict, rows: list[dict]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    stem = "ingest-" + facts["when"].replace(":", "").removesuffix("+0000")
    (out / f"{stem}.json").write_text(json.dumps({**facts, "rows": rows}, indent=1))
    (out / f"{stem}.md").write_text(table(facts, rows) + "\n")
    print(f"written: {out.name}/{stem}.json and .md")


if __name__ == "__main__":
    main()
