"""Services of the portal: accounts, objects, their photometry and notes, image analyses."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from firstlight.factory.archive_wiring import ArchiveWiring

if TYPE_CHECKING:
    from firstlight.catalogs.base import ReferenceCatalog
    from firstlight.services.accounts.admission import AdmissionService
    from firstlight.services.accounts.groups import GroupService
    from firstlight.services.accounts.inbox import InboxService
    from firstlight.services.accounts.invitations import InvitationService
    from firstlight.services.accounts.passwords import Passwords
    from firstlight.services.accounts.sign_in import SignInService
    from firstlight.services.accounts.user_tokens import UserTokenService
    from firstlight.services.accounts.users import UserService
    from firstlight.services.finding.exposure_view import ExposureViewService
    from firstlight.services.finding.home import HomeService
    from firstlight.services.finding.previews import PreviewService
    from firstlight.services.finding.sky_map import SkyMapService
    from firstlight.services.image_analysis.image_analyses import Catalogues, ImageAnalysisService
    from firstlight.services.image_analysis.image_analysis_queue import ImageAnalysisQueue
    from firstlight.services.image_analysis.image_analysis_run import ImageAnalysisRun
    from firstlight.services.image_analysis.image_uploads import ImageUploadService
    from firstlight.services.lineage_graph import LineageGraphService
    from firstlight.services.objects.annotations import AnnotationService
    from firstlight.services.objects.annotations_from_catalogs import CatalogAnnotations
    from firstlight.services.objects.classifications import ClassificationService
    from firstlight.services.objects.comments import CommentService
    from firstlight.services.objects.cutouts import CutoutService
    from firstlight.services.objects.instruments import InstrumentService
    from firstlight.services.objects.light_curve_export import LightCurveExport
    from firstlight.services.objects.light_curve_plot import LightCurvePlots
    from firstlight.services.objects.object_list import ObjectList
    from firstlight.services.objects.object_reactions import ObjectReactions
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
    from firstlight.services.scanning.candidates import CandidateService
    from firstlight.work.job_desk import JobDesk

__all__ = ["PortalWiring"]


class PortalWiring(ArchiveWiring):
    """Builds the services of the portal, each when first asked for."""

    @cached_property
    def objects(self) -> ObjectService:
        """Objects of the sky."""
        from firstlight.services.objects.objects import ObjectService

        return ObjectService(database=self.database, reactions=self.object_reactions)

    @property
    def object_reactions(self) -> ObjectReactions:
        """What begins by itself when something is said of an object."""
        from firstlight.services.objects.object_reactions import NO_REACTIONS

        return NO_REACTIONS

    @cached_property
    def object_list(self) -> ObjectList:
        """Lists of objects."""
        from firstlight.services.objects.object_list import ObjectList

        return ObjectList(database=self.database)

    @cached_property
    def inbox(self) -> InboxService:
        """What users are told."""
        from firstlight.services.accounts.inbox import InboxService

        return InboxService(database=self.database)

    @cached_property
    def light_curve_plots(self) -> LightCurvePlots:
        """Light curves as pages draw them."""
        from firstlight.services.objects.light_curve_plot import LightCurvePlots

        return LightCurvePlots(database=self.database)

    @cached_property
    def point_table(self) -> PointTable:
        """Points of light curves, row by row."""
        from firstlight.services.objects.point_table import PointTable

        return PointTable(database=self.database)

    @cached_property
    def cutouts(self) -> CutoutService:
        """Pictures of the sky around objects."""
        from firstlight.services.objects.cutouts import CutoutService

        return CutoutService(database=self.database, store=self.store)

    @cached_property
    def saved_objects(self) -> SavedObjectService:
        """Objects in the lists of groups."""
        from firstlight.services.objects.saved_objects import SavedObjectService

        return SavedObjectService(database=self.database, reactions=self.object_reactions)

    @cached_property
    def row_sharing(self) -> RowSharing:
        """Rows shared with further groups."""
        from firstlight.services.objects.row_sharing import RowSharing

        return RowSharing(database=self.database)

    @cached_property
    def tags(self) -> TagService:
        """Words that objects are marked with."""
        from firstlight.services.objects.tags import TagService

        return TagService(database=self.database)

    @cached_property
    def candidates(self) -> CandidateService:
        """What changed in images, to look through."""
        from firstlight.services.scanning.candidates import CandidateService

        return CandidateService(database=self.database, tags=self.tags)

    @cached_property
    def summaries(self) -> SummaryKeeper:
        """Statistics of light curves, kept ready."""
        from firstlight.services.objects.object_summary import SummaryKeeper

        return SummaryKeeper(database=self.database)

    @cached_property
    def portal_facts(self) -> PortalFacts:
        """The portal's vocabulary, and how much it holds."""
        from firstlight.services.analyses.service_fields import VOCABULARY
        from firstlight.services.objects.portal_facts import PortalFacts

        return PortalFacts(
            database=self.database, filters=self.settings.photometry.filters, words=VOCABULARY
        )

    # --- accounts --------------------------------------------------------------------------

    @cached_property
    def users(self) -> UserService:
        """Accounts."""
        from firstlight.services.accounts.users import UserService

        return UserService(database=self.database, passwords=self._passwords)

    @cached_property
    def groups(self) -> GroupService:
        """Groups, and who is in them."""
        from firstlight.services.accounts.groups import GroupService

        return GroupService(database=self.database)

    @cached_property
    def admissions(self) -> AdmissionService:
        """Wishes to be let into a group."""
        from firstlight.services.accounts.admission import AdmissionService

        return AdmissionService(database=self.database)

    @cached_property
    def invitations(self) -> InvitationService:
        """Leave to make an account."""
        from firstlight.services.accounts.invitations import InvitationService

        return InvitationService(
            database=self.database,
            passwords=self._passwords,
            settings=self.settings.accounts,
        )

    @cached_property
    def user_tokens(self) -> UserTokenService:
        """Tokens of accounts."""
        from firstlight.services.accounts.user_tokens import UserTokenService

        return UserTokenService(database=self.database)

    @cached_property
    def sign_in(self) -> SignInService:
        """Sessions of browsers."""
        from firstlight.services.accounts.sign_in import SignInService

        return SignInService(
            database=self.database,
            access=self.access,
            passwords=self._passwords,
            settings=self.settings.accounts,
        )

    @cached_property
    def _passwords(self) -> Passwords:
        from firstlight.services.accounts.passwords import Passwords

        return Passwords(self.settings.accounts.password_length)

    # --- what is said of objects -----------------------------------------------------------

    @cached_property
    def comments(self) -> CommentService:
        """Remarks on objects."""
        from firstlight.services.objects.comments import CommentService

        return CommentService(
            database=self.database, store=self.store, settings=self.settings.comments
        )

    @cached_property
    def photometry(self) -> PhotometryService:
        """Photometry that is sent."""
        from firstlight.services.objects.photometry import PhotometryService

        return PhotometryService(database=self.database, settings=self.settings.photometry)

    @cached_property
    def photometry_reading(self) -> PhotometryReading:
        """Photometry that is read."""
        from firstlight.services.objects.photometry_reading import PhotometryReading

        return PhotometryReading(database=self.database, settings=self.settings.photometry)

    @cached_property
    def light_curve_exports(self) -> LightCurveExport:
        """Light curves as files."""
        from firstlight.services.objects.light_curve_export import LightCurveExport

        return LightCurveExport(database=self.database, settings=self.settings.photometry)

    @cached_property
    def period_search(self) -> PeriodSearch:
        """Periods of objects."""
        from firstlight.services.objects.period_search import PeriodSearch

        return PeriodSearch(plots=self.light_curve_plots)

    @cached_property
    def photometry_validations(self) -> PhotometryValidations:
        """What people think of points."""
        from firstlight.services.objects.photometry_validations import PhotometryValidations

        return PhotometryValidations(database=self.database)

    @cached_property
    def annotations(self) -> AnnotationService:
        """Facts about objects."""
        from firstlight.services.objects.annotations import AnnotationService

        return AnnotationService(database=self.database)

    @cached_property
    def classifications(self) -> ClassificationService:
        """What objects are taken for."""
        from firstlight.services.objects.classifications import ClassificationService

        return ClassificationService(database=self.database, reactions=self.object_reactions)

    @cached_property
    def taxonomies(self) -> TaxonomyService:
        """Trees of classes."""
        from firstlight.services.objects.taxonomies import TaxonomyService

        return TaxonomyService(database=self.database)

    # --- what pages show of the archive ----------------------------------------------------

    @cached_property
    def home(self) -> HomeService:
        """The last nights, what failed, what is new."""
        from firstlight.services.finding.home import HomeService

        return HomeService(database=self.database, search=self.search)

    @property
    def settings_summary(self) -> dict[str, Any]:
        """The settings as they are, for people: nothing secret."""
        from firstlight.services.settings_summary import settings_summary

        return settings_summary(self.settings.model_dump(mode="json"))

    @cached_property
    def exposure_views(self) -> ExposureViewService:
        """Steps, quality and sources of one exposure."""
        from firstlight.services.finding.exposure_view import ExposureViewService

        return ExposureViewService(database=self.database)

    @cached_property
    def sky_maps(self) -> SkyMapService:
        """Footprints."""
        from firstlight.services.finding.sky_map import SkyMapService

        return SkyMapService(database=self.database)

    @cached_property
    def previews(self) -> PreviewService:
        """Pictures of FITS files."""
        from firstlight.services.finding.previews import PreviewService

        return PreviewService(
            database=self.database,
            search=self.search,
            files=self.served_files,
            downloads=self.downloads,
        )

    @cached_property
    def lineage_graphs(self) -> LineageGraphService:
        """What was made of what."""
        from firstlight.services.lineage_graph import LineageGraphService

        return LineageGraphService(database=self.database)

    # --- images that users upload ----------------------------------------------------------

    @cached_property
    def image_uploads(self) -> ImageUploadService:
        """Images for analysis."""
        from firstlight.services.image_analysis.image_uploads import ImageUploadService

        return ImageUploadService(
            database=self.database, store=self.store, limits=self.settings.image_analysis
        )

    @cached_property
    def image_analyses(self) -> ImageAnalysisService:
        """Analyses of uploaded images."""
        from firstlight.services.image_analysis.accepted_photometry import AcceptedPhotometry
        from firstlight.services.image_analysis.image_analyses import ImageAnalysisService
        from firstlight.services.image_analysis.stdpipe_engine import installed_engines
        from firstlight.services.objects.bandpasses import Bandpasses

        return ImageAnalysisService(
            database=self.database,
            files=self.served_files,
            photometry=AcceptedPhotometry(Bandpasses(self.settings.photometry.filters).offset),
            catalogues=self._catalogues,
            engines=installed_engines,
            limits=self.settings.image_analysis,
        )

    @cached_property
    def image_analysis_run(self) -> ImageAnalysisRun:
        """Does one analysis, in a worker."""
        from firstlight.catalogs.quad_index import quad_index
        from firstlight.catalogs.tycho2 import Tycho2
        from firstlight.services.image_analysis.image_analysis_engines import FirstlightMeasurer
        from firstlight.services.image_analysis.image_analysis_run import ImageAnalysisRun
        from firstlight.services.image_analysis.stdpipe_engine import StdpipeMeasurer

        return ImageAnalysisRun(
            database=self.database,
            store=self.store,
            measurers={
                "firstlight": FirstlightMeasurer(lambda: quad_index(Tycho2())),
                "stdpipe": StdpipeMeasurer(),
            },
            catalog=self._photometric_catalog,
            limits=self.settings.image_analysis,
        )

    def image_analysis_queue(self, jobs: JobDesk) -> ImageAnalysisQueue:
        """Hands analyses to an engine."""
        from firstlight.services.image_analysis.image_analysis_queue import ImageAnalysisQueue

        return ImageAnalysisQueue(
            database=self.database, jobs=jobs, limits=self.settings.image_analysis
        )

    def _photometric_catalog(self, name: str | None) -> ReferenceCatalog:
        from firstlight.catalogs.registry import choose_catalog, get_catalog

        catalogs = self.settings.catalogs
        return get_catalog(name or choose_catalog(catalogs, "photometry"), catalogs)

    def _catalogues(self) -> Catalogues:
        from firstlight.catalogs.registry import catalog_names, choose_catalog, offline_catalogs
        from firstlight.services.image_analysis.image_analyses import Catalogues

        catalogs = self.settings.catalogs
        return Catalogues(
            catalog_names(catalogs),
            offline_catalogs(catalogs),
            choose_catalog(catalogs, "photometry"),
        )

    @cached_property
    def telescopes(self) -> TelescopeService:
        """Where instruments stand."""
        from firstlight.services.objects.telescopes import TelescopeService

        return TelescopeService(database=self.database)

    @cached_property
    def instruments(self) -> InstrumentService:
        """To which photometry and spectra belong."""
        from firstlight.services.objects.instruments import InstrumentService

        return InstrumentService(database=self.database)

    @cached_property
    def spectra(self) -> SpectrumService:
        """Light by wavelength."""
        from firstlight.services.objects.spectra import SpectrumService

        return SpectrumService(database=self.database, store=self.store)

    @cached_property
    def thumbnails(self) -> ThumbnailService:
        """Small pictures of objects."""
        from firstlight.services.objects.thumbnails import ThumbnailService

        return ThumbnailService(database=self.database, store=self.store)

    @cached_property
    def catalog_annotations(self) -> CatalogAnnotations:
        """Stars next to objects."""
        from firstlight.services.objects.annotations_from_catalogs import (
            CatalogAnnotations,
            patient_settings,
        )

        return CatalogAnnotations(
            database=self.database,
            annotations=self.annotations,
            find_catalog=patient_settings(self.settings.catalogs),
        )
