"""Two astronomers, an object, an instrument, and the services of photometry."""

import itertools
import uuid

from sqlalchemy import select

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models.account import Group, User
from firstlight.models.audience import audience_of
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.accounts.membership import admit, groups_of, new_account, sitewide_group
from firstlight.services.objects.photometry import PhotometryService
from firstlight.services.objects.photometry_reading import PhotometryForm, PhotometryReading
from firstlight.services.objects.photometry_settings import FilterSettings, PhotometrySettings
from firstlight.services.objects.photometry_validations import PhotometryValidations

SETTINGS = PhotometrySettings(filters={"clear": FilterSettings(wavelength=6000.0)})
_COUNT = itertools.count(1)


class PhotometryWorld:
    """Names are new each time, so that many worlds share a database."""

    def __init__(self, database):
        self.database = database
        self.service = PhotometryService(database=database, settings=SETTINGS)
        self.reading = PhotometryReading(database=database, settings=SETTINGS)
        self.validations = PhotometryValidations(database=database)
        number = next(_COUNT)
        self.mark = f"{number}-{uuid.uuid4().hex[:6]}"
        with database.begin() as session:
            team = Group(name=f"Team {self.mark}")
            session.add(team)
            session.flush()
            self.group = team.id
            self.all_accounts = sitewide_group(session)
            self.users = {}
            for name in ("ada", "ben", "eve"):
                user = User(username=f"{name}-{self.mark}", affiliations=[], roles=[], acls=[])
                self.users[name] = new_account(session, user)
                if name != "eve":
                    admit(session, team.id, self.users[name])
            instrument = InstrumentRecord(name=f"Camera {self.mark}", type="imager", filters=[])
            narrow = InstrumentRecord(
                name=f"Narrow {self.mark}", type="imager", filters=["sdssg", "halpha-own"]
            )
            session.add_all([instrument, narrow])
            session.flush()
            self.instrument, self.narrow = instrument.id, narrow.id
            team_only = audience_of(session, groups=[team.id])
        self.object = self.add_object(team_only)
        self.ada, self.ben, self.eve = (self.viewer(name) for name in ("ada", "ben", "eve"))
        self.keeper = self.viewer("ben", "manage_photometry")

    def add_object(self, audience=None):
        name = f"FL{self.mark}-{next(_COUNT)}"
        with self.database.begin() as session:
            if audience is None:
                audience = audience_of(session, groups=[self.group])
            session.add(
                Object(
                    id=uuid.uuid4(), name=name, ra=120.5, dec=-3.25, origin="test", aliases=[],
                    hpx=int(healpix_index([120.5], [-3.25])[0]), audience_id=audience,
                )
            )  # fmt: skip
        return name

    def viewer(self, name, *scopes):
        number = self.users[name]
        with self.database.reading() as session:
            groups = groups_of(session, number)
        return Viewer(
            name, frozenset({"read", "upload", *scopes}), frozenset(), frozenset(), number, groups
        )

    def columns(self, **given):
        """A row or more in the space of magnitudes; None leaves a column out."""
        base = {
            "obj_id": self.object, "instrument_id": self.instrument, "filter": "sdssg",
            "mjd": 60000.25, "mag": 18.5, "magerr": 0.05, "limiting_mag": 20.5,
        }  # fmt: skip
        if "fluxerr" in given or "flux" in given:
            for name in ("mag", "magerr", "limiting_mag"):
                del base[name]
            base["zp"] = 23.9
        return {key: value for key, value in (base | given).items() if value is not None}

    def points(self, viewer=None, **form):
        return self.reading.of_object(viewer or self.ada, self.object, PhotometryForm(**form))

    def rows(self, model, *conditions):
        with self.database.reading() as session:
            return session.scalars(select(model).where(*conditions)).all()
