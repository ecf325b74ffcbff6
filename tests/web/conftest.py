"""The web application on an empty workspace, answering in this process or on a real port."""

import functools
import threading
import time
from types import SimpleNamespace

import pytest
import uvicorn
from argon2 import PasswordHasher
from asgi_client import AsgiClient
from page_services import page_services

from firstlight.config import Settings
from firstlight.factory import Factory
from firstlight.models.database import Database
from firstlight.remotes.guarded_http import GuardedClient
from firstlight.remotes.settings import OutgoingSettings
from firstlight.remotes.webhook_sender import WebhookSender
from firstlight.services.accounts.admission import AdmissionService
from firstlight.services.accounts.groups import GroupService
from firstlight.services.accounts.inbox import InboxService
from firstlight.services.accounts.invitations import InvitationService
from firstlight.services.accounts.passwords import Passwords
from firstlight.services.accounts.settings import AccountSettings
from firstlight.services.accounts.sign_in import SignInService
from firstlight.services.accounts.tokens import AccessService
from firstlight.services.accounts.user_tokens import UserTokenService
from firstlight.services.accounts.users import UserService
from firstlight.services.expiry.expiration_rules import ExpirationRules, ExpirationSettings
from firstlight.services.expiry.leftovers import Leftovers
from firstlight.services.finding.downloads import DownloadService
from firstlight.services.finding.observations import ObservationService
from firstlight.services.finding.search import SearchService
from firstlight.services.finding.served_files import FileService
from firstlight.services.finding.zip_links import ZipLinks
from firstlight.services.intake.info_images import InfoImageService
from firstlight.services.intake.upload_log import UploadLogService
from firstlight.services.intake.uploads import UploadService
from firstlight.services.intake.watched_sources import BucketEvents, WatchedBucket
from firstlight.services.server_state import ServerStateService
from firstlight.services.watching.event_stream import EventStreamService
from firstlight.services.watching.webhooks import WebhookService
from firstlight.services.web_settings import WebSettings
from firstlight.storage.folder import FolderStore
from firstlight.storage.links import LinkSigner, UploadSigner
from firstlight.storage.presigned_post import ApiForms
from firstlight.web.app import create_app
from firstlight.work.job_counts import JobCounter

SECRET = b"sixteen bytes or more"
BASE = "http://archive.example/api"
UPLOADS = UploadSigner(SECRET, BASE)
LINKS = LinkSigner(SECRET, BASE)
RULES = ExpirationSettings()


class Announcements:
    """Takes note of what has come."""

    def __init__(self):
        self.told = []

    def announce(self, announcements):
        self.told += announcements


@pytest.fixture
def database(sqlite_url):
    opened = Database(sqlite_url)
    yield opened
    opened.dispose()


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path / "data", links=LINKS)


def account_services(database, access, settings):
    """The services of accounts; their passwords are hashed fast."""
    passwords = Passwords(settings.password_length, hasher=PasswordHasher(1, 8, 1))
    shared = {"database": database, "passwords": passwords}
    return {
        "users": UserService(**shared),
        "groups": GroupService(database=database),
        "admissions": AdmissionService(database=database),
        "invitations": InvitationService(**shared, settings=settings),
        "user_tokens": UserTokenService(database=database),
        "inbox": InboxService(database=database),
        "sign_in": SignInService(**shared, access=access, settings=settings),
    }


class Offered(SimpleNamespace):
    """Services made by hand, and all others as a factory makes them."""

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.others(), name)


def house(folder, database, store):
    """A factory of this database and store."""
    made = Factory(folder, Settings())
    vars(made).update(database=database, store=store)
    return made


@pytest.fixture
def make_services(database, store, tmp_path):
    """What a factory offers, built by hand."""

    def make(accounts=None, **settings):
        settings.setdefault("open_on_loopback", False)
        settings.setdefault("poll_interval_s", 0.02)
        web = WebSettings(**settings)
        search = SearchService(database=database, store=store, indexed_cards=("OBJECT",))
        files = FileService(database=database, store=store, links=LINKS)
        outgoing = GuardedClient(OutgoingSettings(allow=("127.0.0.1",)))
        info_images = InfoImageService(database=database, rules=ExpirationRules(RULES))
        access = AccessService(database=database, settings=web)
        return Offered(
            others=functools.cache(lambda: house(tmp_path, database, store)),
            web_settings=web,
            access=access,
            **account_services(database, access, accounts or AccountSettings()),
            event_stream=EventStreamService(database=database),
            server_state=ServerStateService(
                database=database,
                store=store,
                jobs=JobCounter(tmp_path / "jobs.sqlite", clock=time.time),
            ),
            uploads=UploadService(
                database=database,
                store=store,
                forms=ApiForms(UPLOADS),
                signer=UPLOADS,
                channels=info_images,
            ),
            live=Announcements(),
            info_images=info_images,
            upload_log=UploadLogService(database=database, kept=RULES.upload_log),
            search=search,
            downloads=DownloadService(
                database=database,
                store=store,
                search=search,
                files=files,
                leftovers=Leftovers(database=database, store=store),
            ),
            **page_services(database, store, search, files),
            zip_links=ZipLinks(SECRET),
            observations=ObservationService(database=database),
            bucket_events=BucketEvents([WatchedBucket("photonranch-001")]),
            webhooks=WebhookService(
                database=database,
                sender=WebhookSender(outgoing),
                secret=SECRET,
                check_url=outgoing.check_url,
            ),
            served_files=files,
        )

    return make


@pytest.fixture
def make_client(make_services):
    """A client of a new application with these settings."""

    def make(services=None, **settings):
        services = services or make_services(**settings)
        client = AsgiClient(create_app(services))
        client.services = services
        return client

    return make


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def token(client):
    """Make a token of these scopes; returns the headers that send it."""
    made = []

    def make(*scopes, sites=None, **options):
        made.append(scopes)
        new = client.services.access.make(f"token {len(made)}", scopes, sites=sites, **options)
        return {"Authorization": f"token {new.token}"}

    return make


@pytest.fixture
def serve():
    """Serve an application on a real port, for what never ends; returns its address."""
    running = []

    def start(app):
        server = uvicorn.Server(
            uvicorn.Config(
                app, port=0, log_config=None, server_header=False, timeout_graceful_shutdown=1
            )
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive(), "the server did not start"
        running.append((server, thread, app))
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield start
    for server, thread, app in running:
        app.state.hub.close()
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
