"""The header of a pretend exposure: the cards that a Photon Ranch observatory writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

from astropy.io import fits

__all__ = ["PretendExposure", "header_of", "header_text"]

Card = tuple[str, Any, str]

UNIX_EPOCH_MJD = 40587.0
NO_STACK = "no"


@dataclass(frozen=True)
class PretendExposure:
    """The truth about one exposure of a pretend site.

    Attributes
    ----------
    collection
        ``data``, ``allsky`` or ``info-images``, which is also the prefix of its files.
    base_filename
        ``{site}-{camera}-{YYYYMMDD}-{NNNNNNNN}``.
    night
        The day in the name: the local date of the evening.
    ra, dec
        ICRS degrees.
    altitude, azimuth
        Degrees; azimuth from north through east.
    start_mjd, exposure_time
        UTC; seconds.
    stack, stack_number, stack_length
        Smart stack: its name (``no`` for none), the 0-based place in it, how many there are.
    channel
        Of an info image, 1 to 3.
    """

    collection: str
    base_filename: str
    data_type: str
    site: str
    camera: str
    night: date
    number: int
    target: str
    filter: str
    ra: float
    dec: float
    altitude: float
    azimuth: float
    airmass: float
    start_mjd: float
    exposure_time: float
    user_id: str
    username: str
    stack: str = NO_STACK
    stack_number: int = 0
    stack_length: int = 1
    channel: int | None = None

    @property
    def date_obs(self) -> str:
        """Start of the exposure in UTC, as headers write it."""
        moment = datetime.fromtimestamp((self.start_mjd - UNIX_EPOCH_MJD) * 86400, UTC)
        return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "night": self.night.isoformat(), "date_obs": self.date_obs}


def header_of(
    exposure: PretendExposure, shape: tuple[int, int], scale: float, place: tuple[float, ...]
) -> fits.Header:
    """The whole header, pixels described but not included.

    Parameters
    ----------
    shape
        ``(ny, nx)`` of the large FITS file.
    scale
        Arcseconds per pixel of it.
    place
        Latitude, longitude (degrees, positive to the east) and elevation (metres) of the site.
    """
    cards = [
        *_structure(shape),
        *_camera(exposure, shape, scale),
        *_time(exposure),
        *_pointing(exposure),
        *_telescope(exposure, place),
        *_request(exposure),
    ]
    return fits.Header(cards)


def header_text(header: fits.Header) -> bytes:
    """The file that goes ahead: cards of 80 characters, END last, nothing between."""
    return str(header.tostring(sep="", endcard=True, padding=False)).encode("ascii")


def _structure(shape: tuple[int, int]) -> Iterator[Card]:
    yield "SIMPLE", True, "conforms to FITS standard"
    yield "BITPIX", 16, "array data type"
    yield "NAXIS", 2, "number of array dimensions"
    yield "NAXIS1", shape[1], ""
    yield "NAXIS2", shape[0], ""
    yield "BZERO", 32768, "unsigned integers"
    yield "BSCALE", 1, ""
    yield "BUNIT", "adu", "Unit of array values"


def _camera(exposure: PretendExposure, shape: tuple[int, int], scale: float) -> Iterator[Card]:
    yield "INSTRUME", exposure.camera, "Name of camera"
    yield "CAMNAME", exposure.camera, "Instrument used"
    yield "CAMMANUF", "Pretend Cameras", "Camera manufacturer"
    yield "DETECTOR", "PRETEND-16200", "Name of camera detector"
    yield "CMOSCAM", False, "Is CMOS camera"
    yield "CCDXBIN", 1, "Binning along columns"
    yield "CCDYBIN", 1, "Binning along rows"
    yield "XBINING", 1, "Pixel binning in x direction"
    yield "YBINING", 1, "Pixel binning in y direction"
    yield "CCDATEMP", -19.98, "[C] CCD actual temperature"
    yield "CCDSTEMP", -20.0, "[C] CCD set temperature"
    yield "COOLERON", True, "Cooler power"
    yield "GAIN", 1.0, "[e-/ADU] Pixel gain"
    yield "RDNOISE", 8.0, "[e-/pixel] Read noise"
    yield "FULLWELL", 80000, "Full well capacity"
    yield "SATURATE", 65000, "[ADU] Saturation level"
    yield "MAXLIN", 60000, "[ADU] Non-linearity level"
    yield "PIXSCALE", scale, "[arcsec/pixel] Nominal pixel scale on sky"
    yield "DATASEC", f"[1:{shape[1]},1:{shape[0]}]", "Light-sensitive pixels"
    yield "PEDESTAL", 100, "[ADU] Added to each pixel"
    yield "OVERSCAN", 0, "[ADU] Overscan level"
    yield "FILTER", exposure.filter, "Filter type"
    yield "FILTEROF", 0, "Filter offset"
    yield "FILTRNUM", "PTR_ADON_HA_0023", "An index into a DB"
    yield "FILTPOS", 3, "Position of the filter in its wheel"
    yield "SHUTTER", "open", "Shutter during the exposure"


def _time(exposure: PretendExposure) -> Iterator[Card]:
    yield "TIMESYS", "UTC", "Time system used"
    yield "DATE", exposure.date_obs[:10], "Date FITS file was written"
    yield "DATE-OBS", exposure.date_obs, "Start date and time of observation"
    yield "DAY-OBS", f"{exposure.night:%Y%m%d}", "Date at start of observing night"
    yield "MJD-OBS", round(exposure.start_mjd, 8), "[UTC days] Modified Julian Date start date/time"
    yield "JD-START", round(exposure.start_mjd + 2400000.5, 8), "[UTC days] Julian Date at start"
    yield "EXPTIME", exposure.exposure_time, "[s] Actual exposure length"
    yield "EXPREQ", exposure.exposure_time, "[s] Requested exposure time"
    yield "OBSTYPE", "EXPOSE", "Observation type"
    yield "IMAGETYP", "Light Frame", "Type of image"


def _pointing(exposure: PretendExposure) -> Iterator[Card]:
    hours = exposure.ra / 15
    yield "OBJECT", exposure.target, "Object name"
    yield "RA", round(exposure.ra, 7), "[deg] Telescope right ascension"
    yield "DEC", round(exposure.dec, 7), "[deg] Telescope declination"
    yield "ORIGRA", round(exposure.ra, 7), "[deg] Original RA before solve"
    yield "ORIGDEC", round(exposure.dec, 7), "[deg] Original Dec before solve"
    yield "RAHRS", round(hours, 8), "[hrs] Telescope right ascension"
    yield "OBJCTRA", round(hours, 8), "[hrs] Object right ascension"
    yield "OBJCTDEC", round(exposure.dec, 7), "[deg] Object declination"
    yield "RADESYS", "ICRS", "Coordinate system"
    yield "EQUINOX", 2000.0, "[yr] Equinox of the coordinates"
    yield "ALTITUDE", round(exposure.altitude, 5), "[deg] Telescope altitude"
    yield "AZIMUTH", round(exposure.azimuth, 5), "[deg] Telescope azimuth"
    yield "ZENITH", round(90 - exposure.altitude, 5), "[deg] Zenith distance"
    yield "AIRMASS", round(exposure.airmass, 5), "Effective mean airmass"


def _telescope(exposure: PretendExposure, place: tuple[float, ...]) -> Iterator[Card]:
    latitude, longitude, elevation = place
    yield "SITEID", exposure.site, "Site of the telescope"
    yield "TELID", "mrc0m31", "Telescope used"
    yield "TELESCOP", f"{exposure.site}-0m31", "Name of the telescope"
    yield "APTDIA", 310.0, "[mm] Diameter of primary mirror"
    yield "FOCALLEN", 1984.0, "[mm] Focal length"
    yield "SITELAT", latitude, "[deg] Latitude, north positive"
    yield "SITELONG", longitude, "[deg] Longitude, east positive"
    yield "SITEELEV", elevation, "[m] Elevation above sea level"
    yield "MNT-SIDT", 20.1234, "[hrs] Mount sidereal time"
    yield "MNT-PARK", False, "Mount is parked"
    yield "MNT-SLEW", False, "Mount is slewing"
    yield "MNT-TRAK", True, "Mount is tracking"
    yield "PIERSIDE", "look west", "Pier side of mount"
    yield "ROTATOR", "rotator1", "Rotator name"
    yield "ROTANGLE", 0.0, "[deg] Rotator angle"
    yield "FOCUS", "focuser1", "Focuser name"
    yield "FOCUSPOS", 3812.5, "[um] Focuser position"
    yield "FOCUSTMP", 14.2, "[C] Focuser temperature"
    yield "WXSTATE", "open", "Weather, as the enclosure sees it"
    yield "ENCSTAT1", "Open", "Shutter status"
    yield "ENCLIGHT", "off", "Enclosure lights"


def _request(exposure: PretendExposure) -> Iterator[Card]:
    own = f"{exposure.base_filename}-{exposure.data_type}00.fits"
    yield "USERNAME", exposure.username, "User name"
    yield "USERID", exposure.user_id, "User's unique id"
    yield "REQNUM", f"{exposure.number:08d}", "Request number"
    yield "PROPID", "PretendProposal", "Proposal"
    yield "BLKUID", f"{exposure.night:%Y%m%d}{exposure.number:04d}", "Group unique id"
    yield "FRAMENUM", exposure.number, "Running frame number"
    yield "LONGSTK", exposure.stack_length > 10, "Is this a long stack"
    yield "SMARTSTK", exposure.stack, "Group of a smart stack, or no"
    yield "SSTKNUM", exposure.stack_number, "Number of the image in its smart stack"
    yield "SSTKLEN", exposure.stack_length, "How many images the smart stack has"
    yield "ORIGNAME", own, "Original name of the file"
    yield "FILENAME", own, "Name of the file"
    yield "ISMASTER", False, "Is a master image"
    yield "OBSNOTE", "pretended, to try things out", "Observing note"
