import random
import socket
import threading
import time
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import delete
from stream_reader import listening

from firstlight.models.event import Event, record_events
from firstlight.web.app import create_app


@pytest.fixture
def publish(database):
    def send(*events):
        rows = [Event(topic=topic, site=site, data=data) for topic, site, data in events]
        with database.begin() as session:
            record_events(session, rows)
        return [row.number for row in rows]

    return send


@pytest.fixture
def application(make_services):
    return create_app(make_services(public_sites=("tst", "sro"), heartbeat_s=0.3))


@pytest.fixture
def address(application, serve):
    return serve(application)


def image(site, name):
    return ("imagedata", site, {"s3_directory": "data", "base_filename": name, "site": site})


def test_an_event_arrives_with_the_seeds_shape(address, publish):
    with listening(address) as stream:
        (number,) = publish(image("tst", "tst-kb001ms-20220629-00010442"))
        (message,) = stream.messages(1)
    assert message["number"] == number
    assert message["topic"] == "imagedata"
    assert message["site"] == "tst"
    assert message["data"] == {
        "s3_directory": "data",
        "base_filename": "tst-kb001ms-20220629-00010442",
        "site": "tst",
    }
    assert message["created_at"].endswith("+00:00")


def test_a_stream_begins_with_what_comes_next_or_where_one_says(address, publish):
    numbers = publish(*(image("tst", str(i)) for i in range(5)))
    with listening(address) as stream:
        new = publish(image("tst", "new"))
        assert [each["number"] for each in stream.messages(1)] == new
    with listening(address, after=0) as stream:
        assert [each["number"] for each in stream.messages(6)] == numbers + new
    with listening(address, after=numbers[2]) as stream:
        assert [each["number"] for each in stream.messages(3)] == numbers[3:] + new
    back = {"Last-Event-ID": str(numbers[3])}
    with listening(address, headers=back, after=0) as stream:
        assert [each["number"] for each in stream.messages(2)] == numbers[4:] + new


def test_a_number_from_another_life_of_the_table_is_the_last_one(address, publish):
    publish(image("tst", "old"))
    with listening(address, headers={"Last-Event-ID": "999999"}) as stream:
        new = publish(image("tst", "new"))
        assert [each["number"] for each in stream.messages(1)] == new


def test_one_who_comes_back_too_late_is_told_that_something_is_missing(address, publish, database):
    numbers = publish(*(image("tst", str(i)) for i in range(6)))
    with database.begin() as session:
        session.execute(delete(Event).where(Event.number <= numbers[2]))
    with listening(address, after=numbers[0]) as stream:
        assert stream.messages(1) == [{"after": numbers[0], "first": numbers[3]}]
        assert [each["number"] for each in stream.messages(3)] == numbers[3:]
    with listening(address, after=numbers[2]) as stream:  # has seen all that is forgotten
        assert stream.messages(1)[0]["number"] == numbers[3]


def test_one_is_told_of_the_sites_and_topics_that_one_asks_for(address, publish):
    with listening(address, site="tst") as some, listening(address, topic="expired") as others:
        publish(image("sro", "a"), image("tst", "b"), ("expired", "sro", {"c": 1}))
        publish(("expired", "tst", {"d": 1}))
        assert [each["data"] for each in some.messages(2)] == [image("tst", "b")[2], {"d": 1}]
        assert [each["data"] for each in others.messages(2)] == [{"c": 1}, {"d": 1}]


def test_nobody_is_told_of_what_they_may_not_see(application, address, publish):
    access = application.state.services.access
    everything = {"Authorization": f"token {access.make('all', ['watch']).token}"}
    mine = {"Authorization": f"token {access.make('mine', ['watch'], sites=['mrc']).token}"}
    with (
        listening(address) as public,
        listening(address, headers=mine) as own,
        listening(address, headers=everything) as all_,
    ):
        publish(image("mrc", "secret"), ("health", None, {}), image("tst", "public"))
        assert [each["site"] for each in all_.messages(3)] == ["mrc", None, "tst"]
        assert [each["site"] for each in own.messages(2)] == ["mrc", "tst"]
        assert [each["site"] for each in public.messages(1)] == ["tst"]


@pytest.mark.parametrize(("query", "status"), [({"site": "mrc"}, 401), ({"after": "-1"}, 400)])
def test_what_may_not_be_asked_is_told_before_the_stream_begins(address, query, status):
    answer = httpx.get(address + "/api/events", params=query, trust_env=False)
    assert answer.status_code == status
    assert answer.json()["status"] == "error"


def test_without_any_site_there_is_no_stream(make_client):
    assert make_client().get("/api/events").status_code == 401


def test_a_silent_stream_says_that_it_is_alive_and_where_it_is(address, publish):
    numbers = publish(image("mrc", "not for the public"))
    with listening(address, after=0) as stream:
        assert stream.lines(3) == [": alive", f"id: {numbers[0]}", ""]


