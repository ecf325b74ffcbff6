"""A client of the event stream that reads what a browser would."""

import json
import time
from contextlib import contextmanager

import httpx


class Stream:
    def __init__(self, response):
        self.response = response
        self.last_id = None
        self._lines = response.iter_lines()

    def messages(self, count, within_s=60):
        """The next messages; fails where they do not come."""
        found, end = [], time.monotonic() + within_s
        data, kind = None, "message"
        while len(found) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} messages came"
            line = next(self._lines)
            if line.startswith("id: "):
                self.last_id = int(line[4:])
            elif line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif not line and data is not None:
                assert kind == "gap" or data["number"] == self.last_id
                found.append(data)
                data, kind = None, "message"
        return found

    def lines(self, count):
        return [next(self._lines) for _ in range(count)]


@contextmanager
def listening(address, headers=None, **query):
    with (
        httpx.Client(timeout=60, trust_env=False) as client,
        client.stream("GET", address + "/api/events", params=query, headers=headers) as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        stream = Stream(response)
        # What is read first tells where the stream begins, so that the test may go on.
        assert stream.lines(4)[0] == "retry: 2000"
        yield stream
