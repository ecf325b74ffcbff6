"""Telling the portal: progress as it comes, and the results until they have arrived."""

from __future__ import annotations

import functools
import logging
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx

__all__ = ["CallbackSettings", "Caller", "Delivery"]

_LOG = logging.getLogger("firstlight.analysis")
_UNTOLD_LIMIT = 3  # progress that could not be told so often is told no more
_BUSY = (408, 425, 429)
_REFUSED = (400, 413, 415, 422)


@dataclass(frozen=True)
class CallbackSettings:
    """How the portal is called.

    Attributes
    ----------
    first_pause_s, longest_pause_s
        After a call that failed; each pause is twice the one before.
    give_up_s
        After so long the results of a run are given up, where the request does not say until
        when they are taken.
    progress_every_s
        Progress is told at most so often.
    """

    timeout_s: float = 60.0
    progress_timeout_s: float = 5.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    give_up_s: float = 3600.0
    progress_every_s: float = 1.0


@dataclass(frozen=True)
class Delivery:
    """What came of handing results over.

    Attributes
    ----------
    arrived
        Whether the portal has taken them.
    is_final
        Whether it never will; else it was left because the service stops.
    """

    arrived: bool
    is_final: bool
    why: str = ""


class Caller:
    """Calls the portal back for one run.

    Parameters
    ----------
    body
        The request; its ``callback_url`` holds a secret, and is never written to the log.
    stopping
        Set when the service is to stop: pauses end, and one last call is made.
    """

    def __init__(
        self, body: Mapping[str, Any], settings: CallbackSettings, stopping: threading.Event
    ) -> None:
        self._url = str(body["callback_url"])
        self._progress_url = _progress_url(body)
        self._until = _deadline(body, settings)
        self._settings = settings
        self._stopping = stopping
        self._told_at = 0.0
        self._untold = 0

    @property
    def seconds_left(self) -> float:
        """Until when the portal takes results; negative where it is too late."""
        return self._until - time.monotonic()

    def progress(self, fraction: float, message: str) -> None:
        """Tell how far the run is; what cannot be told is left."""
        now = time.monotonic()
        due = now - self._told_at >= self._settings.progress_every_s
        if not self._progress_url or not due or self._untold >= _UNTOLD_LIMIT:
            return
        self._told_at = now
        told = {"progress": fraction, "message": message}
        status, _ = self._post(self._progress_url, told, self._settings.progress_timeout_s)
        self._untold = 0 if _is_good(status) else self._untold + 1

    def deliver(self, document: Mapping[str, Any]) -> Delivery:
        """Hand the results over, again and again until they are taken, refused, or too late.

        Where the portal refuses the results themselves it is told that the run failed, and why.
        """
        pause = self._settings.first_pause_s
        while True:
            last = self._stopping.is_set()
            status, said = self._post(self._url, document, self._settings.timeout_s)
            if _is_good(status):
                return Delivery(arrived=True, is_final=True)
            if status in _REFUSED and document.get("status") == "success":
                self._tell_refusal(status, said)
                return Delivery(False, True, f"the portal refused the results: {status} {said}")
            if status is not None and status < 500 and status not in _BUSY:
                return Delivery(False, True, f"the portal answered {status} {said}")
            if self.seconds_left <= 0:
                return Delivery(False, True, f"too late after the last answer: {status} {said}")
            if last:
                return Delivery(False, False, f"the service stops; last answer: {status} {said}")
            _LOG.warning("the portal does not take results yet (%s); again in %.0f s", said, pause)
            self._stopping.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311, no secret: not all at once
            pause = min(2 * pause, self._settings.longest_pause_s)

    def _tell_refusal(self, status: int, said: str) -> None:
        told = f"the results were refused by the portal ({status}): {said}"
        failure = {"status": "failure", "message": told[:1000], "analysis": {}}
        self._post(self._url, failure, self._settings.timeout_s)

    def _post(
        self, url: str, document: Mapping[str, Any], timeout: float
    ) -> tuple[int | None, str]:
        """The status, and what was said; no status where nobody answered."""
        import httpx  # noqa: PLC0415, only those who serve need it

        try:
            answer = _client().post(url, json=document, timeout=timeout)
        except httpx.HTTPError as fault:
            return None, f"{type(fault).__name__}: {fault}"
        except (httpx.InvalidURL, ValueError) as fault:
            return 400, f"{type(fault).__name__}: {fault}"
        return answer.status_code, _said(answer)


@functools.cache
def _client() -> httpx.Client:
    """One for all calls: to make one takes longer than a call."""
    import httpx  # noqa: PLC0415, as above

    return httpx.Client(follow_redirects=False)


def _said(answer: Any) -> str:
    """The message of an answer in SkyPortal's envelope, or the beginning of any other."""
    try:
        found = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        found = answer.text
    return " ".join(str(found).split())[:300]


def _is_good(status: int | None) -> bool:
    return status is not None and 200 <= status < 300


def _progress_url(body: Mapping[str, Any]) -> str:
    """Where progress is told: only where the results go, too."""
    there, results = (urlsplit(str(body.get(name) or "")) for name in _URLS)
    same = (there.scheme, there.netloc) == (results.scheme, results.netloc)
    return str(body["progress_url"]) if there.netloc and same else ""


_URLS = ("progress_url", "callback_url")


def _deadline(body: Mapping[str, Any], settings: CallbackSettings) -> float:
    """Until when results are taken, by the monotonic clock."""
    try:
        until = datetime.fromisoformat(str(body.get("invalid_after")))
    except ValueError:
        return time.monotonic() + settings.give_up_s
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return time.monotonic() + (until - datetime.now(UTC)).total_seconds()
