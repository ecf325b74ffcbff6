"""Whoever sends or takes slowly is dropped; each on a real port."""

import contextlib
import json
import socket
import threading
import time

import pytest
import uvicorn
from starlette.responses import Response

from firstlight.services.access import operator
from firstlight.services.intake.uploads import UploadRequest
from firstlight.web.app import create_app
from firstlight.web.connections import patient_protocol

NAME = "tst-kb001ms-20220629-00010442-EX10.jpg"


@pytest.fixture
def listen():
    """Serve an application with short times; returns a function that connects."""
    running = []

    def start(app, header_s=0.3, send_s=0.3):
        http = patient_protocol(header_s, send_s)
        config = uvicorn.Config(app, port=0, log_config=None, http=http, timeout_keep_alive=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive(), "the server did not start"
        running.append((server, thread))
        address = server.servers[0].sockets[0].getsockname()

        def connect():
            connection = socket.create_connection(address, timeout=60)
            running.append(connection)
            return connection

        return connect

    yield start
    for each in running:
        if isinstance(each, socket.socket):
            each.close()
    for server, thread in (each for each in running if isinstance(each, tuple)):
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def app(make_services):
    # 2 kB a second, and a quarter of a second of patience.
    return create_app(make_services(body_patience_s=0.25, min_body_rate=2000))


def answer_of(connection):
    text = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            text += piece
    return text


def drip(connection, pieces, pause_s):
    """Send until the other end has had enough; tells how many were sent."""
    sent = 0
    try:
        for piece in pieces:
            connection.sendall(piece)
            sent += 1
            time.sleep(pause_s)
    except OSError:
        pass
    return sent


POST = b"POST /api/tokens HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


def test_a_header_must_end_in_time(listen, app):
    connection = listen(app)()
    pieces = [b"GET / HTTP/1.1\r\n", *[b"X: 1\r\n"] * 200]
    assert drip(connection, pieces, 0.05) < 100
    assert answer_of(connection) == b""


def test_a_connection_that_says_nothing_is_closed(listen, app):
    assert answer_of(listen(app)()) == b""


def test_the_next_header_must_end_in_time_as_well(listen, app):
    connection = listen(app)()
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert drip(connection, [b"GET / HTTP/1.1\r\n", *[b"X: 1\r\n"] * 200], 0.05) < 100


def test_a_body_that_stands_still_is_answered(listen, app):
    connection = listen(app)()
    connection.sendall(POST + b'Content-Length: 100\r\n\r\n{"name"')
    answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["status"] == "error"
    assert body["data"]["code"] == "web.body_too_slow"


def test_a_body_that_drips_is_ended(listen, app):
    connection = listen(app)()
    connection.sendall(POST + b"Content-Length: 100000\r\n\r\n")
    assert drip(connection, [b" "] * 1000, 0.05) < 100
    assert answer_of(connection).startswith(b"HTTP/1.1 408 ")


def test_an_upload_that_drips_is_ended_and_forgotten(listen, make_services, store):
    services = make_services(body_patience_s=0.25, min_body_rate=2000)
    form = services.uploads.request(UploadRequest(object_name=NAME), operator())
    path = form["url"].removeprefix("http://archive.example").encode()
    connection = listen(create_app(services))()
    connection.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" % path)
    assert drip(connection, [b" "] * 1000, 0.05) < 100
    assert answer_of(connection).startswith(b"HTTP/1.1 408 ")
    assert not store.exists(form["fields"]["key"])
    assert services.live.told == []


def test_a_body_that_comes_steadily_may_take_its_time(listen, make_services):
    connection = listen(create_app(make_services(body_patience_s=1.0, min_body_rate=2000)))()
    pieces = [b" " * 1000] * 20
    connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % (1000 * len(pieces)))
    # Ten thousand bytes a second for two seconds, twice as long as they are waited for without any.
    assert drip(connection, pieces, 0.1) == len(pieces)
    assert answer_of(connection).startswith(b"HTTP/1.1 4")


def test_whoever_does_not_take_an_answer_is_dropped(listen):
    async def app(scope, receive, send):
        if scope["type"] == "http":
            await Response(b" " * 50_000_000)(scope, receive, send)

    connection = listen(app)()
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(1.0)
    assert len(answer_of(connection)) < 50_000_000
