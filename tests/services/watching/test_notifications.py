"""Webhooks are told each event at least once, in order, and only what their owner may watch."""

import hashlib
import hmac
import json
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import select

from firstlight.errors import InvalidInput
from firstlight.models.database import Database
from firstlight.models.event import Event, record_events
from firstlight.models.webhook import Webhook
from firstlight.remotes.guarded_http import GuardedClient, UrlRefused
from firstlight.remotes.settings import OutgoingSettings
from firstlight.remotes.webhook_sender import Delivery, Outcome, WebhookSender
from firstlight.services.access import Forbidden, NotSignedIn, Viewer
from firstlight.services.watching.notification_settings import NotificationSettings
from firstlight.services.watching.notifications import (
    GIVEN_UP,
    NotificationLoop,
    NotificationService,
)
from firstlight.services.watching.webhooks import WebhookMissing, WebhookService, host_of

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = b"a secret of the workspace"
EVERYTHING = Viewer("boss", frozenset({"watch", "admin"}), None)
SRO = Viewer("ann", frozenset({"watch"}), frozenset({"sro"}))
WELL, HANGS = "https://well.example/x", "https://hangs.example/x"


@pytest.fixture
def sqlite_database(sqlite_url):
    database = Database(sqlite_url)
    yield database
    database.dispose()


@pytest.fixture
def postgres_database(postgres_url):
    database = Database(postgres_url)
    yield database
    database.dispose()


@pytest.fixture
def office(sqlite_database):
    return Office(sqlite_database)


@pytest.fixture(params=["sqlite", "postgres"])
def office_anywhere(request):
    return Office(request.getfixturevalue(f"{request.param}_database"))


class FakeSender:
    """Keeps what was sent; answers as told by URL."""

    def __init__(self):
        self.sent, self.answers, self.gates = [], {}, {}

    def send(self, url, secret, events):
        gate = self.gates.get(url)
        if gate is not None:
            gate.wait(20)
        answer = self.answers.get(url, Outcome.OK)
        if isinstance(answer, Exception):
            raise answer
        if answer is Outcome.OK:
            self.sent += [(url, event) for event in events]
            return Delivery(Outcome.OK, 200)
        if isinstance(answer, Delivery):
            return answer
        return Delivery(answer, 500, error={"code": "remote.webhook_refused", "subject": url})

    def numbers(self, url=WELL):
        return [event["number"] for to, event in self.sent if to == url]


class Office:
    """The services on one clock, with a sender that remembers."""

    def __init__(self, database):
        self.database = database
        self.now = START
        self.sender = FakeSender()
        self.scopes = {"boss": None, "ann": frozenset({"sro"})}
        self.webhooks = WebhookService(
            database=database,
            sender=self.sender,
            secret=SECRET,
            check_url=GuardedClient(OutgoingSettings()).check_url,
            clock=lambda: self.now,
        )
        self.service = self.make(NotificationSettings())

    def make(self, settings, sender=None):
        return NotificationService(
            database=self.database,
            sender=sender or self.sender,
            secret=SECRET,
            sites_of=lambda owner: self.scopes.get(owner, frozenset()),
            settings=settings,
            clock=lambda: self.now,
        )

    def add(self, url=WELL, viewer=EVERYTHING, **more):
        return uuid.UUID(self.webhooks.add(url, viewer, **more).facts["id"])

    def happen(self, *sites, topic="imagedata"):
        with self.database.begin() as session:
            rows = [
                Event(topic=topic, site=site, data={"site": site}, created_at=self.now)
                for site in sites
            ]
            record_events(session, rows)
            return [row.number for row in rows]

    def row(self, webhook_id):
        with self.database.reading() as session:
            return session.get(Webhook, webhook_id)

    def events(self, topic):
        with self.database.reading() as session:
            query = select(Event).where(Event.topic == topic).order_by(Event.number)
            return [row.message() for row in session.scalars(query)]


