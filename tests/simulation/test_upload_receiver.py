"""The pretend site as a client of the HTTP interface."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from firstlight.simulation.delivery import (
    FolderReceiver,
    StoreReceiver,
    UploadReceiver,
    UploadRefused,
    deliver,
    receiver_for,
)
from firstlight.simulation.pretend_site import PretendSite, SiteSettings
from firstlight.simulation.send_night import simulate_site

SMALL = {"rows": 64, "columns": 96, "pixel_scale": 30.0}


class Archive(ThreadingHTTPServer):
    """Gives tickets to whoever has the token, and keeps what is posted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict] = []
        self.posted: list[bytes] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Archive

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/api/uploads":
            self.server.posted.append(body)
            self._answer(204, b"")
        elif self.headers.get("Authorization") != "token secret":
            self._answer(401, b'{"status": "error", "message": "no such token"}')
        else:
            self.server.asked.append(json.loads(body))
            ticket = {"url": "/api/uploads/x1", "fields": {"key": "k", "policy": "p"}}
            self._answer(200, json.dumps({"status": "success", "data": ticket}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def archive() -> Iterator[Archive]:
    server = Archive()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_ticket_is_asked_for_and_used(archive: Archive):
    site = PretendSite(SiteSettings(exposures=1, info_images=2, **SMALL))
    info = next(file for file in site.files if file.name.startswith("info-images/"))
    deliver(site, [site.files[0], info], UploadReceiver(archive.address, "secret"))
    assert archive.asked == [
        {"object_name": site.files[0].name[5:], "s3_directory": "data"},
        {"object_name": info.name[12:], "s3_directory": "info-images", "info_channel": 1},
    ]
    assert site.content(site.files[0]) in archive.posted[0]
    assert b'name="policy"' in archive.posted[0]


def test_a_refusal_is_told(archive: Archive):
    site = PretendSite(SiteSettings(exposures=1, **SMALL))
    with pytest.raises(UploadRefused, match="no such token"):
        deliver(site, site.files, UploadReceiver(archive.address, "wrong"))
    with pytest.raises(UploadRefused, match="serve"):
        deliver(site, site.files, UploadReceiver("http://127.0.0.1:9"))


def test_the_destination_says_how(tmp_path, archive: Archive):
    assert isinstance(receiver_for(str(tmp_path)), FolderReceiver)
    assert isinstance(receiver_for("s3://bucket/x", endpoint="http://x:1"), StoreReceiver)
    assert isinstance(receiver_for(archive.address), UploadReceiver)


def test_a_night_in_one_call(tmp_path):
    told: list[tuple[int, int]] = []
    sent = simulate_site(
        str(tmp_path / "in"),
        {"exposures": 10, **SMALL},
        faults=True,
        on_sent=lambda done, total: told.append((done, total)),
    )
    assert sent.sentence.startswith("15 exposures, 61 files, 67 deliveries to ")
    assert len(sent.corrupt) == 2
    assert told[-1] == (67, 67)
    files = {str(p.relative_to(tmp_path / "in")) for p in (tmp_path / "in").rglob("*.*")}
    assert len(files) == 61
    assert {name for name, _ in sent.corrupt} <= files
