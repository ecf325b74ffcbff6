import asyncio
import gc
import signal
import socket

import pytest
import uvicorn

from firstlight.models.database import DatabaseUnreachable
from firstlight.web.server import AddressTaken, _listen, _Server


def test_small_answers_are_sent_at_once():
    """Asyncio sets TCP_NODELAY on connections whose listener names the protocol."""
    with _listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with socket.create_connection(listener.getsockname()) as client:
            accepted, _ = listener.accept()
            assert accepted.proto == socket.IPPROTO_TCP
            accepted.close()
            assert client.getpeername() == listener.getsockname()


def test_an_address_that_is_taken_is_named():
    with _listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(AddressTaken) as told:
            _listen("127.0.0.1", port)
    assert told.value.subject == f"127.0.0.1:{port}"
    assert "--port" in told.value.hint


@pytest.mark.parametrize("host", ["198.51.100.1", "no.such.name.invalid"])
def test_an_address_that_is_not_this_machines(host):
    with pytest.raises(AddressTaken):
        _listen(host, 0)


def test_streams_end_before_the_server_does():
    ended = []
    server = _Server(uvicorn.Config(app=lambda: None), lambda: ended.append(True))
    server.handle_exit(signal.SIGTERM, None)
    assert ended == [True]
    assert server.should_exit


def test_what_is_loaded_in_the_first_minute_is_not_looked_through_for_garbage(monkeypatch):
    frozen = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    app = uvicorn.Config(app=lambda: None)
    app.load()
    server = _Server(app, lambda: None)

    async def tick():
        for counter in [*range(2_000), *range(2_000)]:
            await server.on_tick(counter)

    asyncio.run(tick())
    assert 2 <= len(frozen) <= 10


def test_whether_the_server_is_well(client, monkeypatch):
    answer = client.get("/api/health")
    assert (answer.status_code, answer.json()["data"]) == (200, {"last_event": 0})

    def broken():
        raise DatabaseUnreachable(subject="postgresql://inside/x")

    monkeypatch.setattr(client.services.event_stream, "last_number", broken)
    answer = client.get("/api/health")
    assert (answer.status_code, answer.json()["data"]["code"]) == (503, "database.unreachable")
    assert "inside" not in answer.text
