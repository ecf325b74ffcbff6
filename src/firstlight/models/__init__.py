"""The nouns: database tables whose file data load lazily."""

from firstlight.models.arrival import Arrival, ArrivalState
from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.base import Base
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageInput, ImageKind
from firstlight.models.object import Object
from firstlight.models.observation import Observation
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry
from firstlight.models.provenance import Provenance, ProvenanceTag, Software
from firstlight.models.sensor_section import SensorSection
from firstlight.models.site import Site
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState
from firstlight.models.zero_point import ZeroPoint

__all__ = [
    "Arrival",
    "ArrivalState",
    "Base",
    "Exposure",
    "Image",
    "ImageInput",
    "ImageKind",
    "LightCurve",
    "LightCurveSet",
    "Object",
    "Observation",
    "Photometry",
    "Provenance",
    "ProvenanceTag",
    "Registration",
    "SensorSection",
    "Site",
    "Software",
    "SourceList",
    "StepRun",
    "StepState",
    "WorldCoordinates",
    "ZeroPoint",
]
