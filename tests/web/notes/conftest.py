"""A small portal: three users, two groups, three objects; asked by SkyPortal's own client."""

import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import skyportal_py
from asgi_client import AsgiTransport
from fastapi import FastAPI
from starlette.requests import HTTPConnection

from firstlight.catalogs.base import ReferenceStars
from firstlight.catalogs.registry import UnknownCatalog
from firstlight.models.account import Group, Membership, User
from firstlight.models.audience import audience_of, public_audience
from firstlight.models.database import Database
from firstlight.models.event import Event
from firstlight.models.instrument_record import InstrumentRecord, Telescope
from firstlight.models.object import Object
from firstlight.models.token import SCOPES
from firstlight.services.access import TokenInvalid, Viewer
from firstlight.services.objects.annotations import AnnotationService
from firstlight.services.objects.annotations_from_catalogs import CatalogAnnotations
from firstlight.services.objects.classifications import ClassificationService
from firstlight.services.objects.comment_settings import CommentSettings
from firstlight.services.objects.comments import CommentService
from firstlight.services.objects.instruments import InstrumentService
from firstlight.services.objects.spectra import SpectrumService
from firstlight.services.objects.taxonomies import TaxonomyService
from firstlight.services.objects.telescopes import TelescopeService
from firstlight.services.objects.thumbnails import ThumbnailService
from firstlight.storage.folder import FolderStore
from firstlight.web.api import (
    classifications,
    comments,
    instruments,
    object_annotations,
    spectra,
    streams,
    taxonomies,
    telescopes,
    thumbnails,
)
from firstlight.web.auth import Asker
from firstlight.web.faults import answer_faults

ROUTERS = (
    classifications,
    comments,
    instruments,
    object_annotations,
    spectra,
    streams,
    taxonomies,
    telescopes,
    thumbnails,
)
NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)  # night in Arizona
MAY = frozenset(SCOPES) - {"admin", "operate"} | {
    "comment",
    "annotate",
    "classify",
    "manage_taxonomies",
    "manage_sources",
    "manage_instruments",
    "manage_telescopes",
    "upload",
}
OBJECTS = {"SHARED": ("A", "B"), "OF_A": ("A",), "PUBLIC": None}
OBJECT_IDS = {name: uuid.uuid5(uuid.NAMESPACE_URL, name) for name in OBJECTS}


def asked_by(viewers):
    """Who asks, by a token that is the user's name."""

    def ask(connection: HTTPConnection):
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if not scheme:
            return Viewer()
        if token not in viewers:
            raise TokenInvalid
        return viewers[token]

    return ask


class StarCatalog:
    """Two stars next to SHARED, none elsewhere."""

    name, release = "gaia_dr3", "gaia_dr3-test"

    def cone(self, ra, dec, radius, *, epoch=2000.0, faintest=None):
        assert epoch == pytest.approx(2026.16, abs=0.01)
        stars = [(10.0001, 20.0, 15.0), (10.0, 20.0001, np.nan)] if ra == 10.0 else []
        column = np.array(stars, dtype=float).reshape(-1, 3).T
        return ReferenceStars(
            *column, 0.01 + 0 * column[2], 0.1 + 0 * column[2], "G", "Vega", column[2] - 14, "BP-RP"
        )


def find_catalog(name):
    if name != StarCatalog.name:
        raise UnknownCatalog(subject=name, expected="one of gaia_dr3")
    return StarCatalog()


def populate(database):
    """Rows of users, groups and objects; returns the viewers by name."""
    with database.begin() as session:
        users = [User(username=name) for name in ("ada", "bob", "cy", "root")]
        groups = {name: Group(name=f"group {name}") for name in "AB"}
        session.add_all([*users, *groups.values()])
        session.flush()
        ids = {name: group.id for name, group in groups.items()}
        ada, bob, cy, root = (user.id for user in users)
        session.add_all(
            [
                Membership(group_id=ids["A"], user_id=ada),
                Membership(group_id=ids["A"], user_id=cy),
                Membership(group_id=ids["B"], user_id=bob),
            ]
        )
        for number, (name, members) in enumerate(OBJECTS.items()):
            audience = (
                public_audience(session)
                if members is None
                else audience_of(session, groups=[ids[each] for each in members])
            )
            session.add(
                Object(
                    id=OBJECT_IDS[name],
                    name=name,
                    ra=10.0 + number,
                    dec=20.0,
                    origin="test",
                    audience_id=audience,
                )
            )
        telescope = Telescope(name="Telescope", nickname="T", lat=31.7, lon=-110.9, elevation=1268)
        session.add(telescope)
        session.flush()
        session.add(
            InstrumentRecord(
                name="Camera", type="imager", telescope_id=telescope.id, filters=["V", "R"]
            )
        )
    none = frozenset()
    return ids, {
        "ada": Viewer("ada", MAY, None, none, ada, frozenset({ids["A"]})),
        "bob": Viewer("bob", MAY, None, none, bob, frozenset({ids["B"]})),
        "cy": Viewer("cy", frozenset({"read"}), none, none, cy, frozenset({ids["A"]})),
        "root": Viewer("root", frozenset(SCOPES) | MAY, None, none, root, none, sees_all=True),
        "machine": Viewer("machine", MAY, None, none),
    }


def portal(database, store, **settings):
    """The application with its viewers."""
    groups, viewers = populate(database)
    annotations = AnnotationService(database=database)
    services = SimpleNamespace(
        comments=CommentService(
            database=database, store=store, settings=CommentSettings(**settings)
        ),
        annotations=annotations,
        catalog_annotations=CatalogAnnotations(
            database=database,
            annotations=annotations,
            find_catalog=find_catalog,
            clock=lambda: NOW,
        ),
        classifications=ClassificationService(database=database),
        taxonomies=TaxonomyService(database=database),
        telescopes=TelescopeService(database=database, clock=lambda: NOW),
        spectra=SpectrumService(database=database, store=store),
        thumbnails=ThumbnailService(database=database, store=store),
        instruments=InstrumentService(database=database, clock=lambda: NOW),
    )
    app = FastAPI()
    app.state.services = services
    app.dependency_overrides[get_args(Asker)[1].dependency] = asked_by(viewers)
    for module in ROUTERS:
        app.include_router(module.router)
    answer_faults(app)

    def client(name=None):
        return skyportal_py.create_client(
            "http://portal.example", name, transport=AsgiTransport(app)
        )

    def events():
        with database.reading() as session:
            return [
                (row.data["what"], row.data["change"], row.data["object"])
                for row in session.query(Event).order_by(Event.number)
            ]

    return SimpleNamespace(
        app=app,
        client=client,
        groups=groups,
        viewers=viewers,
        services=services,
        database=database,
        store=store,
        events=events,
    )


@pytest.fixture
def world(database, tmp_path):
    return portal(database, FolderStore(tmp_path / "data"), max_attachment_bytes=1000)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either(request, tmp_path):
    """The same on both databases."""
    if request.param == "sqlite":
        yield request.getfixturevalue("world")
        return
    opened = Database(request.getfixturevalue("postgres_url"))
    yield portal(opened, FolderStore(tmp_path / "data"), max_attachment_bytes=1000)
    opened.dispose()
