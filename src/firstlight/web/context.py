"""What handlers are given: the services of one workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from starlette.requests import HTTPConnection

from firstlight.services.accounts.tokens import AccessService
from firstlight.services.watching.event_stream import EventStreamService
from firstlight.services.web_settings import WebSettings

if TYPE_CHECKING:
    from firstlight.services.finding.downloads import DownloadService
    from firstlight.services.finding.observations import ObservationService
    from firstlight.services.finding.search import SearchService
    from firstlight.services.finding.served_files import FileService
    from firstlight.services.finding.zip_links import ZipLinks
    from firstlight.services.intake.info_images import InfoImageService
    from firstlight.services.intake.upload_log import UploadLogService
    from firstlight.services.intake.uploads import UploadService
    from firstlight.services.intake.watched_sources import BucketEvents
    from firstlight.services.live import LiveService
    from firstlight.services.server_state import ServerStateService
    from firstlight.services.watching.webhooks import WebhookService
    from firstlight.web.events import EventHub

__all__ = ["Services", "hub_of", "services_of"]


class Services(Protocol):
    """The services that the web application calls, as the factory offers them."""

    @property
    def web_settings(self) -> WebSettings:
        """What the operator has set."""
        ...

    @property
    def server_state(self) -> ServerStateService:
        """Whether the server can do its work."""
        ...

    @property
    def access(self) -> AccessService:
        """Tokens and permissions."""
        ...

    @property
    def event_stream(self) -> EventStreamService:
        """Events, in order."""
        ...

    @property
    def uploads(self) -> UploadService:
        """Leave to upload, and the bytes."""
        ...

    @property
    def live(self) -> LiveService:
        """Takes note of files that have come."""
        ...

    @property
    def served_files(self) -> FileService:
        """Bytes of the store."""
        ...

    @property
    def upload_log(self) -> UploadLogService:
        """What has come, and what became of it."""
        ...

    @property
    def info_images(self) -> InfoImageService:
        """Pictures pinned to the channels of a site."""
        ...

    @property
    def bucket_events(self) -> BucketEvents:
        """Messages of object storage."""
        ...

    @property
    def search(self) -> SearchService:
        """Exposures."""
        ...

    @property
    def webhooks(self) -> WebhookService:
        """Addresses that are told of events."""
        ...

    @property
    def downloads(self) -> DownloadService:
        """Files as people want them."""
        ...

    @property
    def zip_links(self) -> ZipLinks:
        """Links to archives of a period."""
        ...

    @property
    def observations(self) -> ObservationService:
        """Sequences of exposures."""
        ...


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the application that answers a request."""
    return cast("Services", connection.app.state.services)


def hub_of(connection: HTTPConnection) -> EventHub:
    """Return the application's source of live events."""
    hub: Any = connection.app.state.hub
    return cast("EventHub", hub)
