"""What handlers are given: the services of one workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from starlette.requests import HTTPConnection

from firstlight.services.accounts.tokens import AccessService
from firstlight.services.watching.event_stream import EventStreamService
from firstlight.services.web_settings import WebSettings

if TYPE_CHECKING:
    from firstlight.models.database import Database
    from firstlight.services.accounts.admission import AdmissionService
    from firstlight.services.accounts.groups import GroupService
    from firstlight.services.accounts.inbox import InboxService
    from firstlight.services.accounts.invitations import InvitationService
    from firstlight.services.accounts.sign_in import SignInService
    from firstlight.services.accounts.user_tokens import UserTokenService
    from firstlight.services.accounts.users import UserService
    from firstlight.services.analyses.analyses import Analyses
    from firstlight.services.analyses.analyses_start import AnalysisStarter
    from firstlight.services.analyses.analyses_upload import AnalysisUploads
    from firstlight.services.analyses.analysis_products import AnalysisProducts
    from firstlight.services.analyses.analysis_services import AnalysisServices
    from firstlight.services.analyses.callbacks import CallbackService
    from firstlight.services.analyses.connection_test import ConnectionTest
    from firstlight.services.analyses.default_analyses import DefaultAnalyses
    from firstlight.services.analyses.run_pages import RunPages
    from firstlight.services.analyses.shipped_services import ShippedServices
    from firstlight.services.expiry.expiration import ExpirationService
    from firstlight.services.finding.downloads import DownloadService
    from firstlight.services.finding.exposure_view import ExposureViewService
    from firstlight.services.finding.home import HomeService
    from firstlight.services.finding.observations import ObservationService
    from firstlight.services.finding.previews import PreviewService
    from firstlight.services.finding.search import SearchService
    from firstlight.services.finding.served_files import FileService
    from firstlight.services.finding.sky_map import SkyMapService
    from firstlight.services.finding.zip_links import ZipLinks
    from firstlight.services.image_analysis.image_analyses import ImageAnalysisService
    from firstlight.services.image_analysis.image_uploads import ImageUploadService
    from firstlight.services.intake.info_images import InfoImageService
    from firstlight.services.intake.upload_log import UploadLogService
    from firstlight.services.intake.uploads import UploadService
    from firstlight.services.intake.watched_sources import BucketEvents
    from firstlight.services.jobs_view import JobsService
    from firstlight.services.lineage_graph import LineageGraphService
    from firstlight.services.live import LiveService
    from firstlight.services.objects.annotations import AnnotationService
    from firstlight.services.objects.annotations_from_catalogs import CatalogAnnotations
    from firstlight.services.objects.classifications import ClassificationService
    from firstlight.services.objects.comments import CommentService
    from firstlight.services.objects.cutouts import CutoutService
    from firstlight.services.objects.instruments import InstrumentService
    from firstlight.services.objects.light_curve_export import LightCurveExport
    from firstlight.services.objects.light_curve_plot import LightCurvePlots
    from firstlight.services.objects.object_list import ObjectList
    from firstlight.services.objects.object_summary import SummaryKeeper
    from firstlight.services.objects.objects import ObjectService
    from firstlight.services.objects.period_search import PeriodSearch
    from firstlight.services.objects.photometry import PhotometryService
    from firstlight.services.objects.photometry_reading import PhotometryReading
    from firstlight.services.objects.photometry_validations import PhotometryValidations
    from firstlight.services.objects.point_table import PointTable
    from firstlight.services.objects.portal_facts import PortalFacts
    from firstlight.services.objects.row_sharing import RowSharing
    from firstlight.services.objects.saved_objects import SavedObjectService
    from firstlight.services.objects.spectra import SpectrumService
    from firstlight.services.objects.tags import TagService
    from firstlight.services.objects.taxonomies import TaxonomyService
    from firstlight.services.objects.telescopes import TelescopeService
    from firstlight.services.objects.thumbnails import ThumbnailService
    from firstlight.services.quality.quality import QualityService
    from firstlight.services.references.shelf import ReferenceShelf
    from firstlight.services.scanning.candidates import CandidateService
    from firstlight.services.server_state import ServerStateService
    from firstlight.services.transients.missing_points import MissingPoints
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
    def database(self) -> Database:
        """For `Database.together`, in which a page is made."""
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
    def sign_in(self) -> SignInService:
        """Sessions of browsers."""
        ...

    @property
    def users(self) -> UserService:
        """Accounts."""
        ...

    @property
    def groups(self) -> GroupService:
        """Groups, and who is in them."""
        ...

    @property
    def admissions(self) -> AdmissionService:
        """Wishes to be let into a group."""
        ...

    @property
    def invitations(self) -> InvitationService:
        """Leave to make an account."""
        ...

    @property
    def user_tokens(self) -> UserTokenService:
        """Tokens of accounts."""
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

    @property
    def inbox(self) -> InboxService:
        """What users are told."""
        ...

    @property
    def light_curve_plots(self) -> LightCurvePlots:
        """Light curves as pages draw them."""
        ...

    @property
    def point_table(self) -> PointTable:
        """Points of light curves, row by row."""
        ...

    @property
    def cutouts(self) -> CutoutService:
        """Pictures of the sky around objects."""
        ...

    @property
    def comments(self) -> CommentService:
        """Remarks on objects."""
        ...

    @property
    def photometry(self) -> PhotometryService:
        """Photometry that is sent."""
        ...

    @property
    def photometry_reading(self) -> PhotometryReading:
        """Photometry that is read."""
        ...

    @property
    def light_curve_exports(self) -> LightCurveExport:
        """Light curves as files."""
        ...

    @property
    def period_search(self) -> PeriodSearch:
        """Periods of objects."""
        ...

    @property
    def photometry_validations(self) -> PhotometryValidations:
        """What people think of points."""
        ...

    @property
    def annotations(self) -> AnnotationService:
        """Facts about objects."""
        ...

    @property
    def classifications(self) -> ClassificationService:
        """What objects are taken for."""
        ...

    @property
    def taxonomies(self) -> TaxonomyService:
        """Trees of classes."""
        ...

    @property
    def home(self) -> HomeService:
        """The last nights, what failed, what is new."""
        ...

    @property
    def settings_summary(self) -> dict[str, Any]:
        """The settings as they are, for people."""
        ...

    @property
    def expiration(self) -> ExpirationService:
        """Removes what is due."""
        ...

    @property
    def exposure_views(self) -> ExposureViewService:
        """Steps, quality and sources of one exposure."""
        ...

    @property
    def sky_maps(self) -> SkyMapService:
        """Footprints."""
        ...

    @property
    def previews(self) -> PreviewService:
        """Pictures of FITS files."""
        ...

    @property
    def lineage_graphs(self) -> LineageGraphService:
        """What was made of what."""
        ...

    @property
    def jobs_view(self) -> JobsService:
        """Jobs as people see them."""
        ...

    @property
    def image_uploads(self) -> ImageUploadService:
        """Images for analysis."""
        ...

    @property
    def image_analyses(self) -> ImageAnalysisService:
        """Analyses of uploaded images."""
        ...

    @property
    def analysis_products(self) -> AnalysisProducts:
        """What came of analyses."""
        ...

    @property
    def analysis_services(self) -> AnalysisServices:
        """Programs that analyse objects."""
        ...

    @property
    def analysis_starter(self) -> AnalysisStarter:
        """Starts their runs."""
        ...

    @property
    def analyses(self) -> Analyses:
        """Their runs."""
        ...

    @property
    def analysis_uploads(self) -> AnalysisUploads:
        """Results that people upload."""
        ...

    @property
    def default_analyses(self) -> DefaultAnalyses:
        """Services that run by themselves."""
        ...

    @property
    def analysis_callbacks(self) -> CallbackService:
        """Takes what analysis services post back."""
        ...

    @property
    def connection_test(self) -> ConnectionTest:
        """Whether analysis services answer."""
        ...

    @property
    def shipped_services(self) -> ShippedServices:
        """Analysis services that come with firstlight."""
        ...

    @property
    def run_pages(self) -> RunPages:
        """Runs of analyses as pages show them."""
        ...

    @property
    def objects(self) -> ObjectService:
        """Objects of the sky."""
        ...

    @property
    def object_list(self) -> ObjectList:
        """Lists of objects."""
        ...

    @property
    def saved_objects(self) -> SavedObjectService:
        """Objects in the lists of groups."""
        ...

    @property
    def row_sharing(self) -> RowSharing:
        """Rows shared with further groups."""
        ...

    @property
    def candidates(self) -> CandidateService:
        """What changed in images."""
        ...

    @property
    def reference_shelf(self) -> ReferenceShelf:
        """What images are compared with."""
        ...

    @property
    def missing_points(self) -> MissingPoints:
        """Which images have no point of an object."""
        ...

    @property
    def quality(self) -> QualityService:
        """How good images are."""
        ...

    @property
    def tags(self) -> TagService:
        """Words that objects are marked with."""
        ...

    @property
    def summaries(self) -> SummaryKeeper:
        """Statistics of light curves."""
        ...

    @property
    def portal_facts(self) -> PortalFacts:
        """The portal's vocabulary."""
        ...

    @property
    def telescopes(self) -> TelescopeService:
        """Where instruments stand."""
        ...

    @property
    def instruments(self) -> InstrumentService:
        """To which photometry and spectra belong."""
        ...

    @property
    def spectra(self) -> SpectrumService:
        """Light by wavelength."""
        ...

    @property
    def thumbnails(self) -> ThumbnailService:
        """Small pictures of objects."""
        ...

    @property
    def catalog_annotations(self) -> CatalogAnnotations:
        """Stars next to objects."""
        ...


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the application that answers a request."""
    return cast("Services", connection.app.state.services)


def hub_of(connection: HTTPConnection) -> EventHub:
    """Return the application's source of live events."""
    hub: Any = connection.app.state.hub
    return cast("EventHub", hub)
