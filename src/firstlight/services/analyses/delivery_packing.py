"""A run made ready to be sent: with what its owner may see and do at this moment."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, UserError
from firstlight.models.account import User
from firstlight.models.analysis import (
    Analysis,
    AnalysisFile,
    AnalysisFileKind,
    AnalysisService,
    AnalysisStatus,
)
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.analyses.analysis_inputs import about_object, pack
from firstlight.services.analyses.analysis_inputs_extinction import reddening_to_remove
from firstlight.services.analyses.analysis_inputs_stamp import stamp
from firstlight.services.analyses.result_files import ResultFiles
from firstlight.services.analyses.run_ends import change_run
from firstlight.services.analyses.submissions import Product
from firstlight.services.objects.bandpasses import Bandpasses
from firstlight.services.visibility import seen_by

__all__ = ["OwnerGone", "PackedRun", "RunPacker", "ServiceGone"]


_WITH_OWNER = (
    select(Analysis, User)
    .join(User, User.id == Analysis.owner_id, isouter=True)
    .where(Analysis.id == bindparam("run"))
)


class ServiceGone(ConflictError):
    """The run's service is no longer there, or takes no runs."""

    code = "analysis.service_gone"


class OwnerGone(ConflictError):
    """Whoever started the run is no longer there, or may no longer run this service here."""

    code = "analysis.owner_gone"


@dataclass(frozen=True, slots=True)
class PackedRun:
    """A run with its data.

    Attributes
    ----------
    inputs
        JSON of what is sent under ``inputs``, the parameters included.
    document
        What is sent beside it, but for the addresses and the time limit.
    values
        What the row says of the data.
    """

    number: int
    key: uuid.UUID
    url: str
    timeout_s: float
    authentication_type: str
    sealed_authinfo: str | None
    inputs: bytes
    document: dict[str, Any]
    values: dict[str, Any]
    kept: bytes = field(repr=False)


