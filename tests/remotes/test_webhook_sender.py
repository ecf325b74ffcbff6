import hashlib
import hmac
import json
import time

import pytest
from local_servers import http_answer, sends, serving

from firstlight.remotes import webhook_sender
from firstlight.remotes.guarded_http import CallTimedOut, GuardedClient, Reply, UrlRefused
from firstlight.remotes.settings import OutgoingSettings
from firstlight.remotes.webhook_sender import Outcome, WebhookSender, sign, webhook_secret

EVENTS = [{"number": 7, "topic": "imagedata", "site": "tst", "data": {"base_filename": "\u00e4"}}]


class Answers:
    """A client that answers as told."""

    def __init__(self, answer):
        self.answer, self.calls = answer, []

    def post(self, url, body, headers=None):
        self.calls.append((url, body, dict(headers)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def documented_check():
    """The receiver's function, taken from the documentation."""
    lines = webhook_sender.__doc__.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("    import hashlib"))
    code = []
    for line in lines[start:]:
        if line and not line.startswith("    "):
            break
        code.append(line.removeprefix("    "))
    room = {}
    exec("\n".join(code), room)  # noqa: S102, the example of the documentation is run
    return room["is_genuine"]


def test_a_receiver_can_check_what_came_over_the_wire_with_the_documented_lines():
    with serving(sends(http_answer("204 No Content"))) as server:
        sender = WebhookSender(GuardedClient(OutgoingSettings(allow=("127.0.0.1",))))
        done = sender.send(f"http://127.0.0.1:{server.port}/", "s3cret", EVENTS)
    assert (done.outcome, done.status) == (Outcome.OK, 204)
    head, body = server.requests[0]
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    header = fields["X-Firstlight-Signature"]
    assert fields["Content-Type"] == "application/json"
    assert json.loads(body) == {"events": EVENTS}
    is_genuine = documented_check()
    assert is_genuine("s3cret", header, body)
    assert not is_genuine("other", header, body)
    assert not is_genuine("s3cret", header, body + b" ")


def test_an_old_signature_is_not_genuine():
    old = int(time.time()) - 3600
    assert not documented_check()("s", sign("s", old, b"{}"), b"{}")
    assert documented_check()("s", sign("s", int(time.time()), b"{}"), b"{}")


def test_the_signature_is_the_hmac_of_time_stop_body():
    expected = hmac.new(b"key", b"1700000000.{}", hashlib.sha256).hexdigest()
    assert sign("key", 1700000000, b"{}") == f"t=1700000000,v1={expected}"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.OK),
        (202, Outcome.OK),
        (301, Outcome.TRY_LATER),
        (400, Outcome.TRY_LATER),
        (404, Outcome.TRY_LATER),
        (410, Outcome.GIVE_UP),
        (429, Outcome.TRY_LATER),
        (500, Outcome.TRY_LATER),
        (503, Outcome.TRY_LATER),
    ],
)
def test_what_each_status_asks_for(status, outcome):
    done = WebhookSender(Answers(Reply(status))).send("http://hook.example/", "s", EVENTS)
    assert (done.outcome, done.status) == (outcome, status)
    assert (done.error is None) == (outcome is Outcome.OK)
    if done.error:
        assert done.error["code"] == "remote.webhook_refused"
        assert done.error["found"] == f"status {status}"


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("120", 120.0), ("999999999", 86400.0), ("-5", None), ("soon", None), ("1e9", None)],
)
def test_the_receiver_may_ask_for_a_pause(asked, seconds):
    reply = Reply(503, {"retry-after": asked})
    assert WebhookSender(Answers(reply)).send("http://h/", "s", EVENTS).retry_after_s == seconds


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(CallTimedOut(), Outcome.TRY_LATER), (UrlRefused(), Outcome.GIVE_UP)],
)
def test_a_call_that_fails_is_an_outcome(fault, outcome):
    done = WebhookSender(Answers(fault)).send("http://h/", "s", EVENTS)
    assert (done.outcome, done.error["code"]) == (outcome, fault.code)


def test_each_webhook_has_a_secret_of_its_own():
    first, second = webhook_secret(b"workspace", 1), webhook_secret(b"workspace", 2)
    assert first == webhook_secret(b"workspace", 1)
    assert len({first, second, webhook_secret(b"another", 1)}) == 3
