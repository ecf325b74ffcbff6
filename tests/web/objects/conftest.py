"""Sources as SkyPortal's own client sees them: three accounts, two groups, both databases."""

import uuid
from types import SimpleNamespace

import httpx
import pytest
import skyportal_py
from asgi_client import AsgiTransport
from fastapi import FastAPI

from firstlight.models.account import Group, User
from firstlight.models.audience import audience_of
from firstlight.models.database import Database
from firstlight.models.event import Event
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.models.sky_search import place
from firstlight.models.token import SCOPES
from firstlight.services.access import TokenInvalid, Viewer
from firstlight.services.accounts.membership import admit, new_account
from firstlight.services.objects.object_list import ObjectList
from firstlight.services.objects.object_summary import SummaryKeeper, summarise
from firstlight.services.objects.objects import ObjectService
from firstlight.services.objects.photometry_reading import PhotometryReading
from firstlight.services.objects.photometry_settings import PhotometrySettings
from firstlight.services.objects.portal_facts import PortalFacts
from firstlight.services.objects.row_sharing import RowSharing
from firstlight.services.objects.saved_objects import SavedObjectService
from firstlight.services.objects.tags import TagService
from firstlight.services.web_settings import WebSettings
from firstlight.web.api import objs, source_groups, sources, system, tags
from firstlight.web.faults import answer_faults
from firstlight.web.guards import HeadAnswers

MAY = frozenset({"read", "watch", "upload", "annotate", "classify", "manage_sources"})


class Doors:
    """Who asks, by a token that is the user's name."""

    def __init__(self, viewers):
        self.viewers = viewers

    def identify(self, token, *, from_loopback=False):
        if token is None:
            return Viewer()
        if token not in self.viewers:
            raise TokenInvalid
        return self.viewers[token]

    def identify_token(self, token, address):
        return self.identify(token)


class Sky:
    """The portal's services on one database, and who asks them."""

    def __init__(self, database):
        self.database = database
        with database.begin() as session:
            self.users = {
                name: new_account(session, User(username=name, affiliations=[], roles=[], acls=[]))
                for name in ("ada", "bob", "cy")
            }
            groups = {name: Group(name=f"group {name}") for name in "AB"}
            session.add_all(groups.values())
            camera = InstrumentRecord(name="Camera", type="imager", filters=[])
            session.add(camera)
            session.flush()
            self.groups = {name: group.id for name, group in groups.items()}
            self.camera = camera.id
            for name, group in (("ada", "A"), ("bob", "B"), ("cy", "A")):
                admit(session, self.groups[group], self.users[name])
        self.viewers = {
            "ada": self.viewer("ada", "A", MAY),
            "bob": self.viewer("bob", "B", MAY),
            "cy": self.viewer("cy", "A", frozenset({"read"})),
            "root": Viewer("root", frozenset(SCOPES), None, frozenset(), None, sees_all=True),
        }
        self.services = SimpleNamespace(
            access=Doors(self.viewers),
            sign_in=Doors(self.viewers),
            web_settings=WebSettings(open_on_loopback=False),
            objects=ObjectService(database=database),
            object_list=ObjectList(database=database),
            saved_objects=SavedObjectService(database=database),
            row_sharing=RowSharing(database=database),
            tags=TagService(database=database),
            summaries=SummaryKeeper(database=database),
            portal_facts=PortalFacts(database=database),
            photometry_reading=PhotometryReading(database=database, settings=PhotometrySettings()),
        )
        self.app = FastAPI()
        self.app.state.services = self.services
        for module in (objs, source_groups, sources, system, tags):
            self.app.include_router(module.router)
        answer_faults(self.app)
        self.app.add_middleware(HeadAnswers)

    def viewer(self, name, group, scopes):
        groups = frozenset({self.groups[group]})
        none = frozenset()
        return Viewer(name, scopes, none, none, self.users[name], groups)

    def client(self, name=None):
        return skyportal_py.create_client(
            "http://portal.example", name, transport=AsgiTransport(self.app)
        )

    def web(self, name=None):
        headers = {} if name is None else {"Authorization": f"token {name}"}
        return httpx.Client(
            transport=AsgiTransport(self.app), base_url="http://portal.example", headers=headers
        )

    def add(self, name, ra=120.5, dec=-3.25, group="A", **facts):
        """An object that nobody has saved."""
        with self.database.begin() as session:
            row = Object(
                id=uuid.uuid5(uuid.NAMESPACE_URL, name),
                name=name,
                origin="test",
                audience_id=audience_of(session, groups=[self.groups[group]] if group else []),
                **facts,
            )
            place(row, ra, dec)
            session.add(row)
        return row.id

    def point(self, ident, mjd, flux=100.0, group="A", band="sdssg", **more):
        """A point of a light curve, of a signal of ten sigma."""
        with self.database.begin() as session:
            row = Photometry(
                key=uuid.uuid4(),
                object_id=ident,
                instrument_id=self.camera,
                audience_id=audience_of(session, groups=[self.groups[group]]),
                mjd=mjd,
                filter=band,
                **{"flux_ujy": flux, "flux_err_ujy": flux / 10.0, "mag_system": "AB", **more},
            )
            session.add(row)
            session.flush()
            summarise(session, [ident])
            return row.id

    def events(self):
        with self.database.reading() as session:
            rows = session.query(Event).order_by(Event.number)
            return [(row.data["what"], row.data["object"]) for row in rows]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def sky(request):
    """The same on both databases."""
    if request.param == "sqlite":
        yield Sky(request.getfixturevalue("database"))
        return
    opened = Database(request.getfixturevalue("postgres_url"))
    yield Sky(opened)
    opened.dispose()
