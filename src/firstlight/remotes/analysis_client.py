"""Calls to analysis services: one request with the data, and a judgement of the answer.

What a service says is shown to people, so that it is cut short and made plain text, and
whatever was secret in the request is taken out of it: a service may well repeat what it got.
"""

from __future__ import annotations

import json
import re
import time
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlsplit

from pydantic_core import to_json

from firstlight.errors import FirstlightError, InvalidInput, Kind, RemoteError
from firstlight.remotes.guarded_http import Reply
from firstlight.remotes.http_authentication import basic_header, digest_header, oauth1_header

__all__ = [
    "AUTHENTICATION_TYPES",
    "AnalysisClient",
    "Authentication",
    "CallOutcome",
    "ServiceRefused",
    "ServiceReply",
    "plain_words",
]

AUTHENTICATION_TYPES = (
    "none",
    "header_token",
    "api_key",
    "HTTPBasicAuth",
    "HTTPDigestAuth",
    "OAuth1",
)
_LONGEST_TEXT = 500
_LONGEST_READ = 65_536
_LONGEST_PAUSE_S = 86_400.0
_SHORTEST_SECRET = 4  # shorter ones would blank out half the answer
_AGAIN = frozenset({408, 425, 429})
_UNAUTHORIZED = 401
_CALLBACK = re.compile(r"(obj_analysis/)[0-9A-Za-z-]+")
_OAUTH = {
    "client_key": "app_key",
    "client_secret": "app_secret",
    "token": "user_oauth_token",
    "token_secret": "user_oauth_token_secret",
}


class ServiceRefused(RemoteError):
    """The service did not take the run."""

    code = "analysis.service_refused"


class CallOutcome(StrEnum):
    """What became of a call, and what that asks for."""

    TAKEN = "taken"
    TRY_LATER = "try_later"  # not taken; it may be next time
    REFUSED = "refused"  # it would not be next time either


@dataclass(frozen=True, slots=True)
class ServiceReply:
    """The outcome of one call.

    Attributes
    ----------
    status
        Of HTTP; None where nothing was answered.
    text
        What the service said: plain words, at most 500 characters, nothing secret.
    retry_after_s
        What it asked for, at most a day.
    error
        ``code``, ``message``, ``found``, ``expected``, ``hint`` of what went wrong.
    """

    outcome: CallOutcome
    status: int | None = None
    text: str = ""
    retry_after_s: float | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Authentication:
    """What a service wants to see of its callers.

    Attributes
    ----------
    kind
        One of `AUTHENTICATION_TYPES`.
    facts
        ``{"headers": {...}}``, ``{"api_key_name", "api_key"}``, ``{"username", "password"}``,
        or ``{"app_key", "app_secret", "user_oauth_token", "user_oauth_token_secret"}``.
    """

    kind: str = "none"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Authentication({self.kind!r})"  # a traceback must not show the rest

    def check(self) -> None:
        """Raise where something is missing; nothing secret is in the message.

        Raises
        ------
        InvalidInput
            The service has to be given its ``_authinfo`` again.
        """
        known = self.kind in AUTHENTICATION_TYPES
        missing = [name for name in _NEEDED.get(self.kind, ()) if not self.facts.get(name)]
        if missing or not known:
            raise InvalidInput(
                "the service cannot be called with what is known of its authentication",
                field="_authinfo",
                found="no " + ", ".join(missing) if missing else self.kind[:50],
                expected=f"what {self.kind} needs" if known else ", ".join(AUTHENTICATION_TYPES),
            )

    def secrets(self) -> set[str]:
        """Texts that must be shown to nobody."""
        return set(_texts(self.facts))


_NEEDED = {
    "header_token": ("headers",),
    "api_key": ("api_key_name", "api_key"),
    "HTTPBasicAuth": ("username", "password"),
    "HTTPDigestAuth": ("username", "password"),
    "OAuth1": tuple(_OAUTH.values()),
}


class Caller(Protocol):
    """What calls: a `GuardedClient`."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """Send `body` and return the answer."""
        ...

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Ask for a resource."""
        ...