def test_events_are_told_once_in_order_from_the_first_after_it_was_added(office_anywhere):
    office = office_anywhere
    office.happen("sro")
    webhook = office.add()
    numbers = office.happen("sro", "mrc", None)
    assert office.service.deliver() == {"ok": 3}
    assert office.sender.numbers() == numbers
    assert office.sender.sent[0][1] == {
        "number": numbers[0],
        "topic": "imagedata",
        "site": "sro",
        "data": {"site": "sro"},
        "created_at": START.isoformat(),
    }
    assert office.service.deliver() == {}
    assert office.row(webhook).position == numbers[-1]
    more = office.happen("sro")
    office.service.deliver()
    assert office.sender.numbers() == numbers + more


def test_only_the_sites_and_topics_that_were_asked_for(office):
    office.add("https://a.example", sites=["sro"])
    office.add("https://b.example", topics=["expiration"])
    office.add("https://c.example", sites=["mrc"], topics=["expiration"])
    first = office.happen("sro", "mrc", None)
    second = office.happen("sro", "mrc", None, topic="expiration")
    office.service.deliver()
    assert office.sender.numbers("https://a.example") == [first[0], second[0]]
    assert office.sender.numbers("https://b.example") == second
    assert office.sender.numbers("https://c.example") == [second[1]]
    assert not office.service.due()  # what was left out is behind them, too


def test_what_the_owner_may_watch_counts_at_the_time_of_delivery(office):
    webhook = office.add(viewer=SRO)
    first = office.happen("sro", "mrc", None)
    office.service.deliver()
    assert office.sender.numbers() == first[:1]
    office.scopes["ann"] = frozenset()  # revoked
    last = office.happen("sro")
    office.service.deliver()
    assert office.sender.numbers() == first[:1]
    assert office.row(webhook).position == last[0]


def test_many_events_go_in_batches(office):
    office.add()
    numbers = office.happen(*["sro"] * 25)
    sizes = []

    class Counting(FakeSender):
        def send(self, url, secret, events):
            sizes.append(len(events))
            return super().send(url, secret, events)

    sender = Counting()
    office.make(NotificationSettings(batch=10), sender).deliver()
    assert sizes == [10, 10, 5]
    assert sender.numbers() == numbers


def test_a_long_backlog_is_told_a_part_at_a_time(office):
    webhook = office.add()
    numbers = office.happen(*["sro"] * 25)
    service = office.make(NotificationSettings(batch=10))
    assert service.tell(webhook, 2) == {"ok": 20}
    assert office.row(webhook).next_try_at is None
    assert service.tell(webhook, 2) == {"ok": 5}
    assert office.sender.numbers() == numbers


def test_a_failure_is_tried_again_ever_later_and_nothing_is_lost(office):
    webhook = office.add()
    numbers = office.happen("sro", "sro")
    office.sender.answers[WELL] = Outcome.TRY_LATER
    pauses = []
    for _ in range(7):
        assert office.service.deliver() == {"try_later": 2}
        assert office.service.deliver() == {}  # not before its time
        row = office.row(webhook)
        pauses.append((row.next_try_at - office.now).total_seconds())
        office.now = row.next_try_at
    assert pauses == [5, 30, 120, 600, 3600, 3600, 3600]
    assert office.row(webhook).failures == 7
    assert office.row(webhook).last_error["failing_since"] == START.isoformat()
    del office.sender.answers[WELL]
    more = office.happen("sro")
    assert office.service.deliver() == {"ok": 3}
    assert office.sender.numbers() == numbers + more
    row = office.row(webhook)
    assert (row.failures, row.last_error, row.next_try_at) == (0, None, None)


def test_a_receiver_that_asks_to_wait_is_left_alone_so_long(office):
    webhook = office.add()
    office.happen("sro")
    office.sender.answers[WELL] = Delivery(Outcome.TRY_LATER, 429, retry_after_s=900)
    office.service.deliver()
    assert office.row(webhook).next_try_at == START + timedelta(seconds=900)


