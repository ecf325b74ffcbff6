"""The nouns: database tables whose file data load lazily."""

from firstlight.models.arrival import Arrival, ArrivalState
from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.base import Base
from firstlight.models.event import Event
from firstlight.models.expiration import PassingFile, PassingKind, Removal
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureCard, ExposureFile, ExposureHeader, FileRole
from firstlight.models.image import Image, ImageInput, ImageKind
from firstlight.models.info_image import InfoImage, InfoImageFile
from firstlight.models.object import Object
from firstlight.models.observation import Observation
from firstlight.models.observation_file import ObservationFile, ObservationFileRole
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry
from firstlight.models.provenance import Provenance, ProvenanceTag, Software
from firstlight.models.sensor_section import SensorSection
from firstlight.models.site import Site
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState
from firstlight.models.token import Token
from firstlight.models.upload_ticket import UploadTicket
from firstlight.models.webhook import Webhook
from firstlight.models.zero_point import ZeroPoint

__all__ = [
    "Arrival",
    "ArrivalState",
    "Base",
    "Event",
    "Exposure",
    "ExposureCard",
    "ExposureFile",
    "ExposureHeader",
    "FileRole",
    "Image",
    "ImageInput",
    "ImageKind",
    "InfoImage",
    "InfoImageFile",
    "LightCurve",
    "LightCurveSet",
    "Object",
    "Observation",
    "ObservationFile",
    "ObservationFileRole",
    "PassingFile",
    "PassingKind",
    "Photometry",
    "Provenance",
    "ProvenanceTag",
    "Registration",
    "Removal",
    "SensorSection",
    "Site",
    "Software",
    "SourceList",
    "StepRun",
    "StepState",
    "Token",
    "UploadTicket",
    "Webhook",
    "WorldCoordinates",
    "ZeroPoint",
]
