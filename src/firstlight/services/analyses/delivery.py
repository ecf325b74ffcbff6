"""Delivering one run: packed, kept, sent, and what the service said written down.

Whatever is killed here at whatever moment, the row says that the run waits, and it is sent
again when the claim on it has run out. A service may so be asked twice; of its answers the
first one counts, since both carry the same token.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError, InternalError, Kind
from firstlight.models.analysis import Analysis, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.remotes.analysis_client import Authentication, CallOutcome, ServiceReply
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.delivery_packing import PackedRun, RunPacker
from firstlight.services.analyses.run_ends import change_run, end_run, tell_run, thing_of
from firstlight.services.analyses.run_tokens import run_token
from firstlight.services.analyses.sealed_secrets import SealedSecrets

__all__ = ["CALLBACK_PATH", "Claim", "Delivered", "RunDelivery", "told_fault"]

CALLBACK_PATH = "/api/webhook/obj_analysis/"
_QUEUED = (AnalysisStatus.QUEUED,)
_MOST_DEFECTS = 3  # attempts that end in a fault of ours
# Calls wait for services side by side, but all else is work for one processor, which threads of
# the web server in the same process need as well: more at once would only slow the pages down.
_AT_THE_DESK = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that this process alone works on for a while."""

    number: int
    attempt: int
    owner: int | None = None
    service: int | None = None


class Delivered(StrEnum):
    """What became of one attempt."""

    TAKEN = "taken"  # the service has it
    LATER = "later"  # it is tried again
    FAILED = "failed"
    LEFT = "left"  # it had ended meanwhile


class Client(Protocol):
    """What calls: an `AnalysisClient`."""

    def send(
        self,
        url: str,
        document: Mapping[str, Any],
        authentication: Authentication,
        *,
        secrets: Collection[str] = (),
        ready: Mapping[str, bytes] | None = None,
    ) -> ServiceReply:
        """Hand a run over."""
        ...