def test_a_webhook_is_given_up_after_days_of_failure_and_operators_are_told(office_anywhere):
    office = office_anywhere
    webhook = office.add("https://dead.example/secret?token=1")
    url = office.row(webhook).url
    office.happen("sro")
    office.sender.answers[url] = Outcome.TRY_LATER
    while office.row(webhook).enabled:
        office.service.deliver()
        office.now += timedelta(hours=1)
        assert office.now < START + timedelta(days=4)
    assert office.now > START + timedelta(days=3)
    (event,) = office.events(GIVEN_UP)
    assert event["site"] is None
    assert event["data"]["address"] == "https://dead.example"
    assert "secret" not in json.dumps(event)
    assert not office.service.due()
    del office.sender.answers[url]
    office.webhooks.enable(webhook, EVERYTHING)
    office.service.deliver()
    assert len(office.sender.numbers(url)) == 2  # the old event, and that it was given up


def test_one_that_is_gone_for_good_is_given_up_at_once(office):
    webhook = office.add()
    office.happen("sro")
    office.sender.answers[WELL] = Outcome.GIVE_UP
    assert office.service.deliver() == {"give_up": 1}
    assert not office.row(webhook).enabled
    assert len(office.events(GIVEN_UP)) == 1


def test_a_process_that_dies_while_sending_sends_again(office_anywhere):
    office = office_anywhere
    webhook = office.add()
    numbers = office.happen("sro")

    class Dies(BaseException):
        pass

    class Dying(FakeSender):
        def send(self, url, secret, events):
            raise Dies

    with pytest.raises(Dies):
        office.make(NotificationSettings(), Dying()).tell(webhook)
    assert office.service.deliver() == {}  # it may still be at work
    office.now += timedelta(seconds=300)
    assert office.service.deliver() == {"ok": 1}
    assert office.sender.numbers() == numbers


def test_an_unforeseen_fault_is_a_failure_like_others(office, caplog):
    webhook = office.add()
    office.happen("sro")
    office.sender.answers[WELL] = ValueError("oops")
    office.service.deliver()
    assert office.row(webhook).last_error["code"] == "internal"
    assert "oops" in caplog.text


def test_addresses_that_hang_hold_up_no_other(office_anywhere):
    """As many as have threads fail already, and one more begins to."""
    office = office_anywhere
    gate = threading.Event()
    loop = NotificationLoop(office.make(NotificationSettings(at_once=2)), clock=lambda: office.now)
    office.sender.gates[HANGS] = gate
    for _ in range(2):
        office.add(HANGS)
    office.happen("sro")
    with office.database.begin() as session:
        for row in session.scalars(select(Webhook)):
            row.failures = 1
    office.add(HANGS)
    office.add(WELL)
    numbers = office.happen("sro")
    try:
        assert loop.run() == office.service.settings.every_s
        _until(lambda: loop.run() and office.sender.numbers() == numbers)
        more = office.happen("sro")
        _until(lambda: loop.run() and office.sender.numbers() == numbers + more)
        assert office.sender.numbers(HANGS) == []
    finally:
        gate.set()
        loop.close()
    assert len(office.sender.numbers(HANGS)) >= 4


def _until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_processes_never_work_on_one_webhook_at_once(office_anywhere):
    office = office_anywhere
    webhook = office.add()
    numbers = office.happen("sro")
    gate = threading.Event()
    office.sender.gates[WELL] = gate
    first = threading.Thread(target=office.service.tell, args=(webhook,))
    first.start()
    _until(lambda: office.row(webhook).next_try_at is not None)
    assert office.make(NotificationSettings()).deliver() == {}
    gate.set()
    first.join(60)
    assert office.sender.numbers() == numbers


def test_old_events_are_forgotten_but_not_before_they_are_told(office_anywhere):
    office = office_anywhere
    webhook = office.add()
    old = office.happen("sro", "sro")
    office.now += timedelta(days=8)
    new = office.happen("sro")
    assert office.service.prune() == 0  # the webhook is still to be told
    office.service.deliver()
    assert office.service.prune() == 2
    with office.database.reading() as session:
        assert list(session.scalars(select(Event.number))) == new
    office.webhooks.remove(webhook, EVERYTHING)
    office.now += timedelta(days=8)
    assert office.service.prune() == 0  # the newest stays, so that numbers go on
    assert office.happen("sro")[0] > new[0] > old[-1]