class RunPacker:
    """Collects the data of runs, and keeps them.

    Parameters
    ----------
    database
        The tables.
    files
        Where the data are kept as they were sent.
    public_sites
        Sites that anyone may read; None for all.
    bandpasses
        With which magnitudes that were sent without a flux are put into AB.
    dust_maps
        Folder of the maps of the Milky Way's dust; without them a run that wants its photometry
        corrected fails.
    """

    def __init__(
        self,
        *,
        database: Database,
        files: ResultFiles,
        public_sites: frozenset[str] | None = frozenset(),
        bandpasses: Bandpasses | None = None,
        dust_maps: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._files = files
        self._public = public_sites
        self._bandpasses = bandpasses or Bandpasses()
        self._dust_maps = dust_maps
        self._clock = clock

    def pack(self, number: int) -> PackedRun | None:
        """The run as it is sent now; None where it has ended.

        Raises
        ------
        ServiceGone, OwnerGone
            It cannot be sent, now or later.
        NoInputs, InvalidInput
            There is nothing to be sent.
        """
        with self._database.together(), self._database.reading() as session:
            found = session.execute(_WITH_OWNER, {"run": number}).one_or_none()
            if found is None or not AnalysisStatus(found.Analysis.status).waiting:
                return None
            row: Analysis = found.Analysis
            viewer = self._viewer(session, found.User)
            service, thing = _service_and_object(session, viewer, row)
            types = service.input_data_types
            packed = pack(
                session, viewer, thing, types, row.input_filters, service.input_format,
                bandpasses=self._bandpasses,
                reddening=reddening_to_remove(row.analysis_parameters, thing, self._dust_maps),
            )  # fmt: skip
            mark = stamp(session, viewer, thing, types, row.input_filters)
            return _packed(row, service, thing, packed, mark)

    def keep(self, run: PackedRun, attempt: int, values: Mapping[str, Any] | None = None) -> bool:
        """Write down what is about to be sent.

        Parameters
        ----------
        attempt
            Which one this is; where another has begun since, this one is over.
        values
            What else the row is to say.

        Returns
        -------
        bool
            Whether to go on; False where the run has ended.
        """
        product = Product(AnalysisFileKind.INPUTS, 0, "", "application/json", run.kept)
        kept = self._files.keep(run.number, [product])
        said = {**run.values, "sent_at": self._clock(), **(values or {})}
        old: list[str] = []
        try:
            with self._database.begin() as session:
                mine = Analysis.attempts == attempt
                waits = change_run(session, run.number, said, mine) is not None
                if waits:
                    old = _replaced(session, run.number) if attempt > 1 else []
                    self._files.save(session, kept)
        except BaseException:
            self._files.discard(kept)
            raise
        if not waits:
            self._files.discard(kept)
        self._files.remove(old)
        return waits

    def _viewer(self, session: Session, owner: User | None) -> Viewer:
        if owner is None:
            raise OwnerGone("the account that started this run was removed")
        try:
            viewer = viewer_of_account(session, owner, self._clock(), public=self._public)
            viewer.require("analyse")
        except UserError as fault:
            raise OwnerGone(
                "the account that started this run may no longer run analyses",
                subject=owner.username,
            ) from fault
        return viewer


def _service_and_object(
    session: Session, viewer: Viewer, row: Analysis
) -> tuple[AnalysisService, Object]:
    query = (
        select(
            AnalysisService,
            seen_by(viewer, AnalysisService.audience_id).label("may_use"),
            Object,
            seen_by(viewer, Object.audience_id).label("may_see"),
        )
        .select_from(Object)
        .join(AnalysisService, AnalysisService.id == row.service_id, isouter=True)
        .where(Object.id == row.object_id)
    )
    found = session.execute(query).one_or_none()
    service: AnalysisService | None = None if found is None else found.AnalysisService
    if found is None or service is None:
        raise ServiceGone("the service of this run was removed", subject=row.service_name)
    if not service.enabled:
        raise ServiceGone("the service takes no runs now: it was disabled", subject=service.name)
    if service.upload_only:
        raise ServiceGone(
            "results of this service are uploaded; it is never called", subject=service.name
        )
    if not found.may_use:
        raise OwnerGone(
            "the account that started this run may no longer use the service",
            subject=service.name,
        )
    if not found.may_see:
        raise OwnerGone("the account that started this run may no longer see the object")
    return service, found.Object


def _packed(
    row: Analysis, service: AnalysisService, thing: Object, packed: Any, mark: str
) -> PackedRun:
    parameters = row.analysis_parameters
    inputs = to_json({**packed.document, "analysis_parameters": parameters}, inf_nan_mode="null")
    used = to_json(packed.used)
    return PackedRun(
        number=row.id,
        key=row.key,
        url=service.url,
        timeout_s=service.timeout,
        authentication_type=service.authentication_type,
        sealed_authinfo=service.sealed_authinfo,
        inputs=inputs,
        document={
            "callback_method": "POST",
            "analysis_resource_type": "obj",
            "resource_id": thing.name,
            "analysis_parameters": parameters,
            "service_version": service.version,
            "inputs_sha256": packed.sha256,
            "object": about_object(thing),
            **({} if packed.extinction is None else {"extinction": packed.extinction}),
        },
        values={
            "service_version": service.version,
            "inputs_sha256": packed.sha256,
            "inputs_stamp": mark,
            "inputs_count": packed.counts,
        },
        kept=b'{"inputs":' + inputs + b',"rows":' + used + b"}",
    )


def _replaced(session: Session, number: int) -> list[str]:
    """Remove the rows of what an earlier attempt sent; returns the keys of their bytes."""
    theirs = (
        AnalysisFile.analysis_id == number,
        AnalysisFile.kind == AnalysisFileKind.INPUTS,
    )
    keys = list(session.scalars(select(AnalysisFile.key).where(*theirs)))
    if keys:
        session.execute(delete(AnalysisFile).where(*theirs))
    return keys
