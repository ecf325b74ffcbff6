"""Calls to analysis services: what they see of us, what their answers mean, what is shown."""

import json
import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_servers import http_answer, sends, serving

from firstlight.remotes.analysis_client import (
    AnalysisClient,
    Authentication,
    CallOutcome,
    plain_words,
)
from firstlight.remotes.guarded_http import GuardedClient, Reply
from firstlight.remotes.http_authentication import digest_header
from firstlight.remotes.settings import OutgoingSettings

TOKEN = "3f2a1b4c-0000-4000-8000-123456789abc"  # noqa: S105, of no run
DOCUMENT = {"callback_url": f"http://here/api/webhook/obj_analysis/{TOKEN}", "resource_id": "SN1"}


class Recorder:
    """Answers as told, and keeps what was asked."""

    def __init__(self, *replies):
        self.replies, self.calls = list(replies), []

    def _next(self, *call):
        self.calls.append(call)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def post(self, url, body, headers=None):
        return self._next("POST", url, body, dict(headers or {}))

    def get(self, url, headers=None):
        return self._next("GET", url, None, dict(headers or {}))


def send(caller, kind="none", facts=None, url="http://service/run?a=1", **more):
    client = AnalysisClient(caller, clock=lambda: 1318622958)
    return client.send(url, DOCUMENT, Authentication(kind, facts or {}), secrets=(TOKEN,), **more)


def test_the_document_arrives_with_what_was_ready():
    caller = Recorder(Reply(200))
    reply = send(caller, ready={"inputs": b'{"photometry":"mjd,flux\\n1,2\\n"}'})
    assert reply.outcome is CallOutcome.TAKEN
    _, url, body, headers = caller.calls[0]
    assert json.loads(body) == {**DOCUMENT, "inputs": {"photometry": "mjd,flux\n1,2\n"}}
    assert (url, headers["Content-Type"]) == ("http://service/run?a=1", "application/json")
    assert "Authorization" not in headers


def test_each_kind_of_authentication_shows_what_it_should():
    def seen(kind, facts):
        caller = Recorder(Reply(200))
        assert send(caller, kind, facts).outcome is CallOutcome.TAKEN
        return json.loads(caller.calls[0][2]), caller.calls[0][3]

    _, headers = seen("header_token", {"headers": {"Authorization": "Bearer abcd", "X-Two": "b"}})
    assert (headers["Authorization"], headers["X-Two"]) == ("Bearer abcd", "b")
    body, _ = seen("api_key", {"api_key_name": "key", "api_key": "hunter22"})
    assert body == {**DOCUMENT, "key": "hunter22"}
    _, headers = seen("HTTPBasicAuth", {"username": "Aladdin", "password": "open sesame"})
    assert headers["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    names = ("app_key", "app_secret", "user_oauth_token", "user_oauth_token_secret")
    _, headers = seen("OAuth1", {name: name.upper() for name in names})
    assert headers["Authorization"].startswith('OAuth oauth_consumer_key="APP_KEY"')
    assert 'oauth_token="USER_OAUTH_TOKEN"' in headers["Authorization"]


def test_a_digest_takes_one_round_more_and_only_one():
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'
    facts = {"username": "ada", "password": "countess"}
    caller = Recorder(Reply(401, {"www-authenticate": challenge}), Reply(202))
    assert send(caller, "HTTPDigestAuth", facts).outcome is CallOutcome.TAKEN
    assert "Authorization" not in caller.calls[0][3]
    sent = caller.calls[1][3]["Authorization"]
    cnonce = re.search(r'cnonce="(\w+)"', sent)[1]
    assert sent == digest_header(
        challenge, method="POST", target="/run?a=1", cnonce=cnonce, **facts
    )
    caller = Recorder(Reply(401, {"www-authenticate": challenge}))
    reply = send(caller, "HTTPDigestAuth", facts)
    assert len(caller.calls) == 2
    assert reply.outcome is CallOutcome.REFUSED
    assert "authentication" in reply.error["hint"]


@pytest.mark.parametrize(
    ("kind", "facts"),
    [("header_token", {}), ("api_key", {"api_key": "x"}), ("HTTPBasicAuth", {"username": "u"}),
     ("OAuth1", {"app_key": "k"}), ("carrier_pigeon", {})],
)  # fmt: skip
def test_without_what_a_kind_needs_nothing_is_sent(kind, facts):
    caller = Recorder(Reply(200))
    reply = send(caller, kind, facts)
    assert reply.outcome is CallOutcome.REFUSED
    assert reply.error["code"] == "input.invalid"
    assert caller.calls == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "taken"), (201, "taken"), (202, "taken"), (204, "taken"), (299, "taken"),
     (301, "refused"), (307, "refused"), (400, "refused"), (401, "refused"), (404, "refused"),
     (408, "try_later"), (429, "try_later"), (500, "try_later"), (502, "try_later"),
     (503, "try_later")],
)  # fmt: skip
def test_what_a_status_means(status, outcome):
    assert send(Recorder(Reply(status))).outcome == outcome


