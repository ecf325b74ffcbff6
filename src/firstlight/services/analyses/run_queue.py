"""Which run is sent next: users in turn, and a service that hangs holds up no other.

The rows are the queue. Whoever claims a run moves the time of its next attempt and counts that
attempt, in one update that holds only while the run is due; so several processes may send from
one queue, and what a killed one had claimed is due again after a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Select, func, or_, select, update

from firstlight.models.analysis import Analysis, AnalysisService, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.delivery import Claim, Delivered
from firstlight.services.analyses.service_fields import LOCAL

__all__ = ["RunQueue", "ServiceWindows", "choose"]

_BUSY_S = 0.01
_BATCH = 8  # a lane that is at work is given so many at once, which is cheaper than one by one
_LOOKED_AT = 64  # runs that are compared for one choice
_FIRST_WINDOW = 2
_log = logging.getLogger(__name__)


class Deliverer(Protocol):
    """Sends one run: a `RunDelivery`."""

    def deliver(self, claim: Claim) -> Delivered:
        """Make one attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that is due.

    Attributes
    ----------
    turn
        Which one it is of its owner's.
    """

    number: int
    owner: int | None
    service: int | None
    turn: int


class ServiceWindows:
    """How many calls one service may have under way: more with each that goes well.

    A service begins with two, and one that fails is left with one, so that whoever hangs holds
    few threads; and none ever gets all.

    Parameters
    ----------
    most
        Calls of one service at most.
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._sizes: dict[int | None, int] = {}
        self._under_way: Counter[int | None] = Counter()
        self._lock = threading.Lock()

    def room(self, service: int | None) -> int:
        """How many calls more it may have now."""
        with self._lock:
            size = self._sizes.get(service, min(_FIRST_WINDOW, self._most))
            return max(0, size - self._under_way[service])

    def full(self) -> list[int]:
        """Services that may have no more now."""
        with self._lock:
            busy = [each for each in self._under_way if each is not None]
        return [service for service in busy if not self.room(service)]

    def begin(self, service: int | None) -> None:
        """A call begins."""
        with self._lock:
            self._under_way[service] += 1

    def end(self, service: int | None, *, well: bool) -> None:
        """A call has ended."""
        with self._lock:
            self._under_way[service] -= 1
            if not self._under_way[service]:
                del self._under_way[service]
            size = self._sizes.get(service, _FIRST_WINDOW) + 1 if well else 1
            self._sizes[service] = min(size, self._most)


