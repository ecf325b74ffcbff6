"""Webhooks: addresses that ask to be told of events.

A webhook is told what its owner may watch when the event is delivered, not when it was added. It
begins with the first event after it was added. Its secret, by which its receiver knows who calls,
is shown once; it is derived from the workspace's, so that nothing secret is kept.
"""

from __future__ import annotations

import builtins
import re
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, MissingError
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.webhook import Webhook
from firstlight.remotes.webhook_sender import Delivery, webhook_secret
from firstlight.services.access import Forbidden, NotSignedIn, Viewer
from firstlight.services.watching.event_stream import EventStreamService

__all__ = ["NewWebhook", "Sender", "WebhookMissing", "WebhookService", "host_of"]

_TOPIC = re.compile(r"[a-z][a-z_]{0,31}", re.ASCII)
_MOST_WEBHOOKS = 100  # of one owner
_LONGEST_URL = 2048


class WebhookMissing(MissingError):
    """There is no such webhook."""

    code = "webhook.missing"


class Sender(Protocol):
    """What sends: a `WebhookSender`."""

    def send(self, url: str, secret: str, events: list[dict[str, Any]]) -> Delivery:
        """Send a batch, in order; what went wrong is in the answer."""
        ...


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook and its secret, as they are shown to the person who added it."""

    secret: str
    facts: dict[str, Any]


class WebhookService:
    """Adds webhooks, lists them, tries them and takes them away.

    Everyone sees their own; who may `admin` sees all.

    Parameters
    ----------
    database
        Where they are kept.
    sender
        Sends the event of a trial.
    secret
        The workspace's, at least 16 bytes.
    check_url
        Refuses a URL that can never be called.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        *,
        database: Database,
        sender: Sender,
        secret: bytes,
        check_url: Callable[[str], None],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._sender = sender
        self._secret = secret
        self._check_url = check_url
        self._clock = clock

    def add(
        self,
        url: str,
        viewer: Viewer,
        *,
        sites: Collection[str] | None = None,
        topics: Collection[str] | None = None,
    ) -> NewWebhook:
        """Add a webhook; its owner is the viewer.

        Parameters
        ----------
        sites, topics
            What it is told; None for all that its owner may watch.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer may not watch these sites, has no name, or has too many webhooks.
        UrlRefused, InvalidInput
            The URL can never be called, or a list is empty or holds what is no topic.
        """
        if not viewer.name:
            raise NotSignedIn("a token is needed to add a webhook")
        for site in sites or ():
            viewer.require("watch", site)
        viewer.sites("watch")
        _check(url, sites, topics)
        self._check_url(url)
        row = Webhook(
            id=uuid.uuid4(),
            url=url,
            sites=None if sites is None else sorted(set(sites)),
            topics=None if topics is None else sorted(set(topics)),
            owner=viewer.name,
            enabled=True,
            position=EventStreamService(database=self._database).last_number(),
            failures=0,
            created_at=self._clock(),
        )
        with self._database.begin() as session:
            owned = session.scalars(select(Webhook.id).where(Webhook.owner == viewer.name)).all()
            if len(owned) >= _MOST_WEBHOOKS:
                raise Forbidden(
                    "there are too many webhooks", found=len(owned), expected=_MOST_WEBHOOKS
                )
            session.add(row)
        return NewWebhook(webhook_secret(self._secret, row.id), _facts(row))

    def list(self, viewer: Viewer) -> builtins.list[dict[str, Any]]:
        """Facts of webhooks, the oldest first; never their secrets."""
        query = select(Webhook).order_by(Webhook.created_at, Webhook.id)
        if not viewer.may("admin"):
            query = query.where(Webhook.owner == viewer.name)
        with self._database.reading() as session:
            return [_facts(row) for row in session.scalars(query)]

    def remove(self, webhook_id: uuid.UUID, viewer: Viewer) -> None:
        """Take a webhook away.

        Raises
        ------
        WebhookMissing
            There is none of this id, or it is somebody else's.
        """
        with self._database.begin() as session:
            session.delete(_own(session, webhook_id, viewer))

    def enable(self, webhook_id: uuid.UUID, viewer: Viewer) -> dict[str, Any]:
        """Begin again after it was given up, with the first event that is still kept."""
        with self._database.begin() as session:
            row = _own(session, webhook_id, viewer)
            row.enabled, row.failures = True, 0
            row.next_try_at, row.last_error = None, None
        return _facts(row)

    def ping(self, webhook_id: uuid.UUID, viewer: Viewer) -> dict[str, Any]:
        """Send one event of topic ``ping`` and number 0 now, and tell what came of it."""
        with self._database.reading() as session:
            row = _own(session, webhook_id, viewer)
        event = {
            "number": 0,
            "topic": "ping",
            "site": None,
            "data": {"webhook": str(row.id)},
            "created_at": self._clock().isoformat(),
        }
        delivery = self._sender.send(row.url, webhook_secret(self._secret, row.id), [event])
        return {
            "outcome": delivery.outcome.value,
            "status": delivery.status,
            "error": delivery.error,
        }


def host_of(url: str) -> str:
    """Scheme and host of an address: the rest may hold secrets, and is for its owner."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2]}"


def _check(url: str, sites: Collection[str] | None, topics: Collection[str] | None) -> None:
    if len(url) > _LONGEST_URL:
        raise InvalidInput(
            field="url", found=f"{len(url)} characters", expected=f"at most {_LONGEST_URL}"
        )
    if sites is not None and not (sites and all(sites)):
        raise InvalidInput(field="sites", found=list(sites), expected="names, or null for all")
    if topics is not None and not (topics and all(map(_TOPIC.fullmatch, topics))):
        raise InvalidInput(field="topics", found=list(topics), expected="names, or null for all")


def _own(session: Session, webhook_id: uuid.UUID, viewer: Viewer) -> Webhook:
    row = session.get(Webhook, webhook_id)
    if row is None or not (row.owner == viewer.name or viewer.may("admin")):
        raise WebhookMissing(subject=webhook_id)
    return row


def _facts(row: Webhook) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "url": row.url,
        "sites": row.sites,
        "topics": row.topics,
        "owner": row.owner,
        "enabled": row.enabled,
        "position": row.position,
        "failures": row.failures,
        "next_try_at": None if row.next_try_at is None else row.next_try_at.isoformat(),
        "last_error": row.last_error,
        "created_at": row.created_at.isoformat(),
    }
