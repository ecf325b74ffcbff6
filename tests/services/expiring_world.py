"""A small archive whose things expire: rows with their bytes, made by hand."""

import hashlib
import itertools
import uuid
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, select

from firstlight.models import (
    Arrival,
    ArrivalState,
    Event,
    Exposure,
    ExposureCard,
    ExposureFile,
    ExposureHeader,
    Image,
    ImageInput,
    InfoImage,
    InfoImageFile,
    LightCurve,
    LightCurveSet,
    Object,
    Observation,
    ObservationFile,
    PassingFile,
    Photometry,
    Registration,
    Removal,
    SourceList,
    StepRun,
    UploadTicket,
    WorldCoordinates,
    ZeroPoint,
)
from firstlight.models.audience import public_audience
from firstlight.models.provenance import Provenance, Software
from firstlight.provenance.lineage import Lineage
from firstlight.services.expiry.expiration import ExpirationService
from firstlight.services.expiry.expiration_rules import ExpirationRules, ExpirationSettings

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLES = (
    Exposure, ExposureFile, ExposureHeader, ExposureCard, Image, ImageInput, SourceList,
    WorldCoordinates, ZeroPoint, Registration, StepRun, Observation, ObservationFile,
    LightCurveSet, LightCurve, Photometry, InfoImage, InfoImageFile, PassingFile,
    Arrival, UploadTicket,
)  # fmt: skip