class RunQueue:
    """Hands runs that are due to threads that send them.

    Runs that were tried before have threads of their own, so that however many of them hang,
    those that are new go out at once.

    Parameters
    ----------
    delivery
        Sends one.
    """

    def __init__(
        self,
        *,
        database: Database,
        delivery: Deliverer,
        settings: AnalysisSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._delivery = delivery
        self._settings = settings or AnalysisSettings()
        self._clock = clock
        first = self._settings.at_once
        again = max(1, first // 2)
        self._lanes = (
            _Lane(first, Analysis.attempts == 0, "analyses"),
            _Lane(again, Analysis.attempts > 0, "analyses again"),
        )

    def run(self) -> float:
        """Set going what is due, without waiting for it; returns the seconds until next time."""
        now = time.monotonic()
        for lane in self._lanes:
            if now >= lane.next_look:
                lane.next_look = now + self._settings.every_s
                lane.forget()
                self._fill(lane)
            elif lane.wants_more():
                self._fill(lane)
        more = any(lane.more for lane in self._lanes)
        return min(_BUSY_S, self._settings.every_s) if more else self._settings.every_s

    @property
    def at_work(self) -> bool:
        """Whether calls are under way, or more runs are due than have been sent."""
        return any(lane.more or not lane.idle.is_set() for lane in self._lanes)

    def any_due(self) -> bool:
        """Whether there is a run that may be sent now."""
        with self._database.reading() as session:
            return session.scalar(_to_call(self._clock(), Analysis.id).limit(1)) is not None

    def deliver_all(self) -> None:
        """Send what is due now, and wait until that is done."""
        while any(self._fill(lane) for lane in self._lanes):
            for lane in self._lanes:
                lane.idle.wait(_BUSY_S)

    def close(self) -> None:
        """Stop after what is being sent now; the rest is sent by the next process."""
        for lane in self._lanes:
            lane.pool.shutdown(wait=True, cancel_futures=True)

    def _fill(self, lane: _Lane) -> bool:
        """Give a lane's free threads something to do; whether any is at work."""
        lane.looked()
        fresh = False
        while free := lane.free():
            chosen = lane.choose(free)
            if chosen:
                lane.more = True
                for claim in self.claim([each.number for each in chosen]):
                    lane.begin(claim, self._deliver)
            elif fresh or lane.known:
                break  # those that are known wait for room; others are looked for soon
            else:
                lane.known, fresh = self._due(lane), True
        return not lane.idle.is_set()

    def _due(self, lane: _Lane) -> list[Candidate]:
        """Runs that may be sent now, each owner's first before anybody's second."""
        turn = func.row_number().over(partition_by=Analysis.owner_id, order_by=Analysis.id)
        due = _to_call(
            self._clock(),
            Analysis.id.label("number"),
            Analysis.owner_id.label("owner"),
            Analysis.service_id.label("service"),
            turn.label("turn"),
        ).where(lane.condition)
        if full := lane.windows.full():
            due = due.where(Analysis.service_id.not_in(full))
        listed = due.subquery()
        query = select(listed).order_by(listed.c.turn, listed.c.number).limit(_LOOKED_AT)
        with self._database.reading() as session:
            return [Candidate(*row) for row in session.execute(query)]

    def claim(self, numbers: Sequence[int]) -> list[Claim]:
        """Take those of these runs that are due still, and that no other process takes."""
        now = self._clock()
        free = (
            select(Analysis.id)
            .where(Analysis.id.in_(numbers), _due(now))
            .with_for_update(skip_locked=True)
        )
        statement = (
            update(Analysis)
            .where(Analysis.id.in_(free))
            .values(
                next_try_at=now + timedelta(seconds=self._settings.claim_s),
                attempts=Analysis.attempts + 1,
            )
            .returning(Analysis.id, Analysis.attempts, Analysis.owner_id, Analysis.service_id)
            .execution_options(synchronize_session=False)
        )
        with self._database.begin() as session:
            claims = [Claim(*row) for row in session.execute(statement)]
        order = {number: place for place, number in enumerate(numbers)}
        return sorted(claims, key=lambda claim: order[claim.number])

    def _deliver(self, claim: Claim) -> bool:
        """Whether the service did its part."""
        try:
            return self._delivery.deliver(claim) is not Delivered.LATER
        except Exception:  # noqa: BLE001, a thread's error would be lost; it is due again later
            _log.exception("analysis %d", claim.number)
            return False


class _Lane:
    """Some threads, and what they do."""

    def __init__(self, threads: int, condition: ColumnElement[bool], title: str) -> None:
        self.condition = condition
        self.windows = ServiceWindows(most=threads * 3 // 4)
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=title)
        self.idle = threading.Event()
        self.idle.set()
        self.more = False
        self.next_look = 0.0
        self.known: list[Candidate] = []
        self._threads = threads
        self._ended = 0
        self._claims: set[Claim] = set()
        self._lock = threading.Lock()

    def choose(self, free: int) -> list[Candidate]:
        """Which of the known runs are sent now; they are known no longer."""
        chosen = choose(self.known, self.owners(), self.windows.room, free)
        taken = {each.number for each in chosen}
        self.known = [each for each in self.known if each.number not in taken]
        return chosen

    def forget(self) -> None:
        """Other runs may have come, or been cancelled, since these were found."""
        self.known = []

    def looked(self) -> None:
        """Somebody looks for runs now."""
        with self._lock:
            self._ended = 0
        self.more = bool(self.windows.full())  # of these none is looked for

    def wants_more(self) -> bool:
        """Whether enough has ended since the last look that another one pays."""
        with self._lock:
            return self.more and (self._ended >= _BATCH or not self._claims)

    def free(self) -> int:
        """Threads that have nothing to do."""
        with self._lock:
            return self._threads - len(self._claims)

    def owners(self) -> Counter[int | None]:
        """How many runs of each user are under way."""
        with self._lock:
            return Counter(claim.owner for claim in self._claims)

    def begin(self, claim: Claim, deliver: Callable[[Claim], bool]) -> None:
        """Have a thread send a run."""
        with self._lock:
            self._claims.add(claim)
            self.idle.clear()
        self.windows.begin(claim.service)
        self.pool.submit(self._run, claim, deliver)

    def _run(self, claim: Claim, deliver: Callable[[Claim], bool]) -> None:
        well = False
        try:
            well = deliver(claim)
        finally:
            self.windows.end(claim.service, well=well)
            with self._lock:
                self._claims.discard(claim)
                self._ended += 1
                if not self._claims:
                    self.idle.set()


def choose(
    candidates: Collection[Candidate],
    under_way: Mapping[int | None, int],
    room: Callable[[int | None], int],
    free: int,
) -> list[Candidate]:
    """Choose what is sent now: whoever has least under way first; of one user the oldest.

    Parameters
    ----------
    under_way
        Runs of each owner that are being sent.
    room
        Says how many calls more a service may have.
    free
        Most that are chosen.
    """
    chosen: list[Candidate] = []
    taken: Counter[int | None] = Counter()
    order = sorted(candidates, key=lambda c: (c.turn + under_way.get(c.owner, 0), c.number))
    for each in order:
        if len(chosen) == free:
            break
        if taken[each.service] < room(each.service):
            taken[each.service] += 1
            chosen.append(each)
    return chosen


def _to_call(now: datetime, *columns: Any) -> Select[Any]:
    """Runs that are due and whose services are called; those in a worker have another queue."""
    return (
        select(*columns)
        .join(AnalysisService, AnalysisService.id == Analysis.service_id, isouter=True)
        .where(
            _due(now),
            or_(AnalysisService.id.is_(None), AnalysisService.url.not_like(f"{LOCAL}%")),
        )
    )


def _due(now: datetime) -> ColumnElement[bool]:
    """Runs that wait to be sent, and that no process has claimed."""
    return (Analysis.status == AnalysisStatus.QUEUED) & or_(
        Analysis.next_try_at.is_(None), Analysis.next_try_at <= now
    )
