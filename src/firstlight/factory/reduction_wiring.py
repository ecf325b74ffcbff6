"""Services of the reduction: from exposures to light curves."""

# ruff: noqa: PLC0415, services load numerical libraries; a command loads only what it needs

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

from firstlight.factory.foundations import Foundations

if TYPE_CHECKING:
    from collections.abc import Callable

    from firstlight.pipeline.recipe import Recipe
    from firstlight.services.calibration import CalibrationService
    from firstlight.services.colour_pictures import ColourPictureService
    from firstlight.services.light_curve_search import LightCurveSearch
    from firstlight.services.light_curves import LightCurveService
    from firstlight.services.lineage import LineageService
    from firstlight.services.night import Plan
    from firstlight.services.pictures import PictureService
    from firstlight.services.products import ProductFiles
    from firstlight.services.reduction import ReductionService
    from firstlight.services.registration import RegistrationService
    from firstlight.services.stamp_light_curves import StampLightCurveService
    from firstlight.services.status import StatusService
    from firstlight.services.transients.association import ObjectRecogniser
    from firstlight.services.transients.forced_photometry import ForcedPhotometryService
    from firstlight.services.transients.known_objects import KnownObjects
    from firstlight.work.engine import JobRequest

__all__ = ["ReductionWiring"]


class ReductionWiring(Foundations):
    """Builds the services of the reduction, each when first asked for."""

    @cached_property
    def recipe(self) -> Recipe:
        """The standard recipe with this workspace's parameters."""
        from firstlight.catalogs.quad_index import quad_index
        from firstlight.catalogs.registry import choose_catalog, get_catalog
        from firstlight.catalogs.tycho2 import Tycho2
        from firstlight.pipeline.standard import standard_recipe

        catalogs = self.settings.catalogs
        return standard_recipe(
            self.settings.recipe,
            astrometry=get_catalog(choose_catalog(catalogs, "astrometry"), catalogs),
            photometry=get_catalog(choose_catalog(catalogs, "photometry"), catalogs),
            quads=lambda: quad_index(Tycho2()),
            instruments=self.settings.instruments,
        )

    @cached_property
    def calibration(self) -> CalibrationService:
        """Master calibrations."""
        from firstlight.services.calibration import CalibrationService

        return CalibrationService(
            database=self.database,
            files=self.files,
            settings=self.settings.calibration,
        )

    @cached_property
    def reduction(self) -> ReductionService:
        """Sections through the recipe."""
        from firstlight.services.quality.reports import QualityReporter
        from firstlight.services.reduction import ReductionService

        return ReductionService(
            database=self.database,
            files=self.files,
            recipe=self.recipe,
            calibration=self.calibration,
            changes=lambda: self.change_recipe,
            choice=self.settings.references,
            report=QualityReporter(self.settings.quality),
            keep_objects=self.object_recogniser,
        )

    @cached_property
    def known_objects(self) -> KnownObjects:
        """Variable stars and minor planets of files on this machine."""
        from firstlight.services.transients.known_objects import KnownObjects

        return KnownObjects(self.settings.transients.known, self.workspace)

    @cached_property
    def object_recogniser(self) -> ObjectRecogniser:
        """Gives measurements their objects."""
        from firstlight.services.transients.association import ObjectRecogniser

        settings = self.settings.transients
        return ObjectRecogniser(
            settings.objects,
            self.known_objects,
            moved_arcsec=settings.forced.moved_arcsec,
        )

    @cached_property
    def forced_photometry(self) -> ForcedPhotometryService:
        """Objects in all differences that cover them."""
        from firstlight.services.transients.forced_photometry import ForcedPhotometryService

        return ForcedPhotometryService(
            database=self.database, settings=self.settings.transients.forced
        )

    @cached_property
    def change_recipe(self) -> Recipe:
        """What follows where there is a reference."""
        from firstlight.pipeline.change_recipe import change_recipe

        return change_recipe(self.settings.recipe, self.recipe)

    @cached_property
    def files(self) -> ProductFiles:
        """Files of products."""
        from firstlight.services.products import ProductFiles

        return ProductFiles(self.store, self.settings.storage.images)

    @cached_property
    def registration(self) -> RegistrationService:
        """Frames onto each other."""
        from firstlight.services.registration import RegistrationService

        return RegistrationService(
            database=self.database, upstream=self.recipe.lineages["find_sources"]
        )

    @cached_property
    def pictures(self) -> PictureService:
        """Plots and previews."""
        from firstlight.services.pictures import PictureService

        return PictureService()

    @cached_property
    def light_curves(self) -> LightCurveService:
        """Light curves of observations, by apertures."""
        from firstlight.services.light_curves import LightCurveService

        return LightCurveService(
            database=self.database,
            upstream=(self.recipe.lineages["solve_photometry"], self.registration.lineage),
            settings=self.settings.light_curves,
        )

    @cached_property
    def light_curve_search(self) -> LightCurveSearch:
        """Light curves of stars, however they were made."""
        from firstlight.services.light_curve_search import LightCurveSearch

        return LightCurveSearch(database=self.database)

    @cached_property
    def colour_pictures(self) -> ColourPictureService:
        """Pictures and movies of cameras whose colours are sections."""
        from firstlight.services.colour_pictures import ColourPictureService

        return ColourPictureService(
            database=self.database, store=self.store, settings=self.settings.colour_pictures
        )

    @cached_property
    def stamp_light_curves(self) -> StampLightCurveService:
        """Stamps and light curves of cameras whose colours are sections."""
        from firstlight.catalogs.registry import choose_catalog, get_catalog
        from firstlight.services.stamp_light_curves import StampLightCurveService

        catalogs = self.settings.catalogs
        return StampLightCurveService(
            database=self.database,
            store=self.store,
            catalog=get_catalog(choose_catalog(catalogs, "photometry"), catalogs),
            upstream=(self.recipe.lineages["solve_astrometry"],),
            settings=self.settings.stamp_light_curves,
        )

    @cached_property
    def status(self) -> StatusService:
        """What stands where."""
        from firstlight.services.status import StatusService

        return StatusService(database=self.database)

    @cached_property
    def lineage(self) -> LineageService:
        """What a product was made of."""
        from firstlight.services.lineage import LineageService

        return LineageService(database=self.database)

    def plans(self) -> list[Plan]:
        """All work of a night, in the order in which it depends on each other."""
        from firstlight.services.night import Plan

        calibration = self.calibration
        makers: list[tuple[str, Callable[..., list[JobRequest]]]] = [
            *((f"master {kind}", partial(calibration.plan, kind)) for kind in calibration.KINDS),
            ("reduce", self.reduction.plan),
            ("forced photometry", self.forced_photometry.plan),
            ("forced photometry of new objects", self.forced_photometry.plan_objects),
            ("register", self.registration.plan),
            ("light curves", self.light_curves.plan),
            ("stamps", self.stamp_light_curves.plan),
            ("colour pictures", self.colour_pictures.plan),
            ("timelapses", self.colour_pictures.plan_timelapses),
        ]
        return [Plan(title, make) for title, make in makers]
