"""Accounts, groups, objects and the analysis services on one database, with a clock set by hand."""

import datetime as dt
import uuid

from firstlight.models.account import Group, User, UserNotification
from firstlight.models.analysis import Analysis
from firstlight.models.audience import audience_of, public_audience
from firstlight.models.event import Event
from firstlight.models.notes import Taxonomy
from firstlight.models.object import Object
from firstlight.models.sky_search import place
from firstlight.services.access import Viewer
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.accounts.membership import admit, new_account
from firstlight.services.analyses.analyses import Analyses
from firstlight.services.analyses.analyses_start import AnalysisStarter, RunWish
from firstlight.services.analyses.analysis_services import AnalysisServices
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.default_analyses import DefaultAnalyses
from firstlight.services.analyses.default_analyses_trigger import DefaultAnalysisTrigger
from firstlight.services.analyses.sealed_secrets import SealedSecrets
from firstlight.services.analyses.service_fields import UrlRules
from firstlight.services.objects.classifications import ClassificationService, NewClassification
from firstlight.services.objects.objects import ObjectService
from firstlight.services.objects.saved_objects import SavedObjectService
from firstlight.storage.folder import FolderStore

SECRET = bytes(range(32))
URL = "https://analysis.example/fit"
PEOPLE = {  # role and groups
    "mia": ("Group admin", "AB"),
    "ada": ("Full user", "A"),
    "bob": ("Full user", "B"),
    "cy": ("View only", "A"),
    "root": ("Super admin", ""),
}


class NoFiles:
    """Remembers whose files were to go."""

    def __init__(self):
        self.removed = []

    def keys_of(self, session, analysis_ids):
        return [f"key/{each}" for each in analysis_ids]

    def remove(self, keys):
        self.removed += list(keys)


class AnalysisWorld:
    """Who manages services (mia, in A and B), runs them (ada in A, bob in B), reads (cy in A)."""

    def __init__(self, database, folder, **settings):
        self.database = database
        self.now = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
        self.settings = AnalysisSettings(**settings)
        self.store = FolderStore(folder / "data")
        self.files = NoFiles()
        self.refused_urls = {}
        with database.begin() as session:
            groups = {name: Group(name=f"group {name}") for name in "AB"}
            session.add_all(groups.values())
            self.users = {
                name: new_account(
                    session, User(username=name, affiliations=[], roles=[role], acls=[])
                )
                for name, (role, _) in PEOPLE.items()
            }
            session.flush()
            self.groups = {name: group.id for name, group in groups.items()}
            for name, (_, theirs) in PEOPLE.items():
                for group in theirs:
                    admit(session, self.groups[group], self.users[name])
        shared = {
            "database": database,
            "settings": self.settings,
            "clock": lambda: self.now,
        }
        self.secrets = SealedSecrets(SECRET)
        self.services = AnalysisServices(
            **shared,
            secrets=self.secrets,
            rules=UrlRules(self.check_url, lambda: ["period", "transit"]),
        )
        self.starter = AnalysisStarter(**shared, secret=SECRET)
        self.analyses = Analyses(database=database, files=self.files, clock=lambda: self.now)
        self.defaults = DefaultAnalyses(**shared)
        self.trigger = DefaultAnalysisTrigger(starter=self.starter, clock=lambda: self.now)
        reacting = {"database": database, "reactions": self.trigger}
        self.classifications = ClassificationService(**reacting)
        self.saved = SavedObjectService(**reacting)
        self.objects = ObjectService(**reacting)
        with database.begin() as session:
            tree = Taxonomy(
                name="classes",
                version="1",
                hierarchy={"class": "all", "subclasses": [{"class": "SN Ia"}, {"class": "SN II"}]},
                audience_id=public_audience(session),
            )
            session.add(tree)
            session.flush()
            self.tree = tree.id
        self.add_object("FL1", "A")
        self.add_object("OF_B", "B")

    def check_url(self, url):
        if url in self.refused_urls:
            raise self.refused_urls[url]

    def viewer(self, name):
        """The account as it is now; a stranger for None."""
        if name is None:
            return Viewer()
        with self.database.reading() as session:
            user = session.get_one(User, self.users[name])
            return viewer_of_account(session, user, self.now, public=frozenset())

    def add_object(self, name, groups):
        with self.database.begin() as session:
            row = Object(
                id=uuid.uuid5(uuid.NAMESPACE_URL, name),
                name=name,
                origin="test",
                audience_id=audience_of(session, groups=[self.groups[each] for each in groups]),
            )
            place(row, 10.0, 20.0)
            session.add(row)

    def add_service(self, name="fitter", by="mia", groups="A", **fields):
        """A service as its author registers it; returns its number."""
        given = {
            "name": name,
            "url": URL,
            "authentication_type": "none",
            "analysis_type": "lightcurve_fitting",
            "input_data_types": ["photometry"],
            "group_ids": [self.groups[each] for each in groups],
        }
        return self.services.create(self.viewer(by), {**given, **fields})

    def start(self, service, by="ada", name="FL1", **wish):
        return self.starter.start(self.viewer(by), name, service, RunWish(**wish))

    def add_default(self, service, by="ada", groups="A", **fields):
        """A default analysis for supernovae of type Ia; returns its number."""
        given = {
            "source_filter": {"classifications": [{"name": "SN Ia", "probability": 0.9}]},
            "group_ids": [self.groups[each] for each in groups],
            **fields,
        }
        return self.defaults.create(self.viewer(by), service, given)

    def classify(self, name="FL1", by="ada", as_class="SN Ia", probability=0.95, groups=None):
        new = NewClassification(
            obj_id=name,
            classification=as_class,
            taxonomy_id=self.tree,
            probability=probability,
            group_ids=None if groups is None else [self.groups[each] for each in groups],
        )
        return self.classifications.add(self.viewer(by), [new])[0]

    def runs(self):
        """Owner, object and state of all runs, in order."""
        names = {number: name for name, number in self.users.items()}
        with self.database.reading() as session:
            return [
                (names[row.owner_id], thing.name, str(row.status))
                for row, thing in session.query(Analysis, Object)
                .join(Object, Object.id == Analysis.object_id)
                .order_by(Analysis.id)
            ]

    def told(self, name):
        """Texts in somebody's inbox."""
        with self.database.reading() as session:
            rows = session.query(UserNotification).filter_by(user_id=self.users[name])
            return [row.text for row in rows.order_by(UserNotification.id)]

    def row(self, number):
        with self.database.reading() as session:
            return session.get(Analysis, number)

    def set_status(self, number, status):
        with self.database.begin() as session:
            session.get_one(Analysis, number).status = status

    def events(self):
        """What was told of runs, in order."""
        with self.database.reading() as session:
            return [
                {**row.data, "audience": row.audience_id}
                for row in session.query(Event).order_by(Event.number)
                if row.data.get("what") == "analysis"
            ]
