"""The nouns: database tables whose file data load lazily."""

from firstlight.models.account import (
    AdmissionRequest,
    Group,
    GroupSite,
    Invitation,
    LoginSession,
    Membership,
    User,
    UserNotification,
)
from firstlight.models.alert import Alert
from firstlight.models.analysis import (
    Analysis,
    AnalysisFile,
    AnalysisFileKind,
    AnalysisService,
    AnalysisStatus,
    DefaultAnalysis,
)
from firstlight.models.arrival import Arrival, ArrivalState
from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.audience import Audience, AudienceGroup, AudienceSite
from firstlight.models.base import Base
from firstlight.models.event import Event
from firstlight.models.expiration import PassingFile, PassingKind, Removal
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureCard, ExposureFile, ExposureHeader, FileRole
from firstlight.models.forced_run import FollowedObject, ForcedRun
from firstlight.models.image import Image, ImageInput, ImageKind
from firstlight.models.image_analysis import AnalysisState, ImageAnalysis, UploadedImage
from firstlight.models.info_image import InfoImage, InfoImageFile
from firstlight.models.instrument_record import InstrumentRecord, Telescope
from firstlight.models.measurement import Cutouts, Measurement, MeasurementSet
from firstlight.models.notes import (
    Annotation,
    Classification,
    ClassificationEdit,
    ClassificationVote,
    Comment,
    ObjectTag,
    Tag,
    Taxonomy,
    Thumbnail,
)
from firstlight.models.object import Object, PhotometrySummary, SavedObject
from firstlight.models.observation import Observation
from firstlight.models.observation_file import ObservationFile, ObservationFileRole
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry, PhotometryValidation
from firstlight.models.provenance import Provenance, ProvenanceTag, Software
from firstlight.models.psf import PSF
from firstlight.models.quality import Badness, BadnessMark, FakeSet, QualityReport
from firstlight.models.reference import Reference
from firstlight.models.sensor_section import SensorSection
from firstlight.models.site import Site
from firstlight.models.sources import SourceList
from firstlight.models.spectrum import Spectrum
from firstlight.models.step_run import StepRun, StepState
from firstlight.models.token import Token
from firstlight.models.upload_ticket import UploadTicket
from firstlight.models.webhook import Webhook
from firstlight.models.zero_point import ZeroPoint

__all__ = [
    "PSF",
    "AdmissionRequest",
    "Alert",
    "Analysis",
    "AnalysisFile",
    "AnalysisFileKind",
    "AnalysisService",
    "AnalysisState",
    "AnalysisStatus",
    "Annotation",
    "Arrival",
    "ArrivalState",
    "Audience",
    "AudienceGroup",
    "AudienceSite",
    "Badness",
    "BadnessMark",
    "Base",
    "Classification",
    "ClassificationEdit",
    "ClassificationVote",
    "Comment",
    "Cutouts",
    "DefaultAnalysis",
    "Event",
    "Exposure",
    "ExposureCard",
    "ExposureFile",
    "ExposureHeader",
    "FakeSet",
    "FileRole",
    "FollowedObject",
    "ForcedRun",
    "Group",
    "GroupSite",
    "Image",
    "ImageAnalysis",
    "ImageInput",
    "ImageKind",
    "InfoImage",
    "InfoImageFile",
    "InstrumentRecord",
    "Invitation",
    "LightCurve",
    "LightCurveSet",
    "LoginSession",
    "Measurement",
    "MeasurementSet",
    "Membership",
    "Object",
    "ObjectTag",
    "Observation",
    "ObservationFile",
    "ObservationFileRole",
    "PassingFile",
    "PassingKind",
    "Photometry",
    "PhotometrySummary",
    "PhotometryValidation",
    "Provenance",
    "ProvenanceTag",
    "QualityReport",
    "Reference",
    "Registration",
    "Removal",
    "SavedObject",
    "SensorSection",
    "Site",
    "Software",
    "SourceList",
    "Spectrum",
    "StepRun",
    "StepState",
    "Tag",
    "Taxonomy",
    "Telescope",
    "Thumbnail",
    "Token",
    "UploadTicket",
    "UploadedImage",
    "User",
    "UserNotification",
    "Webhook",
    "WorldCoordinates",
    "ZeroPoint",
]