class RunDelivery:
    """Delivers runs that were claimed.

    Parameters
    ----------
    packer
        Collects the data.
    client
        Makes the calls.
    secret
        The workspace's, from which tokens and keys are derived.
    base_url
        Gives the address at which services reach this server, without a slash at the end.
    """

    def __init__(
        self,
        *,
        database: Database,
        packer: RunPacker,
        client: Client,
        secret: bytes,
        base_url: Callable[[], str],
        settings: AnalysisSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._packer = packer
        self._client = client
        self._secret = secret
        self._seals = SealedSecrets(secret)
        self._base_url = base_url
        self._settings = settings or AnalysisSettings()
        self._clock = clock
        self._desk = threading.BoundedSemaphore(_AT_THE_DESK)

    def deliver(self, claim: Claim) -> Delivered:
        """Make one attempt."""
        try:
            with self._desk:
                run = self._packer.pack(claim.number)
                if run is None:
                    return Delivered.LEFT
                authentication = self._authentication(run)
                until = self._clock() + timedelta(seconds=run.timeout_s)
                # Before it is sent: a service may call back before its own answer is here.
                if not self._packer.keep(run, claim.attempt, {"invalid_after": until}):
                    return Delivered.LEFT
        except FirstlightError as fault:
            return self._unsent(claim, fault)
        except Exception as fault:  # noqa: BLE001, a fault of one run holds up no other
            _log.exception("analysis %d", claim.number)
            return self._unsent(claim, InternalError(found=type(fault).__name__))
        reply = self._send(run, until, authentication)
        with self._desk:
            return self._settle(claim, reply)

    def _authentication(self, run: PackedRun) -> Authentication:
        sealed = run.sealed_authinfo
        return Authentication(run.authentication_type, self._seals.open(sealed) if sealed else {})

    def _send(
        self, run: PackedRun, until: datetime, authentication: Authentication
    ) -> ServiceReply:
        token = run_token(self._secret, run.key)
        callback = f"{self._base_url()}{CALLBACK_PATH}{token}"
        document = {
            **run.document,
            "callback_url": callback,
            "progress_url": f"{callback}/progress",
            # As SkyPortal writes it: UTC, without saying so.
            "invalid_after": str(until.replace(tzinfo=None)),
        }
        try:
            return self._client.send(
                run.url, document, authentication, secrets=(token,), ready={"inputs": run.inputs}
            )
        except Exception as fault:  # noqa: BLE001, whatever it is, the service may have the run
            _log.exception("analysis %d", run.number)
            error = told_fault(InternalError(found=type(fault).__name__))
            return ServiceReply(CallOutcome.TRY_LATER, error=error)

    def _settle(self, claim: Claim, reply: ServiceReply) -> Delivered:
        """Write down what the service said, unless the run has ended meanwhile."""
        if reply.outcome is CallOutcome.TAKEN:
            values = {
                "status": AnalysisStatus.PENDING,
                "status_message": reply.text or None,
                "error": None,
                "next_try_at": None,
            }
            with self._database.begin() as session:
                row = change_run(session, claim.number, values, holding=_QUEUED)
                if row is not None:
                    tell_run(session, row, thing_of(row), "sent")
            return Delivered.TAKEN
        error = reply.error or {}
        if reply.outcome is CallOutcome.REFUSED:
            return self._fail(claim, error)
        return self._later(claim, error, reply.retry_after_s or 0.0)

    def _unsent(self, claim: Claim, fault: FirstlightError) -> Delivered:
        """What could not even be sent: for a reason that stays, or one that passes."""
        ours = fault.kind is Kind.INTERNAL
        if fault.kind is Kind.REMOTE or (ours and claim.attempt < _MOST_DEFECTS):
            return self._later(claim, told_fault(fault), 0.0)
        return self._fail(claim, told_fault(fault))

    def _fail(self, claim: Claim, error: Mapping[str, Any]) -> Delivered:
        with self._database.begin() as session:
            end_run(
                session,
                claim.number,
                AnalysisStatus.FAILURE,
                Analysis.status == AnalysisStatus.QUEUED,
                Analysis.attempts == claim.attempt,
                now=self._clock(),
                message=str(error.get("message") or "the run could not be sent"),
                error=error,
            )
        return Delivered.FAILED

    def _later(self, claim: Claim, error: Mapping[str, Any], asked_s: float) -> Delivered:
        """Note what went wrong and when to try again; give up after long enough."""
        now = self._clock()
        pauses = self._settings.retry_after_s
        pause = max(pauses[min(claim.attempt, len(pauses)) - 1], asked_s)
        again = now + timedelta(seconds=pause)
        with self._database.begin() as session:
            give_up = self._settings.give_up
            began = session.scalar(select(Analysis.created_at).where(Analysis.id == claim.number))
            if began is not None and give_up is not None and again > began + give_up:
                return self._given_up(session, claim, error, now)
            said = str(error.get("message") or "not sent").rstrip(".")
            values = {
                "next_try_at": again,
                "error": dict(error),
                "status_message": f"{said}; tried {_times(claim.attempt)}, and tried again"[:2000],
            }
            mine = Analysis.attempts == claim.attempt
            row = change_run(session, claim.number, values, mine, holding=_QUEUED)
            if row is not None:
                tell_run(session, row, thing_of(row), "delayed")
        return Delivered.LATER

    def _given_up(
        self, session: Session, claim: Claim, error: Mapping[str, Any], now: datetime
    ) -> Delivered:
        said = str(error.get("message") or "not sent").rstrip(".")
        end_run(
            session,
            claim.number,
            AnalysisStatus.FAILURE,
            Analysis.status == AnalysisStatus.QUEUED,
            Analysis.attempts == claim.attempt,
            now=now,
            message=f"given up after it was tried {_times(claim.attempt)}: {said}",
            error=error,
        )
        return Delivered.FAILED


def told_fault(fault: FirstlightError) -> dict[str, Any]:
    """What a run shows of an error: nothing of our machine room, and no addresses."""
    facts = fault.as_dict()
    if fault.kind is Kind.INTERNAL or (fault.kind is Kind.REMOTE and facts["code"] in _OURS):
        message = (type(fault).__doc__ or "").strip().splitlines()[0]
        return {"code": facts["code"], "message": message}
    names = ("code", "message", "subject", "field", "found", "expected", "hint")
    return {name: facts[name] for name in names if facts[name] is not None}


_OURS = frozenset({"database.unreachable", "storage.unreachable", "storage.refused"})


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
