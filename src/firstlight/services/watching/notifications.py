"""Telling webhooks of events: each at least once, in order, at its own pace.

A webhook's position is the number of the last event it was told, or that was not for it. It moves
after the receiver has said that all is well, so a process that is killed sends a batch again; the
numbers of the events let the receiver drop what it has seen.
"""

from __future__ import annotations

import itertools
import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, delete, func, or_, select, update

from firstlight.errors import InternalError
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.event import Event, record_events
from firstlight.models.webhook import Webhook
from firstlight.remotes.webhook_sender import Delivery, Outcome, webhook_secret
from firstlight.services.watching.event_stream import EventStreamService, Wanted
from firstlight.services.watching.notification_settings import NotificationSettings
from firstlight.services.watching.webhooks import Sender, host_of

__all__ = [
    "GIVEN_UP",
    "NotificationLoop",
    "NotificationService",
    "SitesOf",
]

GIVEN_UP = "webhook_disabled"
"""Topic of the event for operators when a webhook is given up."""

SitesOf: TypeAlias = Callable[[str], frozenset[str] | None]
"""Sites that the owner of a webhook may watch now: None for all, empty for none."""

_PRUNED_AT_ONCE = 5000
_BATCHES_AT_ONCE = 10  # then the thread is free for another, and the process may end
_PRUNE_EVERY = timedelta(minutes=10)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A webhook that this process alone works on for a while."""

    id: uuid.UUID
    url: str
    owner: str
    wanted: Wanted
    position: int


class NotificationService:
    """Delivers events to webhooks, and forgets old events.

    Parameters
    ----------
    database
        Events and webhooks.
    sender
        Makes the calls.
    secret
        The workspace's, from which those of the webhooks are derived.
    sites_of
        What an owner may watch, asked before each batch.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        *,
        database: Database,
        sender: Sender,
        secret: bytes,
        sites_of: SitesOf,
        settings: NotificationSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._sender = sender
        self._secret = secret
        self._sites_of = sites_of
        self.settings = settings or NotificationSettings()
        self._clock = clock
        self._stream = EventStreamService(database=database)

    def due(self) -> list[tuple[uuid.UUID, int]]:
        """Webhooks that have something to be told now, each with its failures in a row."""
        last = self._stream.last_number()
        query = (
            select(Webhook.id, Webhook.failures)
            .where(_ready(self._clock()), Webhook.position < last)
            .order_by(Webhook.failures, Webhook.next_try_at, Webhook.id)
        )
        with self._database.reading() as session:
            return [(row.id, row.failures) for row in session.execute(query)]

    def deliver(self) -> Counter[str]:
        """Tell every webhook all that it is to be told now, and wait until that is done.

        Returns
        -------
        Counter
            Events by what became of them: ``ok``, ``try_later``, ``give_up``.
        """
        due = self.due()
        total: Counter[str] = Counter()
        with ThreadPoolExecutor(max_workers=self.settings.at_once) as pool:
            for counts in pool.map(self.tell, [webhook_id for webhook_id, _ in due]):
                total += counts
        return total

    def tell(self, webhook_id: uuid.UUID, batches: int | None = None) -> Counter[str]:
        """Tell one webhook what it is to be told, batch by batch, until one fails.

        Parameters
        ----------
        batches
            At most so many; None for all there are.
        """
        counts: Counter[str] = Counter()
        for _ in itertools.count() if batches is None else range(batches):
            claim = self._claim(webhook_id)
            if claim is None:
                break
            events = self._stream.after(claim.position, self.settings.batch)
            if not events:
                self._settle(claim, claim.position)
                break
            wanted = claim.wanted.within(self._sites_of(claim.owner))
            chosen = [event.as_dict() for event in events if wanted.takes(event)]
            delivery = self._send(claim, chosen) if chosen else Delivery(Outcome.OK)
            counts[delivery.outcome.value] += len(chosen)
            if delivery.outcome is not Outcome.OK:
                self._fail(claim, delivery)
                break
            self._settle(claim, events[-1].number)
        return +counts

    def prune(self) -> int:
        """Forget old events that no webhook waits for; returns how many, at most 5000.

        The newest event stays, so that its number is known.
        """
        if self.settings.keep_events is None:
            return 0
        before = self._clock() - self.settings.keep_events
        with self._database.begin() as session:
            last = session.scalar(select(func.max(Event.number))) or 0
            waiting = session.scalar(
                select(func.min(Webhook.position)).where(Webhook.enabled.is_(True))
            )
            edge = last - 1 if waiting is None else min(last - 1, waiting)
            oldest = session.execute(
                select(Event.number, Event.created_at)
                .where(Event.number <= edge)
                .order_by(Event.number)
                .limit(_PRUNED_AT_ONCE)
            ).all()
            old = [number for number, created_at in oldest if created_at < before]
            if old:
                session.execute(delete(Event).where(Event.number.in_(old)))
        return len(old)

    def _claim(self, webhook_id: uuid.UUID) -> _Claim | None:
        """Take a webhook that is due; None where it is not, or another process has it."""
        now = self._clock()
        until = now + timedelta(seconds=self.settings.claim_s)
        with self._database.begin() as session:
            row = session.scalar(
                select(Webhook)
                .where(Webhook.id == webhook_id, _ready(now))
                .with_for_update(skip_locked=True)
            )
            if row is None:
                return None
            row.next_try_at = until
            wanted = Wanted(
                None if row.sites is None else frozenset(row.sites),
                None if row.topics is None else frozenset(row.topics),
            )
            return _Claim(row.id, row.url, row.owner, wanted, row.position)

    def _send(self, claim: _Claim, events: list[dict[str, Any]]) -> Delivery:
        try:
            return self._sender.send(claim.url, webhook_secret(self._secret, claim.id), events)
        except Exception as fault:  # noqa: BLE001, whatever it is, the events are not delivered
            _log.exception("webhook %s", claim.id)
            error = InternalError("the events could not be sent", subject=claim.id, found=fault)
            return Delivery(Outcome.TRY_LATER, error=error.as_dict())

    def _settle(self, claim: _Claim, position: int) -> None:
        """Remember that all is well up to a position, and let go of the webhook."""
        values: dict[str, Any] = {"position": position, "next_try_at": None}
        if position > claim.position:
            values |= {"failures": 0, "last_error": None}
        self._update(claim, values)

    def _update(self, claim: _Claim, values: dict[str, Any]) -> None:
        with self._database.begin() as session:
            session.execute(
                update(Webhook)
                .where(Webhook.id == claim.id, Webhook.position == claim.position)
                .values(**values)
            )

    def _fail(self, claim: _Claim, delivery: Delivery) -> None:
        """Note a failure and when to try again; give up after long enough."""
        now = self._clock()
        with self._database.begin() as session:
            row = session.get(Webhook, claim.id, with_for_update=True)
            if row is None or row.position != claim.position:
                return  # another process took it over and was told that all is well
            pauses = self.settings.retry_after_s
            pause = max(pauses[min(row.failures, len(pauses) - 1)], delivery.retry_after_s or 0.0)
            since = (row.last_error or {}).get("failing_since") if row.failures else None
            since = since or now.isoformat()
            row.failures += 1
            row.next_try_at = now + timedelta(seconds=pause)
            row.last_error = {
                **(delivery.error or {}),
                "status": delivery.status,
                "failing_since": since,
            }
            give_up = self.settings.give_up
            too_long = give_up is not None and now - datetime.fromisoformat(since) >= give_up
            if delivery.outcome is Outcome.GIVE_UP or too_long:
                row.enabled = False
                record_events(session, [_given_up(row, now)])