class AnalysisClient:
    """Calls services. Redirects are not followed.

    Parameters
    ----------
    client
        Makes the calls.
    clock
        Seconds since 1970.
    """

    def __init__(self, client: Caller, *, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock

    def send(
        self,
        url: str,
        document: Mapping[str, Any],
        authentication: Authentication,
        *,
        secrets: Collection[str] = (),
        ready: Mapping[str, bytes] | None = None,
    ) -> ServiceReply:
        """Hand a run over; what went wrong is in the answer, never raised.

        Parameters
        ----------
        document
            JSON values.
        secrets
            Texts of the document that nobody may be shown.
        ready
            Further entries of the document that are JSON already.
        """
        try:
            authentication.check()
            extra = {}
            if authentication.kind == "api_key":
                extra = {authentication.facts["api_key_name"]: authentication.facts["api_key"]}
            body = _joined({**document, **extra}, ready or {})
            reply = self._call("POST", url, body, authentication)
        except FirstlightError as fault:
            return self._failed(fault)
        return judged(reply, {*secrets, *authentication.secrets()})

    def look(self, url: str, authentication: Authentication) -> ServiceReply:
        """Ask a service whether it is there, by GET; raised is nothing."""
        try:
            authentication.check()
            reply = self._call("GET", url, None, authentication)
        except FirstlightError as fault:
            return self._failed(fault)
        return judged(reply, authentication.secrets())

    def _call(
        self,
        method: str,
        url: str,
        body: bytes | None,
        authentication: Authentication,
    ) -> Reply:
        facts = authentication.facts
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if authentication.kind == "header_token":
            headers |= facts["headers"]
        elif authentication.kind == "HTTPBasicAuth":
            headers["Authorization"] = basic_header(facts["username"], facts["password"])
        elif authentication.kind == "OAuth1":
            headers["Authorization"] = oauth1_header(
                {ours: str(facts.get(theirs, "")) for ours, theirs in _OAUTH.items()},
                method=method,
                url=url,
                timestamp=int(self._clock()),
            )
        reply = self._once(method, url, body, headers)
        if authentication.kind == "HTTPDigestAuth" and reply.status == _UNAUTHORIZED:
            headers["Authorization"] = digest_header(
                reply.headers.get("www-authenticate", ""),
                method=method,
                target=_target(url),
                username=facts["username"],
                password=facts["password"],
            )
            reply = self._once(method, url, body, headers)
        return reply

    def _once(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        if method == "GET" or body is None:
            return self._client.get(url, headers)
        return self._client.post(url, body, headers)

    def _failed(self, fault: FirstlightError) -> ServiceReply:
        never = fault.kind is Kind.USER  # the address or the credentials are at fault
        outcome = CallOutcome.REFUSED if never else CallOutcome.TRY_LATER
        # The subject is the URL, in which people put keys.
        told = {
            name: fault.as_dict()[name] for name in ("code", "message", "found", "expected", "hint")
        }
        return ServiceReply(outcome, error=told)


def judged(reply: Reply, secrets: Collection[str]) -> ServiceReply:
    """What an answer means."""
    text = plain_words(_said(reply.body), secrets)
    if 200 <= reply.status < 300:
        return ServiceReply(CallOutcome.TAKEN, reply.status, text)
    fault = ServiceRefused(
        f"the service answered {reply.status}" + (f": {text}" if text else ""),
        found=f"status {reply.status}",
        expected="a status of 2xx",
    )
    again = reply.status >= 500 or reply.status in _AGAIN
    if 300 <= reply.status < 400:
        fault.hint = "redirects are not followed: give the service the address that it leads to"
    elif reply.status in (_UNAUTHORIZED, 403):
        fault.hint = "look at the authentication of the service"
    told = {name: value for name, value in fault.as_dict().items() if name not in _UNTOLD}
    return ServiceReply(
        CallOutcome.TRY_LATER if again else CallOutcome.REFUSED,
        reply.status,
        text,
        _retry_after(reply) if again else None,
        told,
    )


_UNTOLD = frozenset({"kind", "subject", "field"})


def plain_words(text: str, secrets: Collection[str] = (), longest: int = _LONGEST_TEXT) -> str:
    """Text of somebody else as it may be shown: on one line, short, with nothing secret.

    Characters that steer the screen or the direction of writing are taken out; markup is left
    as the text that it is, for whoever shows it to escape.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "(secret)")
    text = _CALLBACK.sub(r"\1(secret)", text)
    # Unprintable: controls, formats such as those of direction, surrogates, private use.
    kept = (
        " " if char.isspace() else char
        for char in text
        if char.isspace() or unicodedata.category(char)[0] != "C"
    )
    words = " ".join("".join(kept).split())
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _said(body: bytes) -> str:
    """The message in an answer, or all of it."""
    text = body[:_LONGEST_READ].decode("utf-8", errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(found, dict):
        message = found.get("message")
        return message if isinstance(message, str) else ""
    return text


def _joined(document: Mapping[str, Any], ready: Mapping[str, bytes]) -> bytes:
    """One JSON object; what is ready is not read and written again."""
    body = to_json(document, inf_nan_mode="null")
    if not ready:
        return body
    entries = b",".join(to_json(name) + b":" + value for name, value in ready.items())
    return b"{" + entries + (b"," + body[1:] if document else b"}")


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        # "Bearer abc" is told from "abc" by whoever repeats only the one.
        return [value, *value.split()[1:]]
    if isinstance(value, Mapping):
        return [text for each in value.values() for text in _texts(each)]
    return []


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _retry_after(reply: Reply) -> float | None:
    """Seconds that the service asks to wait; dates are not understood."""
    asked = reply.headers.get("retry-after", "").strip()
    return min(float(asked), _LONGEST_PAUSE_S) if re.fullmatch(r"[0-9]{1,9}", asked) else None