def test_a_revoked_token_ends_its_stream(application, address, publish):
    access = application.state.services.access
    headers = {"Authorization": f"token {access.make('mine', ['watch'], sites=['mrc']).token}"}
    with listening(address, headers=headers, site="mrc") as stream:
        publish(image("mrc", "before"))
        assert len(stream.messages(1)) == 1
        access.revoke("mine")
        with pytest.raises(StopIteration):
            stream.lines(1000)


def test_every_event_arrives_once_and_in_order_whenever_one_leaves_and_comes_back(address, publish):
    """Written from two threads while the reader hangs up and resumes twenty times."""

    def write(part):
        for i in range(100):
            publish(*(image("tst", f"{part}-{i}-{j}") for j in range(3)))

    writers = [threading.Thread(target=write, args=(part,)) for part in range(2)]
    chance, seen, position = random.Random(4), [], "0"
    for writer in writers:
        writer.start()
    for _ in range(20):
        with listening(address, headers={"Last-Event-ID": position}) as stream:
            seen += stream.messages(chance.randint(1, 29))
            position = str(seen[-1]["number"])
    with listening(address, headers={"Last-Event-ID": position}) as stream:
        seen += stream.messages(600 - len(seen))
    for writer in writers:
        writer.join()
    numbers = [each["number"] for each in seen]
    assert numbers == sorted(set(numbers))
    names = {each["data"]["base_filename"] for each in seen}
    assert names == {f"{p}-{i}-{j}" for p in range(2) for i in range(100) for j in range(3)}


def test_one_poller_serves_all_streams(application, address, publish, monkeypatch):
    events = application.state.services.event_stream
    asked = []
    after = events.after
    monkeypatch.setattr(events, "after", lambda *args: asked.append(args) or after(*args))
    with listening(address) as a, listening(address) as b, listening(address) as c:
        asked.clear()
        began = time.monotonic()
        publish(image("tst", "x"))
        for stream in (a, b, c):
            stream.messages(1)
        time.sleep(0.5)
        took = time.monotonic() - began
        assert 1 <= len(asked) <= took / 0.02 + 2, "as many as for one stream"
    deadline = time.monotonic() + 60
    while application.state.hub._task is not None:
        assert time.monotonic() < deadline, "nobody listens, nobody needs to ask"
        time.sleep(0.02)


def test_events_older_than_what_is_kept_are_read_from_the_table(address, publish, monkeypatch):
    monkeypatch.setattr("firstlight.web.events._KEPT", 5)
    monkeypatch.setattr("firstlight.web.events._PAGE", 3)
    with listening(address) as early:
        numbers = publish(*(image("tst", str(i)) for i in range(20)))
        assert [each["number"] for each in early.messages(20)] == numbers
        with listening(address, after=0) as late:
            assert [each["number"] for each in late.messages(20)] == numbers


def test_a_client_that_takes_nothing_is_dropped_and_the_others_are_not(application, serve, publish):
    hub = application.state.hub
    hub.limits = replace(hub.limits, send_timeout_s=0.3)
    address = serve(application)
    port = int(address.rpartition(":")[2])
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
        with listening(address) as stream:
            deadline = time.monotonic() + 60
            while hub._open != 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            big = {"text": "x" * 50_000}
            for _ in range(100):
                publish(("imagedata", "tst", big))
            assert len(stream.messages(100)) == 100
            while hub._open != 1:
                assert time.monotonic() < deadline, "the deaf one is still served"
                time.sleep(0.02)
            publish(image("tst", "after"))
            assert len(stream.messages(1)) == 1


def test_there_is_a_limit_of_streams(make_services, serve):
    address = serve(create_app(make_services(public_sites="*", max_streams=1)))
    with listening(address):
        answer = httpx.get(address + "/api/events", trust_env=False)
        assert answer.status_code == 503
        assert answer.json()["data"]["code"] == "web.busy"


def test_the_poller_outlives_a_database_that_fails(application, address, publish, monkeypatch):
    monkeypatch.setattr("firstlight.web.events._AFTER_FAULT_S", 0.05)
    events = application.state.services.event_stream
    after = events.after
    faults = iter([RuntimeError("away"), RuntimeError("still away")])

    def failing(*args):
        fault = next(faults, None)
        if fault is not None:
            raise fault
        return after(*args)

    with listening(address) as stream:
        monkeypatch.setattr(events, "after", failing)
        publish(image("tst", "x"))
        assert len(stream.messages(1)) == 1


def test_a_server_that_stops_ends_its_streams(application, address):
    with listening(address) as stream:
        application.state.hub.close()
        with pytest.raises(StopIteration):
            stream.lines(1000)
