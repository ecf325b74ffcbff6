"""Whether a service answers, for whoever sets it up."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from sqlalchemy import select

from firstlight.models.analysis import AnalysisService
from firstlight.models.database import Database
from firstlight.remotes.analysis_client import Authentication, CallOutcome, ServiceReply
from firstlight.services.access import Viewer
from firstlight.services.analyses.analysis_services import AnalysisServiceMissing
from firstlight.services.analyses.sealed_secrets import SealedSecrets
from firstlight.services.analyses.service_fields import LOCAL
from firstlight.services.visibility import seen_by

__all__ = ["ConnectionTest"]

_NO_GET = (404, 405, 501)  # it is there, and answers to POST alone


class Client(Protocol):
    """What calls: an `AnalysisClient`."""

    def look(self, url: str, authentication: Authentication) -> ServiceReply:
        """Ask a service whether it is there."""
        ...


class ConnectionTest:
    """Calls services by GET, which starts nothing.

    Parameters
    ----------
    seals
        Opens what services want to see of us.
    local_names
        Gets the services that are installed here.
    """

    def __init__(
        self,
        *,
        database: Database,
        client: Client,
        seals: SealedSecrets,
        local_names: Callable[[], Collection[str]],
    ) -> None:
        self._database = database
        self._client = client
        self._seals = seals
        self._local_names = local_names

    def connection_test(self, viewer: Viewer, service_id: int) -> dict[str, Any]:
        """Call a service, and tell what came.

        Returns
        -------
        dict
            ``ok``; ``status`` of HTTP or None; ``message``, a sentence; ``hint`` or None.

        Raises
        ------
        Forbidden, NotSignedIn
            The viewer sets up no services.
        AnalysisServiceMissing
            There is none that they may see.
        """
        viewer.require("manage_services")
        with self._database.reading() as session:
            service = session.scalar(
                select(AnalysisService).where(
                    AnalysisService.id == service_id, seen_by(viewer, AnalysisService.audience_id)
                )
            )
        if service is None:
            raise AnalysisServiceMissing(subject=service_id)
        if service.upload_only:
            return _told(True, "results of this service are uploaded; it is never called")
        if service.url.startswith(LOCAL):
            return self._of_local(service.url.removeprefix(LOCAL))
        sealed = service.sealed_authinfo
        facts = self._seals.open(sealed) if sealed else {}
        authentication = Authentication(service.authentication_type, facts)
        return _of_reply(self._client.look(service.url, authentication))

    def _of_local(self, name: str) -> dict[str, Any]:
        if name in self._local_names():
            return _told(True, "this service is installed here, and runs in a worker")
        return _told(False, f"no service {name} is installed here")


def _of_reply(reply: ServiceReply) -> dict[str, Any]:
    if reply.outcome is CallOutcome.TAKEN:
        said = f": {reply.text}" if reply.text else ""
        return _told(True, f"the service answered {reply.status}{said}", reply.status)
    if reply.status in _NO_GET:
        message = f"a server answered {reply.status} to GET, as many services do that take POST"
        return _told(True, message, reply.status, "look at the path if runs fail")
    error = reply.error or {}
    message = str(error.get("message") or "no answer")
    if reply.status is None and error.get("found"):
        message = f"{message} ({error['found']})"
    return _told(False, message, reply.status, error.get("hint"))


def _told(
    ok: bool, message: str, status: int | None = None, hint: str | None = None
) -> dict[str, Any]:
    return {"ok": ok, "status": status, "message": message, "hint": hint}