def test_a_disabled_webhook_keeps_no_events(office):
    webhook = office.add()
    office.happen("sro", "sro")
    office.sender.answers[WELL] = Outcome.GIVE_UP
    office.service.deliver()
    office.now += timedelta(days=8)
    assert office.service.prune() == 2
    assert not office.row(webhook).enabled


# --- adding and taking away --------------------------------------------------------------


def test_the_owner_sees_their_own_and_who_may_admin_all(office):
    new = office.webhooks.add(WELL, SRO, sites=["sro", "sro"])
    assert new.facts["sites"] == ["sro"]
    assert len(new.secret) >= 32
    assert new.secret not in json.dumps(office.webhooks.list(SRO))
    office.add()
    assert [each["owner"] for each in office.webhooks.list(SRO)] == ["ann"]
    assert len(office.webhooks.list(EVERYTHING)) == 2
    stranger = Viewer("eve", frozenset({"watch"}), None)
    webhook = uuid.UUID(new.facts["id"])
    for attempt in (office.webhooks.remove, office.webhooks.enable, office.webhooks.ping):
        with pytest.raises(WebhookMissing):
            attempt(webhook, stranger)
    office.webhooks.remove(webhook, SRO)
    assert office.webhooks.list(SRO) == []


@pytest.mark.parametrize(
    ("url", "viewer", "more", "error"),
    [
        (WELL, Viewer(public_sites=None), {}, NotSignedIn),
        (WELL, SRO, {"sites": ["mrc"]}, Forbidden),
        (WELL, Viewer("x", frozenset({"read"}), None), {}, Forbidden),
        ("http://127.0.0.1/", EVERYTHING, {}, UrlRefused),
        ("ftp://well.example", EVERYTHING, {}, UrlRefused),
        (WELL, EVERYTHING, {"sites": []}, InvalidInput),
        (WELL, EVERYTHING, {"topics": []}, InvalidInput),
        (WELL, EVERYTHING, {"topics": ["Image data"]}, InvalidInput),
        (WELL + "x" * 2048, EVERYTHING, {}, InvalidInput),
    ],
)
def test_what_cannot_be_added(office, url, viewer, more, error):
    with pytest.raises(error):
        office.webhooks.add(url, viewer, **more)
    assert office.webhooks.list(EVERYTHING) == []


def test_a_trial_sends_one_event_now(office):
    webhook = office.add()
    assert office.webhooks.ping(webhook, EVERYTHING)["outcome"] == "ok"
    assert [event["topic"] for _, event in office.sender.sent] == ["ping"]
    office.sender.answers[WELL] = Outcome.TRY_LATER
    told = office.webhooks.ping(webhook, EVERYTHING)
    assert told["status"] == 500
    assert told["error"]["code"] == "remote.webhook_refused"


def test_the_host_of_an_address():
    assert host_of("https://a:b@x.example:8443/y?z=@w") == "https://x.example:8443"


# --- over HTTP ---------------------------------------------------------------------------


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.headers["X-Firstlight-Signature"], body))
        self.send_response(503 if len(self.server.got) == 1 else 204)
        self.end_headers()

    def log_message(self, *args):
        pass


def test_a_real_receiver_that_fails_once_can_tell_who_sent_what(office):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    server.got = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = GuardedClient(OutgoingSettings(allow=("127.0.0.1",)))
    office.webhooks._check_url = client.check_url
    new = office.webhooks.add(f"http://127.0.0.1:{server.server_port}/", EVERYTHING)
    numbers = office.happen("sro", "mrc")
    service = office.make(NotificationSettings(), WebhookSender(client))
    try:
        assert service.deliver() == {"try_later": 2}
        office.now += timedelta(seconds=5)
        assert service.deliver() == {"ok": 2}
    finally:
        server.shutdown()
        server.server_close()
    (signature, body) = server.got[-1]
    parts = dict(part.split("=", 1) for part in signature.split(","))
    signed = parts["t"].encode() + b"." + body
    seal = hmac.new(new.secret.encode(), signed, hashlib.sha256).hexdigest()
    assert seal == parts["v1"]
    assert [event["number"] for event in json.loads(body)["events"]] == numbers
