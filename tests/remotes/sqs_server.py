"""The part of the SQS protocol (JSON 1.0) that a reader of a queue uses."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class _Message:
    body: str
    hidden_until: float = 0.0
    receipt: str = ""
    deliveries: int = 0


@dataclass
class FakeQueue:
    """A queue in memory; its clock is steady and can be moved on."""

    url: str = ""
    ahead: float = 0.0
    messages: dict[str, _Message] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refuse: tuple[int, str] | None = None
    refuse_deletion: bool = False

    def send(self, body: str) -> None:
        self.messages[uuid.uuid4().hex] = _Message(body)

    def answer(self, action: str, wish: dict[str, Any]) -> dict[str, Any]:
        self.requests.append((action, wish))
        answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "ReceiveMessage": self._receive,
            "DeleteMessageBatch": self._delete,
        }
        return answers[action](wish)

    def _receive(self, wish: dict[str, Any]) -> dict[str, Any]:
        now = time.monotonic() + self.ahead
        found = []
        for name, each in self.messages.items():
            if each.hidden_until <= now and len(found) < wish["MaxNumberOfMessages"]:
                each.hidden_until = now + wish["VisibilityTimeout"]
                each.receipt = uuid.uuid4().hex
                each.deliveries += 1
                found.append(
                    {
                        "MessageId": name,
                        "Body": each.body,
                        "ReceiptHandle": each.receipt,
                        "Attributes": {"ApproximateReceiveCount": str(each.deliveries)},
                    }
                )
        return {"Messages": found} if found else {}

    def _delete(self, wish: dict[str, Any]) -> dict[str, Any]:
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        by_receipt = {each.receipt: name for name, each in self.messages.items()}
        for entry in wish["Entries"]:
            name = by_receipt.get(entry["ReceiptHandle"])
            if name is None or self.refuse_deletion:
                failed.append({"Id": entry["Id"], "Code": "ReceiptHandleIsInvalid"})
            else:
                del self.messages[name]
                done.append({"Id": entry["Id"]})
        return {"Successful": done, "Failed": failed}


@contextmanager
def sqs_server() -> Iterator[FakeQueue]:
    queue = FakeQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            action = self.headers["X-Amz-Target"].removeprefix("AmazonSQS.")
            status, body = 200, b""
            if queue.refuse is not None:
                status, code = queue.refuse
                body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "no"}).encode()
            else:
                body = json.dumps(queue.answer(action, wish)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    queue.url = f"http://127.0.0.1:{server.server_port}/1234/arrivals"
    try:
        yield queue
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
