"""An analysis service that misbehaves in a way that its address names; everything on loopback."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

DONE = {
    "status": "success",
    "message": "done",
    "analysis": {"results": {"format": "json", "data": {"a": 1}}},
}
PATIENCE_S = 300.0


class FaultyService:
    """Serves ``/NAME``, where NAME says what goes wrong; counts requests and answers by name."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, list[int]] = {}
        self.old_callbacks: list[str] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = self.path.strip("/")
                with service._lock:
                    service.asked[name] += 1
                    turn = service.asked[name]
                with contextlib.suppress(OSError):  # the portal was killed
                    getattr(service, f"_{name}")(self, sent["callback_url"], turn)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def post(self, name: str, url: str) -> int:
        """Send results until the portal answers, which may be dead for a while.

        It is told only once that all is well, or what is wrong: as a service does.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self._ended.is_set():
            try:
                status = httpx.post(url, json=DONE, timeout=20).status_code
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if status < 500:
                self.answers.setdefault(name, []).append(status)
                return status
            time.sleep(0.2)
        return 0

    def later(self, name: str, url: str, pause_s: float = 0.2) -> None:
        """Send results from a thread."""

        def send() -> None:
            if not self._ended.wait(pause_s):
                self.post(name, url)

        threading.Thread(target=send, daemon=True).start()

    # --- what goes wrong --------------------------------------------------------------------------

    def _good(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        answer(handler, 200, b'{"status": "pending", "message": "begun"}')
        self.old_callbacks.append(url)
        self.later("good", url)

    def _long(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        answer(handler, 200)
        self.later("long", url, 6.0)

    def _created(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        answer(handler, 201)
        self.later("created", url)

    def _broken(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        answer(handler, 500 if turn <= 2 else 202)
        if turn > 2:
            self.later("broken", url)

    def _dies(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        if turn <= 2:
            half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
            handler.wfile.write(half[:10] if turn == 1 else half)
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        self._plain("dies", handler, url)

    def _garbage(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        if turn == 1:
            handler.wfile.write(b"\x00\xff garbage \r\n\r\n")
            return
        self._plain("garbage", handler, url)

    def _slow(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        if turn == 1:
            self._ended.wait(3.0)  # longer than the portal waits
        self._plain("slow", handler, url)

    def _redirect(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        handler.send_response(302)
        handler.send_header("Location", "http://10.0.0.1/latest/meta-data")
        handler.end_headers()

    def _early(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        self.post("early", url)
        answer(handler, 500 if turn == 1 else 200)

    def _twice(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        answer(handler, 200)
        for _ in range(4):
            self.later("twice", url, 0.3)

    def _late(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        answer(handler, 200)
        self.later("late", url, 4.0)

    def _silent(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        answer(handler, 200)

    def _old(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        """Answers to a run that has long had its results, and then to its own."""
        answer(handler, 200)
        for old in self.old_callbacks[:1]:
            self.later("old token", old, 0.1)
        self.later("old", url, 0.5)

    def _nonsense(self, handler: BaseHTTPRequestHandler, url: str, turn: int) -> None:
        """Posts what cannot be read, and then what can."""
        answer(handler, 200)

        def send() -> None:
            for body in (b"", b"{", b'{"status": 1}', b"\xff" * 1000):
                try:
                    httpx.post(url, content=body, timeout=20)
                except httpx.TransportError:
                    time.sleep(0.2)
            self.post("nonsense", url)

        threading.Thread(target=send, daemon=True).start()

    def _plain(self, name: str, handler: BaseHTTPRequestHandler, url: str) -> None:
        answer(handler, 200)
        self.later(name, url)


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"{}") -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
