"""Alerts on measurements: packed once, kept as files, and sent until they have arrived."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select, true
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError, MissingError
from firstlight.formats.alert_packet import (
    NJY_OF_UJY,
    encode_alert,
    read_alerts,
    stamp_bytes,
)
from firstlight.models.alert import Alert
from firstlight.models.audience import Audience, AudienceSite
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.forced_run import ForcedRun
from firstlight.models.image import Image, ImageInput
from firstlight.models.measurement import Cutouts, Measurement, MeasurementSet, looks_back
from firstlight.models.object import Object
from firstlight.models.photometry import FORCED, Photometry
from firstlight.models.reference import Reference
from firstlight.models.step_run import is_current
from firstlight.remotes.alert_sink import AlertSink
from firstlight.services.alerts.settings import AlertSettings
from firstlight.storage.store import Store

__all__ = ["AlertFileMissing", "AlertReport", "AlertService"]

_BATCH = 100
_MOST_EARLIER = 1000


class AlertFileMissing(MissingError):
    """There is no alert on this measurement."""

    code = "alert.missing"


@dataclass(frozen=True)
class AlertReport:
    """What was done.

    Attributes
    ----------
    packed
        Packets made now.
    sent
        Packets that have arrived now.
    failures
        One sentence for each that has not.
    withheld
        Measurements that are told to nobody, since not everyone may see them.
    looking_back
        Those that are not told of, since their image was compared with a later reference.
    """

    packed: int
    sent: int
    failures: list[str]
    withheld: int = 0
    looking_back: int = 0

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "packed": self.packed,
            "sent": self.sent,
            "failures": self.failures,
            "withheld": self.withheld,
            "looking_back": self.looking_back,
        }


class AlertService:
    """Tells the world of measurements that are kept, each of them once.

    Parameters
    ----------
    database, store
        Rows, and where the packets' files go.
    settings
        What is told of, and to whom.
    make_sink
        Makes what takes the packets; called when there is one to be sent.
    public_sites
        Sites that anyone may read: what they measured goes out. None for all sites.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        settings: AlertSettings,
        make_sink: Callable[[], AlertSink],
        public_sites: frozenset[str] | None = frozenset(),
    ) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._make_sink = make_sink
        self._public_sites = public_sites

    def send(self) -> AlertReport:
        """Pack what has not been told of yet, and send what has not arrived yet."""
        packed = sum(self._pack(number) for number in self._untold())
        sent, failures = self._send_waiting()
        withheld, looking_back = self._untold_of()
        return AlertReport(packed, sent, failures, withheld, looking_back)

    def listed(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Alerts there are, the latest first."""
        query = (
            select(Alert, Object.name)
            .join(Object, Object.id == Alert.object_id)
            .order_by(Alert.measurement_id.desc())
            .limit(limit)
        )
        with self._database.reading() as session:
            return [
                {
                    "measurement": alert.measurement_id,
                    "object": name,
                    "topic": alert.topic,
                    "file": alert.filename,
                    "sent_at": None
                    if alert.sent_at is None
                    else alert.sent_at.isoformat(" ", "seconds"),
                    "attempts": alert.attempts,
                    "error": (alert.error or {}).get("message"),
                }
                for alert, name in session.execute(query)
            ]

    def packet(self, measurement: int) -> dict[str, Any]:
        """The packet on a measurement.

        Raises
        ------
        AlertFileMissing
            There is none.
        """
        with self._database.reading() as session:
            alert = session.get(Alert, measurement)
        if alert is None:
            raise AlertFileMissing(subject=measurement, hint="firstlight alert list")
        return read_alerts(self._store.read(alert.filename), name=alert.filename)[0]

    def _untold(self) -> Iterator[int]:
        """Numbers of those that go out, the oldest first."""
        after = 0
        while True:
            query = (
                self._worth_telling()
                .where(Measurement.id > after, self._goes_out())
                .order_by(Measurement.id)
                .limit(_BATCH)
            )
            with self._database.reading() as session:
                numbers = session.scalars(query).all()
            if not numbers:
                return
            after = numbers[-1]
            yield from numbers

    def _untold_of(self) -> tuple[int, int]:
        """How many would be told of if everyone might see them, and if they were news."""
        kept_back = self._worth_telling().where(~self._goes_out()).subquery()
        old = self._unpacked().where(looks_back(), self._goes_out()).subquery()
        with self._database.reading() as session:
            withheld = session.scalar(select(func.count()).select_from(kept_back)) or 0
            if self._settings.later_references:
                return withheld, 0
            return withheld, session.scalar(select(func.count()).select_from(old)) or 0

    def _worth_telling(self) -> Select[int]:
        """Numbers of those that are to be told of, whoever may see them."""
        unpacked = self._unpacked()
        return unpacked if self._settings.later_references else unpacked.where(~looks_back())

    def _unpacked(self) -> Select[int]:
        """Numbers of current, kept measurements without an alert."""
        return (
            select(Measurement.id)
            .join(MeasurementSet, MeasurementSet.id == Measurement.set_id)
            .join(Image, Image.id == MeasurementSet.image_id)
            .where(
                Measurement.is_kept.is_(True),
                Measurement.object_id.is_not(None),
                Measurement.known_as.is_(None),
                Measurement.real >= self._settings.min_real,
                is_current(Measurement.set_id),
                ~exists().where(Alert.measurement_id == Measurement.id),
            )
        )

    def _goes_out(self) -> ColumnElement[bool]:
        if self._settings.everything:
            return true()
        sites = select(AudienceSite.audience_id)
        if self._public_sites is not None:
            told = self._public_sites.union(self._settings.sites)
            sites = sites.where(AudienceSite.site.in_(told))
        public = select(Audience.id).where(Audience.key == "public")
        return Measurement.audience_id.in_(sites.union(public))

    def _pack(self, number: int) -> bool:
        """Write the packet on one measurement, and the row when the file is there."""
        with self._database.reading() as session:
            measured = session.get_one(Measurement, number)
            packet = self._packet(session, measured)
        content = encode_alert(packet)
        day = int(measured.mjd)
        name = f"alerts/{self._settings.topic}/{day}/{number}.avro"
        # A row that is not there yet owns no file: what lies there is from a run that died.
        stored = self._store.put(name, content, overwrite=True)
        with self._database.begin() as session:
            if session.get(Alert, number) is not None:
                return False
            session.add(
                Alert(
                    measurement_id=number,
                    object_id=measured.object_id,
                    topic=self._settings.topic,
                    filename=name,
                    sha256=stored.sha256,
                )
            )
        return True

    def _packet(self, session: Session, measured: Measurement) -> dict[str, Any]:
        assert measured.object_id is not None  # noqa: S101, asked for above
        thing = session.get_one(Object, measured.object_id)
        all_of_it = self._settings.later_references
        sources = _sources(session, measured.object_id, [] if all_of_it else [~looks_back()])
        now = next(each for each in sources if each["diaSourceId"] == measured.id)
        since = measured.mjd - self._settings.history_days
        moments = [each["midpointMjdUtc"] for each in sources]
        stamps = _stamps(session, measured)
        return {
            "alertId": measured.id,
            "publisher": self._settings.publisher,
            "diaSource": {**now, "diaObjectId": thing.name},
            "prvDiaSources": [
                {**each, "diaObjectId": thing.name}
                for each in sources
                if since <= each["midpointMjdUtc"] < measured.mjd
            ],
            "prvDiaForcedSources": _forced(
                session, measured, since, [] if all_of_it else [~_point_looks_back()]
            ),
            "diaObject": {
                "diaObjectId": thing.name,
                "ra": thing.ra,
                "dec": thing.dec,
                "nDiaSources": len(sources),
                "firstDiaSourceMjdUtc": min(moments),
                "lastDiaSourceMjdUtc": max(moments),
            },
            "cutoutScience": stamps[0],
            "cutoutTemplate": stamps[1],
            "cutoutDifference": stamps[2],
        }

    def _send_waiting(self) -> tuple[int, list[str]]:
        waiting = (
            select(Alert, Object.name)
            .join(Object, Object.id == Alert.object_id)
            .where(Alert.sent_at.is_(None))
            .order_by(Alert.measurement_id)
        )
        with self._database.reading() as session:
            rows = session.execute(waiting).all()
        if not rows:
            return 0, []
        sink = self._make_sink()
        sent, failures = 0, []
        for alert, name in rows:
            fault = self._send_one(sink, alert, name)
            if fault is None:
                sent += 1
            else:
                failures.append(f"alert {alert.measurement_id}: {fault}")
        return sent, failures

    def _send_one(self, sink: AlertSink, alert: Alert, name: str) -> FirstlightError | None:
        fault: FirstlightError | None = None
        try:
            sink.send(alert.topic, name, self._store.read(alert.filename))
        except FirstlightError as why:
            fault = why
        with self._database.begin() as session:
            row = session.get_one(Alert, alert.measurement_id)
            row.attempts += 1
            row.error = None if fault is None else fault.as_dict()
            row.sent_at = utc_now() if fault is None else None
        return fault


def _sources(
    session: Session, thing: uuid.UUID, told: Sequence[ColumnElement[bool]]
) -> list[dict[str, Any]]:
    """Current, kept measurements of an object, the latest first."""
    query = (
        select(Measurement, MeasurementSet, Image, Exposure)
        .join(MeasurementSet, MeasurementSet.id == Measurement.set_id)
        .join(Image, Image.id == MeasurementSet.image_id)
        .join(Exposure, Exposure.id == Image.exposure_id)
        .where(
            Measurement.object_id == thing,
            Measurement.is_kept.is_(True),
            is_current(Measurement.set_id),
            *told,
        )
        .order_by(Measurement.mjd.desc(), Measurement.id.desc())
        .limit(_MOST_EARLIER)
    )
    return [
        {
            "diaSourceId": row.id,
            "visit": exposure.label,
            "detector": image.section_id,
            "instrument": image.instrument,
            "midpointMjdUtc": row.mjd,
            "band": row.filter,
            "ra": row.ra,
            "dec": row.dec,
            "positionErr": row.position_err,
            "x": row.x,
            "y": row.y,
            "psfFlux": _njy(row.flux_ujy),
            "psfFluxErr": _njy(row.flux_err_ujy),
            "snr": row.score,
            "reliability": row.real,
            "knownAs": row.known_as,
            "flags": row.flags,
            "provenance": measured.provenance_id,
        }
        for row, measured, image, exposure in session.execute(query)
    ]


def _point_looks_back() -> ColumnElement[bool]:
    """Whether a point of forced photometry is on a difference from a later reference."""
    return exists().where(
        ForcedRun.image_id == Photometry.image_id,
        ImageInput.image_id == ForcedRun.difference_id,
        ImageInput.role == "reference",
        Reference.image_id == ImageInput.input_image_id,
        Reference.mjd_start > Photometry.mjd,
    )


def _forced(
    session: Session, measured: Measurement, since: float, told: Sequence[ColumnElement[bool]]
) -> list[dict[str, Any]]:
    query = (
        select(Photometry)
        .where(
            Photometry.object_id == measured.object_id,
            Photometry.origin == FORCED,
            Photometry.mjd >= since,
            Photometry.mjd < measured.mjd,
            *told,
        )
        .order_by(Photometry.mjd.desc())
        .limit(_MOST_EARLIER)
    )
    return [
        {
            "midpointMjdUtc": point.mjd,
            "band": point.filter,
            "psfFlux": _njy(point.flux_ujy),
            "psfFluxErr": _njy(point.flux_err_ujy),
            "limitingMag": point.limiting_mag,
            "flags": point.flags,
        }
        for point in session.scalars(query)
    ]


def _stamps(session: Session, measured: Measurement) -> Sequence[bytes | None]:
    """New image, reference, difference; None each where their file has gone."""
    cutouts = session.scalars(
        select(Cutouts)
        .join(MeasurementSet, MeasurementSet.cutouts_id == Cutouts.id)
        .where(MeasurementSet.id == measured.set_id)
    ).one()
    try:
        pixels = cutouts.file.row(measured.number).stamps.pixels[0]
    except MissingError:
        return (None, None, None)
    return [stamp_bytes(plane) for plane in pixels]


def _njy(value: float | None) -> float | None:
    return None if value is None else value * NJY_OF_UJY
