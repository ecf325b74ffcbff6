"""A portal with an object, users, and simulated images to upload."""

from __future__ import annotations

import io
import uuid
from dataclasses import replace
from types import SimpleNamespace

from astropy.io import fits

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models.account import User
from firstlight.models.audience import audience_of
from firstlight.models.object import Object
from firstlight.models.token import SCOPES
from firstlight.services.access import Viewer
from firstlight.services.accounts.membership import groups_of, new_account
from firstlight.services.finding.served_files import FileService
from firstlight.services.image_analysis.accepted_photometry import AcceptedPhotometry
from firstlight.services.image_analysis.image_analyses import Catalogues, ImageAnalysisService
from firstlight.services.image_analysis.image_analysis_engines import FirstlightMeasurer
from firstlight.services.image_analysis.image_analysis_limits import ImageAnalysisLimits
from firstlight.services.image_analysis.image_analysis_queue import ImageAnalysisQueue
from firstlight.services.image_analysis.image_analysis_run import ImageAnalysisRun
from firstlight.services.image_analysis.image_uploads import ImageUploadService
from firstlight.services.objects.bandpasses import Bandpasses

OPERATOR = Viewer("operator", frozenset(SCOPES), None, sees_all=True)
FEW = {"artificial_stars": 150}
"""Parameters of a quick analysis."""


class Portal:
    """The services of image analysis on one database, with a catalogue that tests choose."""

    def __init__(self, database, store, limits=None, measurers=None):
        self.database, self.store = database, store
        self.limits = limits or ImageAnalysisLimits()
        self.catalog = None
        shared = {"database": database, "limits": self.limits}
        self.uploads = ImageUploadService(store=store, **shared)
        self.analyses = ImageAnalysisService(
            files=FileService(database=database, store=store),
            photometry=AcceptedPhotometry(Bandpasses().offset),
            catalogues=lambda: Catalogues(["tycho2", "simulated"], ["tycho2"], "tycho2"),
            engines=lambda: ["firstlight", *(measurers or {})],
            **shared,
        )
        self.run = ImageAnalysisRun(
            store=store,
            measurers={"firstlight": Undrawn(None), **(measurers or {})},
            catalog=lambda _: self.catalog,
            **shared,
        )
        self.jobs = Jobs()
        self.queue = ImageAnalysisQueue(jobs=self.jobs, **shared)

    def user(self, name):
        """An account with the permissions of a full user."""
        with self.database.begin() as session:
            user = User(username=name, roles=["Full user"], affiliations=[], acls=[])
            number = new_account(session, user)
            groups = groups_of(session, number)
        scopes = frozenset({"read", "watch", "upload", "analyse", "comment"})
        return Viewer(name, scopes, frozenset(), user_id=number, groups=groups)

    def object(self, name, ra, dec, viewers=()):
        """A thing in the sky, seen by these."""
        with self.database.begin() as session:
            groups = {group for viewer in viewers for group in viewer.groups}
            session.add(
                Object(
                    id=uuid.uuid4(),
                    name=name,
                    ra=ra,
                    dec=dec,
                    hpx=int(healpix_index(ra, dec)),
                    origin="test",
                    audience_id=audience_of(session, groups=groups),
                )
            )

    def upload(self, viewer, content, name="field.fits"):
        return self.uploads.receive(viewer, name, io.BytesIO(content))

    def analysed(self, viewer, simulated, *, name="star", content=None, filename="field.fits",
                 **parameters):  # fmt: skip
        """An image uploaded, analysed at once, and how it ended."""
        self.catalog = simulated.catalog
        upload = self.upload(viewer, content or fits_bytes(simulated.raw), filename)
        started = self.analyses.start(viewer, name, [upload["id"]], {**FEW, **parameters})
        self.run.run({"analysis": started[0]["id"]})
        return self.analyses.get(viewer, started[0]["id"])

    def rows(self, query):
        with self.database.reading() as session:
            return session.scalars(query).all()


class Undrawn(FirstlightMeasurer):
    """Measures, and leaves the pictures away: most tests look at none."""

    def measure(self, *args, **options):
        return replace(super().measure(*args, **options), draw=lambda _: [])


class Jobs:
    """An engine that only takes note."""

    def __init__(self):
        self.submitted, self.cancelled, self.known = [], [], {}

    def submit(self, requests):
        self.submitted += [request.job_id for request in requests]
        for request in requests:
            self.known[request.job_id] = SimpleNamespace(
                state=SimpleNamespace(finished=False), error=None
            )

    def outcomes(self, job_ids):
        return {name: self.known[name] for name in job_ids if name in self.known}

    def cancel(self, job_ids):
        self.cancelled += job_ids


def fits_bytes(raw, *, packed=False):
    """The file of a simulated image; `packed` in tiles, as ``.fz``."""
    header = raw.header.copy()
    stream = io.BytesIO()
    if packed:
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(raw.pixels, header)])
    else:
        hdus = fits.HDUList([fits.PrimaryHDU(raw.pixels, header)])
    hdus.writeto(stream, output_verify="silentfix")
    return stream.getvalue()
