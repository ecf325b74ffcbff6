"""Cameras: how their files, sections and headers are read."""

from firstlight.instruments.base import Instrument, Known
from firstlight.instruments.registry import (
    INSTRUMENT_INSTANCE_CACHE,
    configure_instrument,
    define_instrument,
    get_instrument_instance,
    guess_instrument,
    instrument_names,
    load_cameras,
)
from firstlight.instruments.sections import SensorSection

__all__ = [
    "INSTRUMENT_INSTANCE_CACHE",
    "Instrument",
    "Known",
    "SensorSection",
    "configure_instrument",
    "define_instrument",
    "get_instrument_instance",
    "guess_instrument",
    "instrument_names",
    "load_cameras",
]
