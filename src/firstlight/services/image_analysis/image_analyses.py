"""Analyses of uploaded images: asked for, looked at, cancelled, and their photometry accepted."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from firstlight.catalogs.registry import UnknownCatalog
from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.instruments.registry import get_instrument_class, instrument_names
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.event import record_events
from firstlight.models.image_analysis import AnalysisState, ImageAnalysis, UploadedImage
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.finding.served_files import FileService, ServedFile
from firstlight.services.image_analysis.accepted_photometry import AcceptedPhotometry
from firstlight.services.image_analysis.image_analysis_end import ended, state_event
from firstlight.services.image_analysis.image_analysis_limits import ImageAnalysisLimits
from firstlight.services.image_analysis.image_analysis_parameters import (
    ENGINES,
    ImageAnalysisParameters,
)
from firstlight.services.image_analysis.image_analysis_queue import in_turns, last_turns
from firstlight.services.image_analysis.image_analysis_shapes import analysis_shape, steps_waiting
from firstlight.services.image_analysis.image_uploads import (
    SUFFIXES,
    own_audience,
    upload_shape,
    uploads_of,
)
from firstlight.services.objects.sharing import chosen_audience
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import authors
from firstlight.services.visibility import seen_by

__all__ = [
    "Catalogues",
    "ImageAnalysisMissing",
    "ImageAnalysisService",
    "QueueFull",
    "ReportMissing",
    "WrongState",
]

Analyses = list[dict[str, Any]]

_MOST_LISTED = 200
_UNFINISHED = (AnalysisState.QUEUED, AnalysisState.RUNNING)


class ImageAnalysisMissing(MissingError):
    """There is no such image analysis, or none that you may see."""

    code = "image_analysis.missing"


class ReportMissing(MissingError):
    """The analysis has no such picture or table."""

    code = "image_analysis.report_missing"


class WrongState(ConflictError):
    """An analysis in this state does not allow it."""

    code = "image_analysis.state"


class QueueFull(ConflictError):
    """You have too many analyses under way."""

    code = "image_analysis.queue_full"


class Catalogues:
    """Names of reference catalogues.

    Parameters
    ----------
    names
        Of all.
    offline
        Of those that need no network.
    default
        Which one is used where none is chosen.
    """

    def __init__(self, names: Sequence[str], offline: Sequence[str], default: str) -> None:
        self.names = list(names)
        self.offline = set(offline)
        self.default = default

    def check(self, name: str | None) -> None:
        """Raise `UnknownCatalog` unless there is one of this name."""
        if name is not None and name not in self.names:
            raise UnknownCatalog(subject=name, expected="one of " + ", ".join(self.names))


class ImageAnalysisService:
    """Everything about image analyses but the work itself, which `ImageAnalysisRun` does.

    Parameters
    ----------
    database
        Rows.
    files
        Serves the pictures.
    photometry
        Makes a point of an accepted measurement.
    catalogues
        That can be chosen.
    engines
        Names of those that are installed.
    """

    def __init__(
        self,
        *,
        database: Database,
        files: FileService,
        photometry: AcceptedPhotometry,
        catalogues: Callable[[], Catalogues],
        engines: Callable[[], Sequence[str]],
        limits: ImageAnalysisLimits | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._files = files
        self._photometry = photometry
        self._catalogues = catalogues
        self._engines = engines
        self._limits = limits or ImageAnalysisLimits()
        self._clock = clock

    # --- asked for -------------------------------------------------------------------------

    def defaults(
        self, viewer: Viewer, object_name: str, upload_id: str | None = None
    ) -> dict[str, Any]:
        """What the form begins with: what there is to choose, and what the image's header tells.

        Raises
        ------
        ObjectMissing, ImageUploadMissing
            There is none that the viewer may see.
        """
        catalogues = self._catalogues()
        with self._database.reading() as session:
            found = visible_object(session, viewer, object_name)
            upload = None
            if upload_id is not None:
                upload = upload_shape(uploads_of(session, viewer, [upload_id])[0])
        prefilled = ImageAnalysisParameters().model_dump(mode="json")
        if upload is not None:
            told = ("instrument", "filter", "obstime", "gain", "saturation")
            prefilled |= {name: upload["facts"].get(name) for name in told}
        installed = set(self._engines())
        return {
            "object": {"name": found.name, "ra": found.ra, "dec": found.dec},
            "upload": upload,
            "parameters": prefilled,
            "instruments": instrument_names(),
            "catalogs": [
                {"name": name, "network": name not in catalogues.offline}
                for name in catalogues.names
            ],
            "catalog": catalogues.default,
            "engines": [
                {
                    "name": name,
                    "available": name in installed,
                    "hint": None if name in installed else f"pip install 'firstlight[{name}]'",
                }
                for name in ENGINES
            ],
            "references": [],
            "limits": {
                "max_upload_bytes": self._limits.max_upload_bytes,
                "max_images": self._limits.max_images,
                "max_pixels": self._limits.max_pixels,
                "queued_per_user": self._limits.queued_per_user,
            },
            "suffixes": list(SUFFIXES),
        }

    def expect(self, viewer: Viewer, object_name: str) -> None:
        """Refuse early whom `start` would refuse, before a long upload is read.

        Raises
        ------
        NotSignedIn, Forbidden, ObjectMissing
            As `start`.
        """
        viewer.require("analyse")
        with self._database.reading() as session:
            visible_object(session, viewer, object_name)

    def instrument_name(self, number: int | str | None) -> str | None:
        """The name of an instrument by its number in the portal, if a camera here has it.

        Raises
        ------
        InvalidInput
            There is no such instrument.
        """
        if number is None or number == "":
            return None
        with self._database.reading() as session:
            found = session.get(InstrumentRecord, int(number)) if str(number).isdigit() else None
        if found is None:
            raise InvalidInput(
                "there is no such instrument", field="instrument_id", found=str(number)[:40]
            )
        return found.name if found.name in instrument_names() else None

    def start(
        self,
        viewer: Viewer,
        object_name: str,
        upload_ids: Sequence[str | uuid.UUID],
        parameters: Mapping[str, Any] | None = None,
        *,
        group_ids: object = None,
        by_caller: bool = False,
    ) -> Analyses:
        """Ask for the analysis of images; each is one analysis of its own.

        Parameters
        ----------
        parameters
            See `ImageAnalysisParameters`.
        group_ids
            Groups that may see the analyses besides; only the viewer by default.
        by_caller
            The caller does the work itself, at once: no worker is to take it up.

        Raises
        ------
        ObjectMissing, ImageUploadMissing
            There is none that the viewer may see.
        InvalidInput, UnknownInstrument, UnknownCatalog
            A parameter cannot be used.
        QueueFull
            With how many the viewer has under way.
        """
        viewer.require("analyse")
        chosen = self._checked(parameters or {})
        numbers = list(dict.fromkeys(map(str, upload_ids)))
        if not numbers:
            raise InvalidInput(field="upload_ids", found="none", expected="at least one image")
        with self._database.begin() as session:
            found = visible_object(session, viewer, object_name)
            uploads = uploads_of(session, viewer, numbers)
            self._check_queue(session, viewer, len(uploads))
            own = own_audience(session, viewer)
            audience = chosen_audience(session, viewer, group_ids, default=own)
            rows = [self._row(viewer, found, upload, chosen, audience) for upload in uploads]
            if by_caller:
                for row in rows:
                    row.state, row.started_at = AnalysisState.RUNNING, self._clock()
            session.add_all(rows)
            session.flush()
            record_events(session, [state_event(row, found.name) for row in rows])
            return self._told(session, viewer, rows)

    def rerun(
        self, viewer: Viewer, number: int, parameters: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Analyse the image of an analysis again, with other parameters or the same.

        Returns
        -------
        dict
            The new analysis; the old one stays as it is.
        """
        viewer.require("analyse")
        with self._database.begin() as session:
            old = self._own(session, viewer, number)
            chosen = self._checked(old.parameters if parameters is None else parameters)
            upload = uploads_of(session, viewer, [old.upload_id])[0]
            self._check_queue(session, viewer, 1)
            found = session.get_one(Object, old.object_id)
            row = self._row(viewer, found, upload, chosen, old.audience_id)
            session.add(row)
            session.flush()
            record_events(session, [state_event(row, found.name)])
            return self._told(session, viewer, [row])[0]

    def _row(
        self,
        viewer: Viewer,
        found: Object,
        upload: UploadedImage,
        chosen: ImageAnalysisParameters,
        audience: int,
    ) -> ImageAnalysis:
        return ImageAnalysis(
            object_id=found.id,
            upload_id=upload.id,
            owner_id=viewer.user_id,
            audience_id=audience,
            engine=chosen.engine,
            parameters=chosen.chosen(),
            state=AnalysisState.QUEUED,
            steps=steps_waiting(),
            files={},
            created_at=self._clock(),
        )

    def _checked(self, parameters: Mapping[str, Any]) -> ImageAnalysisParameters:
        chosen = ImageAnalysisParameters.checked(parameters)
        if chosen.instrument is not None:
            get_instrument_class(chosen.instrument)
        self._catalogues().check(chosen.catalog)
        if chosen.engine not in self._engines():
            raise InvalidInput(
                f"{chosen.engine} is not installed here",
                field="engine",
                found=chosen.engine,
                expected=", ".join(self._engines()),
                hint=f"pip install 'firstlight[{chosen.engine}]'",
            )
        return chosen

    def _check_queue(self, session: Session, viewer: Viewer, more: int) -> None:
        query = select(func.count()).where(
            ImageAnalysis.owner_id.is_not_distinct_from(viewer.user_id),
            ImageAnalysis.state.in_(_UNFINISHED),
        )
        waiting = session.scalar(query) or 0
        most = self._limits.queued_per_user
        if waiting + more > most:
            raise QueueFull(
                found=f"{waiting} under way and {more} more",
                expected=f"at most {most}",
                hint="wait for some of them to end, or cancel them",
            )

    # --- looked at -------------------------------------------------------------------------

    def list(self, viewer: Viewer, object_name: str) -> dict[str, Any]:
        """The analyses of an object that the viewer may see, newest first.

        Raises
        ------
        ObjectMissing
            There is no such object, or none that the viewer may see.
        """
        with self._database.reading() as session:
            found = visible_object(session, viewer, object_name)
            where = (
                ImageAnalysis.object_id == found.id,
                seen_by(viewer, ImageAnalysis.audience_id),
            )
            query = select(ImageAnalysis).where(*where).order_by(ImageAnalysis.id.desc())
            rows = session.scalars(query.limit(_MOST_LISTED)).all()
            total = len(rows)
            if total == _MOST_LISTED:
                counted = select(func.count()).select_from(ImageAnalysis).where(*where)
                total = session.scalar(counted) or 0
            return {"analyses": self._told(session, viewer, rows), "total": total}

    def get(self, viewer: Viewer, number: int) -> dict[str, Any]:
        """One analysis.

        Raises
        ------
        ImageAnalysisMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            return self._told(session, viewer, [self._seen(session, viewer, number)])[0]

    def report_file(self, viewer: Viewer, number: int, name: str) -> ServedFile:
        """Open a picture or table of a report.

        Raises
        ------
        ImageAnalysisMissing, ReportMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            key = self._seen(session, viewer, number).files.get(name)
        if key is None:
            raise ReportMissing(subject=name[:80])
        return self._files.by_key(key, name)

    # --- decided ---------------------------------------------------------------------------

    def cancel(self, viewer: Viewer, number: int) -> dict[str, Any]:
        """Stop an analysis; one that has ended stays as it is.

        Raises
        ------
        ImageAnalysisMissing, Forbidden
            There is none, or it is somebody else's.
        """
        with self._database.begin() as session:
            row = self._own(session, viewer, number)
            if row.state in _UNFINISHED:
                name = session.get_one(Object, row.object_id).name
                ended(session, row, name, AnalysisState.CANCELLED, None, self._clock())
            return self._told(session, viewer, [row])[0]

    def accept(
        self,
        viewer: Viewer,
        number: int,
        *,
        method: str | None = None,
        group_ids: object = None,
    ) -> dict[str, Any]:
        """Make the measurement a point of the object's light curve.

        Parameters
        ----------
        method
            ``psf`` or ``aperture``; that of the preview by default.
        group_ids
            Whose point it is; those who see the analysis by default.

        Raises
        ------
        WrongState
            There is nothing to accept, or it has been accepted.
        """
        viewer.require("analyse")
        with self._database.begin() as session:
            row = self._own(session, viewer, number)
            preview = (row.result or {}).get("preview")
            if row.state != AnalysisState.DONE or preview is None:
                raise WrongState(subject=number, found=str(row.state), expected="done")
            if row.accepted_at is not None:
                raise WrongState("it has been accepted", subject=number, hint="discard it first")
            chosen = method or preview["chosen"]
            if chosen not in preview["methods"]:
                raise InvalidInput(
                    field="method", found=str(chosen)[:40], expected=", ".join(preview["methods"])
                )
            audience = chosen_audience(session, viewer, group_ids, default=row.audience_id)
            row.photometry_key = self._photometry.add(session, row, chosen, audience)
            row.accepted_at, row.discarded_at = self._clock(), None
            return self._told(session, viewer, [row])[0]

    def discard(self, viewer: Viewer, number: int) -> dict[str, Any]:
        """Put an analysis aside; a point that was made of it goes.

        Raises
        ------
        WrongState
            It is not at its end.
        """
        viewer.require("analyse")
        with self._database.begin() as session:
            row = self._own(session, viewer, number)
            if row.state in _UNFINISHED:
                raise WrongState(subject=number, found=str(row.state), hint="cancel it")
            if row.discarded_at is None:
                if row.photometry_key is not None:
                    self._photometry.remove(session, row)
                row.photometry_key, row.accepted_at = None, None
                row.discarded_at = self._clock()
                name = session.get_one(Object, row.object_id).name
                record_events(session, [state_event(row, name, discarded=True)])
            return self._told(session, viewer, [row])[0]

    # --- rows ------------------------------------------------------------------------------

    def _seen(self, session: Session, viewer: Viewer, number: int) -> ImageAnalysis:
        """The analysis, if the viewer may see it and its object."""
        query = (
            select(ImageAnalysis)
            .join(Object, Object.id == ImageAnalysis.object_id)
            .where(
                ImageAnalysis.id == number,
                seen_by(viewer, ImageAnalysis.audience_id),
                seen_by(viewer, Object.audience_id),
            )
        )
        row = session.scalar(query) if 0 < number < 2**31 else None
        if row is None:
            raise ImageAnalysisMissing(subject=number)
        return row

    def _own(self, session: Session, viewer: Viewer, number: int) -> ImageAnalysis:
        row = self._seen(session, viewer, number)
        if not _is_own(viewer, row):
            raise Forbidden("the analysis is somebody else's", subject=viewer.name or None)
        return row

    def _told(self, session: Session, viewer: Viewer, rows: Sequence[ImageAnalysis]) -> Analyses:
        """The shapes of some analyses, with few queries however many they are."""
        objects = _by(session, Object.id, Object.name, {row.object_id for row in rows})
        uploads = _uploads(session, {row.upload_id for row in rows})
        owners = authors(session, (row.owner_id for row in rows))
        keys = {row.photometry_key for row in rows} - {None}
        points = _by(session, Photometry.key, Photometry.id, keys)
        waiting = self._places(session) if any(r.state in _UNFINISHED for r in rows) else {}
        return [
            analysis_shape(
                row,
                object_name=objects[row.object_id],
                filename=uploads[row.upload_id].filename,
                owner=owners.get(row.owner_id or 0, {}).get("username"),
                is_own=_is_own(viewer, row),
                position=waiting.get(row.id),
                removed_at=uploads[row.upload_id].removed_at,
                photometry_id=points.get(row.photometry_key),
            )
            for row in rows
        ]

    def _places(self, session: Session) -> dict[int, int]:
        """The place of each that waits, of all users, in the order of their turns."""
        query = (
            select(ImageAnalysis.id, ImageAnalysis.owner_id)
            .where(ImageAnalysis.state == AnalysisState.QUEUED)
            .order_by(ImageAnalysis.id)
        )
        waiting = [(number, owner) for number, owner in session.execute(query)]
        turns = last_turns(session, {owner for _, owner in waiting})
        return {number: place for place, number in enumerate(in_turns(waiting, turns), 1)}


def _is_own(viewer: Viewer, row: ImageAnalysis) -> bool:
    own = row.owner_id is not None and row.owner_id == viewer.user_id
    return own or viewer.sees_all or viewer.may("admin")


def _uploads(
    session: Session, wanted: set[uuid.UUID]
) -> dict[uuid.UUID, Row[uuid.UUID, str, datetime | None]]:
    if not wanted:
        return {}
    columns = (UploadedImage.id, UploadedImage.filename, UploadedImage.removed_at)
    rows = session.execute(select(*columns).where(UploadedImage.id.in_(wanted)))
    return {row.id: row for row in rows}


def _by(session: Session, key: Any, value: Any, wanted: set[Any]) -> dict[Any, Any]:
    if not wanted:
        return {}
    return {row[0]: row[1] for row in session.execute(select(key, value).where(key.in_(wanted)))}