def test_a_service_that_asks_to_wait_is_given_time_within_reason():
    def pause(text):
        return send(Recorder(Reply(429, {"retry-after": text}))).retry_after_s

    assert pause("120") == 120
    assert pause("999999999") == 86_400
    assert pause("Wed, 21 Oct 2026 07:28:00 GMT") is None
    assert pause("-1") is None


def test_nothing_secret_is_shown_though_the_service_repeats_it():
    facts = {"headers": {"Authorization": "Bearer verysecret1"}}
    said = f'{{"message": "got {TOKEN} and verysecret1 of Bearer verysecret1"}}'.encode()
    for status in (200, 500, 404):
        reply = send(Recorder(Reply(status, body=said)), "header_token", facts)
        for shown in (reply.text, json.dumps(reply.error)):
            assert TOKEN not in shown
            assert "verysecret1" not in shown
    assert reply.text.startswith("got (secret) and (secret)")
    assert "verysecret1" not in repr(Authentication("header_token", facts))


def test_what_a_service_says_is_short_and_plain():
    page = "<html>\x00\x1b[31m<script>alert(1)</script>\u202e\n\n" + "x" * 100_000
    reply = send(Recorder(Reply(500, body=page.encode())))
    assert len(reply.text) == 500
    assert reply.text.startswith("<html>[31m<script>alert(1)</script> xxx")
    assert send(Recorder(Reply(200, body=b'{"message": {"a": 1}}'))).text == ""
    assert send(Recorder(Reply(200, body=b"[" * 60_000))).text.startswith("[[[")
    assert send(Recorder(Reply(200, body=b"\xff\xfe"))).outcome is CallOutcome.TAKEN


@given(st.text(max_size=2000))
def test_any_text_becomes_one_short_line(text):
    words = plain_words(text, {"abcdef"})
    assert len(words) <= 500
    assert words.isprintable() or any(char in words for char in "\u2028\u2029")
    assert "abcdef" not in words


def test_an_address_inside_is_refused_and_nothing_leaves():
    inside = GuardedClient(
        OutgoingSettings(),
        resolver=lambda host, port: [(socket.AF_INET, ("169.254.169.254", port))],
    )
    reply = send(inside, url="http://metadata.example/latest?key=hunter22")
    assert reply.outcome is CallOutcome.REFUSED
    assert reply.error["code"] == "remote.url_refused"
    assert "hunter22" not in json.dumps(reply.error)


def test_a_redirect_is_not_followed():
    with serving(sends(http_answer("302 Found", b"", "Location: http://10.0.0.1/"))) as server:
        guarded = GuardedClient(OutgoingSettings(allow=("127.0.0.1/32",)))
        reply = send(guarded, url=f"http://127.0.0.1:{server.port}/")
    assert len(server.requests) == 1
    assert reply.outcome is CallOutcome.REFUSED
    assert "redirects are not followed" in reply.error["hint"]


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", http_answer(body=b"x" * 50)[:-20]])
def test_a_service_that_dies_half_way_or_talks_nonsense_is_tried_again(answer):
    with serving(sends(answer)) as server:
        guarded = GuardedClient(OutgoingSettings(allow=("127.0.0.1/32",), timeout_s=3))
        reply = send(guarded, url=f"http://127.0.0.1:{server.port}/")
    assert reply.outcome is CallOutcome.TRY_LATER


def test_a_look_is_a_get():
    caller = Recorder(Reply(200, body=b'{"status": "active", "message": "here"}'))
    reply = AnalysisClient(caller).look("http://service/run", Authentication())
    assert (reply.outcome, reply.text, caller.calls[0][0]) == (CallOutcome.TAKEN, "here", "GET")