class NotificationLoop:
    """Delivers as events come. A webhook that hangs holds up no other.

    Webhooks that failed before have threads of their own, so however many of them hang, those
    that are well are told at once.

    Parameters
    ----------
    service
        Does the work.
    clock
        Returns the present, aware.
    """

    def __init__(
        self, service: NotificationService, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._service = service
        self._clock = clock
        threads = service.settings.at_once
        self._well = ThreadPoolExecutor(threads, thread_name_prefix="webhooks")
        self._ailing = ThreadPoolExecutor(threads, thread_name_prefix="failing webhooks")
        self._under_way: set[uuid.UUID] = set()
        self._lock = threading.Lock()
        self._pruned_at: datetime | None = None

    def run(self) -> float:
        """Set going what is due, without waiting for it; returns the seconds until next time."""
        for webhook_id, failures in self._service.due():
            with self._lock:
                if webhook_id in self._under_way:
                    continue
                self._under_way.add(webhook_id)
            pool = self._ailing if failures else self._well
            pool.submit(self._tell, webhook_id)
        now = self._clock()
        rested = self._pruned_at is not None and now - self._pruned_at < _PRUNE_EVERY
        if not rested and self._service.prune() < _PRUNED_AT_ONCE:
            self._pruned_at = now
        return self._service.settings.every_s

    def close(self) -> None:
        """Stop after what is being sent now; the rest is sent by the next process."""
        for pool in (self._well, self._ailing):
            pool.shutdown(wait=True, cancel_futures=True)

    def _tell(self, webhook_id: uuid.UUID) -> None:
        try:
            self._service.tell(webhook_id, _BATCHES_AT_ONCE)
        except Exception:  # noqa: BLE001, a thread's error would be lost; it is due again later
            _log.exception("webhook %s", webhook_id)
        finally:
            with self._lock:
                self._under_way.discard(webhook_id)


def _ready(now: datetime) -> ColumnElement[bool]:
    """Webhooks that may be called now."""
    return Webhook.enabled.is_(True) & or_(
        Webhook.next_try_at.is_(None), Webhook.next_try_at <= now
    )


def _given_up(row: Webhook, now: datetime) -> Event:
    """For those who may watch everything: the event has no site. Secrets in the URL stay out."""
    error = row.last_error or {}
    data = {
        "webhook": str(row.id),
        "owner": row.owner,
        "address": host_of(row.url),
        "failures": row.failures,
        "error": {name: error.get(name) for name in ("code", "message", "status")},
    }
    return Event(topic=GIVEN_UP, site=None, data=data, created_at=now)