class World:
    def __init__(self, database, store, prefix=""):
        self.database, self.store, self.prefix = database, store, prefix
        self.numbers = itertools.count(1)
        self.lineage = Lineage("step", "1")
        with database.begin() as session:
            Provenance.record(session, self.lineage)
            software = Software.record(session).id
            self.audience = public_audience(session)
        self.made = {"provenance_id": self.lineage.id, "software_id": software}

    def service(self, *, grace=timedelta(), store=None, **settings):
        return ExpirationService(
            database=self.database,
            store=store or self.store,
            settings=ExpirationSettings(**settings),
            grace=grace,
        )

    def add(self, *rows):
        with self.database.begin() as session:
            for row in rows:
                session.add(row)
                session.flush()
        return rows[0]

    def put(self, key, content=b"bytes"):
        key = self.prefix + key
        self.store.put(key, content)
        return key

    def exposure(self, data_type="EP", site="sro", *, collection="data", observation=None, **more):
        """An exposure with three files, headers and cards, that came at START."""
        number = next(self.numbers)
        base = f"{site}-kb001ms-20260301-{number:08d}"
        rules = ExpirationRules(more.pop("settings", ExpirationSettings()))
        facts = {
            "data_type": data_type,
            "site": site,
            "collection": collection,
            "name": base,
            "arrived": START,
        }
        exposure = Exposure(
            nofile=True, instrument="GenericFITS", kind="unknown", base_filename=base,
            data_type=data_type,
            site=site, collection=collection, night=date(2026, 3, 1), created_at=START,
            observation_id=observation, expires_at=rules.expires_at(**facts), **more,
        )  # fmt: skip
        self.add(exposure)
        for tail in ("00.fits.fz", "10.jpg", "11.jpg"):
            self.file(exposure, f"{base}-{data_type}{tail}")
        self.add(
            ExposureHeader(id=uuid.uuid4(), exposure_id=exposure.id, rank=0, cards=[]),
            ExposureCard(card=number, sort_mjd=exposure.sort_mjd, exposure_id=exposure.id),
            StepRun(
                exposure_id=exposure.id, section_id="0", step="preprocess", number=0,
                state="done", notes={},
            ),
        )  # fmt: skip
        return exposure

    def file(self, exposure, name, content=b"bytes"):
        key = self.put(f"{exposure.collection}/{exposure.site}/{name}", content)
        row = ExposureFile(
            exposure_id=exposure.id, name=name, role="other", key=key, size=len(content),
            sha256=hashlib.sha256(content).hexdigest(), md5="0" * 32,
        )  # fmt: skip
        row.identify()
        return self.add(row)

    def image(self, exposure, kind="science"):
        """An image with a source list, solution and zero point, and their files."""
        number = next(self.numbers)
        image = Image(
            id=uuid.uuid4(), kind=kind, exposure_id=exposure and exposure.id,
            instrument="GenericFITS", section_id="0", mjd=60_000.0, nx=10, ny=10, gain=1.0,
            read_noise=1.0, calibration={}, header={}, filename=f"{self.prefix}images/{number}",
            filename_extensions=[".image.fits", ".weight.fits"], **self.made,
        )  # fmt: skip
        sources = SourceList(
            id=uuid.uuid4(), image_id=image.id, n_sources=1, background=1.0, noise=1.0,
            aperture_radii=[1.0], aperture_corrections=[0.0], measures={},
            filename=f"{self.prefix}sources/{number}.parquet", **self.made,
        )  # fmt: skip
        wcs = WorldCoordinates(
            id=uuid.uuid4(), sources_id=sources.id, cards={}, catalog="c", method="hinted",
            pixel_scale=2.0, rms_arcsec=0.1, rms_pixels=0.1, n_matched=9, log_odds=99.0,
            radius=1.0, **self.made,
        )  # fmt: skip
        zero = ZeroPoint(
            id=uuid.uuid4(), sources_id=sources.id, wcs_id=wcs.id, catalog="c", band="V",
            system="Vega", ab_offset=0.0, zero_point=20.0, zero_point_err=0.01, scatter=0.1,
            n_stars=9, n_rejected=0, aperture=0, aperture_correction=0.0, **self.made,
        )  # fmt: skip
        for key in (f"images/{number}.image.fits", f"images/{number}.weight.fits"):
            self.put(key)
        self.put(f"sources/{number}.parquet")
        self.add(image, sources, wcs, zero)
        return image, sources

    def light_curves(self, observation, *images):
        """A set with one star, seen on these images."""
        star = Object(
            id=uuid.uuid4(), name=str(uuid.uuid4()), ra=1.0, dec=1.0, origin="test",
            audience_id=self.audience,
        )  # fmt: skip
        curves = LightCurveSet(
            id=uuid.uuid4(), observation_id=observation, section_id="0", frame="sky",
            n_stars=1, n_images=len(images), summary={}, **self.made,
        )  # fmt: skip
        curve = LightCurve(
            set_id=curves.id, number=0, object_id=star.id, x=1.0, y=1.0, n_points=1,
            statistics={},
        )  # fmt: skip
        points = [
            Photometry(
                key=uuid.uuid4(), audience_id=self.audience, object_id=star.id,
                image_id=image.id, set_id=curves.id,
                provenance_id=self.lineage.id, mjd=60_000.0, bjd_tdb=60_000.0, x=1.0, y=1.0,
                flags=0,
            )
            for image in images
        ]  # fmt: skip
        self.add(star, curves, curve, *points)
        return curves

    def observation(self):
        """An observation with a movie."""
        number = next(self.numbers)
        row = Observation(
            instrument="GenericFITS", target=f"field {number}", night=date(2026, 3, 1)
        )
        row.identify()
        movie = ObservationFile(
            id=uuid.uuid4(), observation_id=row.id, role="timelapse", name="movie.mp4",
            key=self.put(f"movies/{number}.mp4"), size=5, sha256="0" * 64, n_exposures=1,
            **self.made,
        )  # fmt: skip
        self.add(row, movie)
        return row.id

    def arrival(self, state, *, origin="upload", source=None, created_at=START, **more):
        row = Arrival(
            source=source or f"store:inbox/{next(self.numbers)}", origin=origin, state=state,
            created_at=created_at, **more,
        )  # fmt: skip
        row.identify()
        return self.add(row)

    def counts(self):
        """Rows in each table that has any."""
        with self.database.reading() as session:
            found = {
                table.__tablename__: session.scalar(select(func.count()).select_from(table))
                for table in TABLES
            }
        return {name: count for name, count in found.items() if count}

    def names(self):
        with self.database.reading() as session:
            return sorted(session.scalars(select(Exposure.base_filename)))

    def stored(self):
        return sorted(entry.key for entry in self.store.list(self.prefix.rstrip("/")))

    def events(self):
        with self.database.reading() as session:
            return [row.message() for row in session.scalars(select(Event).order_by(Event.number))]

    def removals(self):
        with self.database.reading() as session:
            rows = session.scalars(select(Removal).order_by(Removal.name)).all()
        return [(row.what, row.name, row.site, row.rule, row.files, row.size) for row in rows]

    def dangling(self):
        """Keys that a row points at and no bytes are under; notes of removal are about to go."""
        with self.database.reading() as session:
            keys = [
                *session.scalars(select(ExposureFile.key)),
                *session.scalars(select(InfoImageFile.key)),
                *session.scalars(select(ObservationFile.key)),
                *session.scalars(select(SourceList.filename)),
                *(
                    image.filename + end
                    for image in session.scalars(select(Image))
                    for end in image.filename_extensions
                ),
            ]
        return [key for key in keys if not self.store.exists(key)]


def quarantined(world):
    """An arrival that could not be used, with its bytes."""
    key = world.put(f"quarantine/{next(world.numbers)}")
    return world.arrival(ArrivalState.QUARANTINED, key=key, size=5, error={"code": "x"})
