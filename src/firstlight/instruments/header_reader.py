"""From the cards of one camera to the names and units of all: the header half of an instrument."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from astropy.time import Time

from firstlight.algorithms.sky import barycentre
from firstlight.formats.fits_cards import is_blank
from firstlight.instruments import header_errors as bad
from firstlight.instruments import header_values as values
from firstlight.instruments.amplifier_areas import AmplifierArea, areas_in
from firstlight.instruments.header_names import KEYWORDS, CardFound, normalize_keyword

__all__ = [
    "AmplifierArea",
    "AnyHeader",
    "CardFound",
    "HeaderReader",
    "PlainHeader",
    "Site",
    "plain_header",
]

AnyHeader: TypeAlias = Mapping[str, Any]  # astropy's Header is used as one, too
_MJD_RANGE = (-3000.0, 125_000.0)  # 1850 to 2200
_CFA = re.compile(r"^(RGGB|BGGR|GRBG|GBRG)$")


class Site(NamedTuple):
    """Where a telescope stands: degrees, east positive; metres. None where not known."""

    latitude: float | None
    longitude: float | None
    elevation: float | None


def _within(low: float, high: float, what: str) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        number = values.parse_number(value)
        if not (math.isfinite(number) and low <= number <= high):
            raise ValueError(what)
        return number

    return read


def _declination(value: Any) -> float:
    angle, _ = values.parse_angle(value)
    if not math.isfinite(angle) or abs(angle) > 90:
        raise ValueError("degrees from -90 to 90")
    return angle


def _celsius(value: Any) -> float:
    text = str(value).strip().upper()
    number = values.parse_number(value)
    if isinstance(value, str) and text.endswith("K"):
        number -= 273.15
    if not -273.15 <= number <= 150:
        raise ValueError("degrees Celsius from -273.15 to 150")
    return number


def _airmass(value: Any) -> float | None:
    number = values.parse_number(value)
    if number <= 0:  # how cameras say that they do not know
        return None
    if not 0.99 <= number <= 50:
        raise ValueError("a number from 1 to 50")
    return max(1.0, number)


def _text(value: Any) -> str:
    return str(value).strip()


_POSITIVE = "a positive number"
# How each name is read, and what is wrong when it cannot be.
_READERS: dict[str, tuple[Callable[[Any], Any], type[bad.BadHeader]]] = {
    "ra": (values.parse_right_ascension, bad.BadCoordinate),
    "dec": (_declination, bad.BadCoordinate),
    "exp_time": (_within(0, 1e6, "seconds from 0 to a million"), bad.BadExposureTime),
    "mjd": (_within(*_MJD_RANGE, "an MJD from 1850 to 2200"), bad.BadDate),
    "mjd_start": (_within(*_MJD_RANGE, "an MJD from 1850 to 2200"), bad.BadDate),
    "airmass": (_airmass, bad.BadQuantity),
    "temperature": (_celsius, bad.BadQuantity),
    "latitude": (values.parse_latitude_or_longitude, bad.BadSite),
    "longitude": (lambda v: values.parse_latitude_or_longitude(v, 360.0), bad.BadSite),
    "elevation": (_within(-500, 9000, "metres from -500 to 9000"), bad.BadSite),
    "gain": (_within(1e-4, 1e4, _POSITIVE), bad.BadQuantity),
    "read_noise": (_within(0, 1e4, "zero or a positive number"), bad.BadQuantity),
    "dark_current": (_within(0, 1e6, "zero or a positive number"), bad.BadQuantity),
    "saturation_limit": (_within(1e-3, 1e12, _POSITIVE), bad.BadQuantity),
    "non_linearity_limit": (_within(1e-3, 1e12, _POSITIVE), bad.BadQuantity),
    "pixel_scale": (_within(1e-4, 36_000, "arcseconds per pixel"), bad.BadQuantity),
    "binning_x": (values.parse_binning, bad.BadQuantity),
    "binning_y": (values.parse_binning, bad.BadQuantity),
    "kind": (values.parse_kind, bad.BadKind),
}
_NUMERIC = frozenset(_READERS) - {"ra", "dec", "kind", "latitude", "longitude", "temperature"}
# The absence of these is told, because something later is less good without them; for frames
# that are not of the sky, only that of the first two.
_WANTED_ALWAYS = ("mjd", "exp_time")
_WANTED = {
    "mjd": "without a time there is no light curve and no motion of the stars",
    "exp_time": "the mid-exposure time and the dark current need it",
    "ra": "the field is then found without a first guess",
    "dec": "the field is then found without a first guess",
    "filter": "the filter is then called unknown",
}


class HeaderReader:
    """What an instrument knows about its headers. All parts may be overridden.

    Attributes
    ----------
    translations
        For each of our names, the keywords of this camera. They go before the generic ones
        of `header_names.KEYWORDS`.
    converters
        For each of our names, a function from the value in the file to our unit.
    auxiliary_keys
        Further names, lower case, that go to `Exposure.header`.
    header_time
        Which moment of the exposure DATE-OBS means: ``start``, ``mid`` or ``end``.
    default_filter
        Filter where the header has none.
    """

    name: str = ""
    translations: Mapping[str, str | Sequence[str]] = {}
    converters: Mapping[str, Callable[[Any], Any]] = {}
    auxiliary_keys: Sequence[str] = ()
    header_time: str = "start"
    default_filter: str = "unknown"
    latitude: float | None = None
    longitude: float | None = None
    elevation: float | None = None
    cfa_pattern: str | None = None

    @staticmethod
    def normalize_keyword(keyword: str) -> str:
        """Return a keyword in the form in which names are compared."""
        return normalize_keyword(keyword)

    def _get_header_keyword_translations(self) -> dict[str, list[str]]:
        """Return, for each of our names, the raw keywords to look for, best first."""
        merged = {name: list(keywords) for name, keywords in KEYWORDS.items()}
        for name, own in self.translations.items():
            mine = [own] if isinstance(own, str) else list(own)
            merged[name] = mine + [k for k in merged.get(name, []) if k not in mine]
        return merged

    def _get_header_values_converters(self) -> dict[str, Callable[[Any], Any]]:
        """Return, for each of our names, a function to our unit."""
        return dict(self.converters)

    def get_auxiliary_exposure_header_keys(self) -> list[str]:
        """Return further names, lower case, that are worth keeping in `Exposure.header`."""
        return [key.lower() for key in self.auxiliary_keys]

    def find_card(self, header: AnyHeader, name: str) -> CardFound | None:
        """Return the first card with a value that says `name`, or None.

        Blank cards count as absent, so that a later synonym can answer.
        """
        return self._find(_by_normal_name(header), name)

    def _find(self, cards: dict[str, CardFound], name: str) -> CardFound | None:
        for keyword in self._keywords(name):
            found = cards.get(normalize_keyword(keyword))
            if found is not None and not is_blank(found.value):
                return found
        return None

    def extract_header_info(
        self, header: AnyHeader, names: Iterable[str], *, subject: object = None
    ) -> dict[str, Any]:
        """Read what a raw header says, in our names and units.

        Parameters
        ----------
        header
            Raw header.
        names
            Column names and header keys, lower case. ``mjd`` is that of mid-exposure (UTC),
            ``kind`` is one of science, bias, dark, flat and other, ``binning`` is like
            ``"2x2"``.
        subject
            What errors call the file.

        Returns
        -------
        dict
            A value for each name that the header has something to say about; None where its
            cards are blank. Other names are left out. A value that is nonsense raises an
            error of `header_errors` that names the card.
        """
        cards = _by_normal_name(header)
        found = {}
        for name in names:
            if name == "mjd":
                value: Any = self._mid_mjd(cards, subject)
            elif name == "binning":
                value = self._binning(cards, subject)
            else:
                value = self._value(cards, name, subject)
            if value is not None or self._is_named(cards, name):
                found[name] = value
        return found

    def _is_named(self, cards: dict[str, CardFound], name: str) -> bool:
        """Whether a card for a name is there, even if it is blank."""
        return any(normalize_keyword(keyword) in cards for keyword in self._keywords(name))

    def _keywords(self, name: str) -> list[str]:
        """Keywords of a name; a subclass may have given a single one as plain text."""
        told: Any = self._get_header_keyword_translations().get(name, name)
        return [told] if isinstance(told, str) else list(told)

    def _value(self, cards: dict[str, CardFound], name: str, subject: object) -> Any:
        card = self._find(cards, name)
        if card is None:
            return None
        reader, error = _READERS.get(name, (None, bad.BadHeader))
        convert = self._get_header_values_converters().get(name)
        expected = ""
        try:
            value = values.parse_number(card.value) if name in _NUMERIC else card.value
            if convert is not None:
                value = convert(value)
            if is_blank(value):
                return None
            if reader is not None:
                return reader(value)
        except (ValueError, TypeError, ArithmeticError) as problem:
            expected = str(problem) or type(problem).__name__
        else:
            return _text(value) if isinstance(value, str) else value
        raise error(subject=subject, field=card.keyword, found=repr(card.value), expected=expected)

    def read_card_as(self, header: AnyHeader, name: str, keyword: str) -> Any:
        """Read one given card as if it said `name`; None where it is missing or blank.

        Nonsense raises the error of that name, as `extract_header_info` does.
        """
        card = _by_normal_name(header).get(normalize_keyword(keyword))
        if card is None or is_blank(card.value):
            return None
        reader, error = _READERS[name]
        try:
            return reader(card.value)
        except (ValueError, TypeError, ArithmeticError) as problem:
            raise error(
                field=card.keyword, found=repr(card.value), expected=str(problem)
            ) from problem

    def get_mid_mjd(self, header: AnyHeader, *, subject: object = None) -> float | None:
        """Return the MJD (UTC) of the middle of the exposure, or None where not told."""
        return self._mid_mjd(_by_normal_name(header), subject)

    def _mid_mjd(self, cards: dict[str, CardFound], subject: object) -> float | None:
        told = self._value(cards, "mjd", subject)
        if told is not None:
            return _utc_from(float(told), self._time_scale(cards))
        middle = self._date(cards, "date_mid", None, subject)
        if middle is not None:
            return middle
        when = self._date(cards, "date_start", "time_start", subject)
        if when is None:
            return None
        exp_time = self._value(cards, "exp_time", subject) or 0.0
        shift = {"start": 0.5, "mid": 0.0, "end": -0.5}[self.header_time]
        return when + shift * float(exp_time) / 86400.0

    def _date(
        self, cards: dict[str, CardFound], name: str, clock: str | None, subject: object
    ) -> float | None:
        """MJD (UTC) of a date card, with the help of a time card or of the MJD card.

        The MJD card comes last: some cameras round it to a minute.
        """
        card = self._find(cards, name)
        expected = ""
        if card is not None:
            try:
                when, has_time = values.parse_date(self._converted(name, card.value))
                if not has_time and clock is not None:
                    has_time, when = self._with_clock(cards, clock, when)
                if has_time or self._find(cards, "mjd_start") is None:
                    return self._checked_time(when, has_time, cards, card)
            except ValueError as problem:
                expected = str(problem)
        if expected and card is not None:
            raise bad.BadDate(
                subject=subject, field=card.keyword, found=repr(card.value), expected=expected
            )
        if clock is None:
            return None
        mjd = self._value(cards, "mjd_start", subject)
        return None if mjd is None else _utc_from(float(mjd), self._time_scale(cards))

    def _converted(self, name: str, value: Any) -> Any:
        convert = self._get_header_values_converters().get(name)
        return value if convert is None else convert(value)

    def _with_clock(
        self, cards: dict[str, CardFound], clock: str, day: datetime
    ) -> tuple[bool, datetime]:
        card = self._find(cards, clock)
        if card is None:
            return False, day
        text = str(card.value).strip()
        if re.match(r"^\d{4}[-/]", text):  # a full date in the place of a time
            return True, values.parse_date(text)[0]
        return True, day + values.parse_time_of_day(text)

    def _checked_time(
        self, when: datetime, has_time: bool, cards: dict[str, CardFound], card: CardFound
    ) -> float:
        if not has_time:
            raise ValueError("a time of day, here or in a card such as TIME-OBS")
        has_zone = re.search(r"(Z|[+-]\d{2}:?\d{2})$", str(card.value).strip()) is not None
        return _utc_from(values.to_mjd(when), "UTC" if has_zone else self._time_scale(cards))

    def _time_scale(self, cards: dict[str, CardFound]) -> str:
        card = self._find(cards, "time_scale")
        return str(card.value).strip().upper() if card is not None else "UTC"

    def _binning(self, cards: dict[str, CardFound], subject: object) -> str | None:
        both = self._find(cards, "binning_both")
        if both is not None and re.fullmatch(r"\s*\d+[\s,x]+\d+\s*", str(both.value)):
            return "x".join(re.findall(r"\d+", str(both.value)))
        across = self._value(cards, "binning_x", subject)
        along = self._value(cards, "binning_y", subject)
        if across is None and along is None:
            return None
        return f"{across or along}x{along or across}"

    def get_sequence_id(self, header: AnyHeader, *, name: str | None = None) -> str | None:
        """Return the camera's own id of the sequence that an exposure belongs to.

        Parameters
        ----------
        header
            Raw global header.
        name
            Name or path of the file as its sender gave it.

        Returns
        -------
        str or None
            None where the camera counts no sequences, as by default.
        """
        del header, name
        return None

    def cards_from_name(self, name: str) -> dict[str, Any]:
        """Return what the name or path of a file tells and its header may not.

        Parameters
        ----------
        name
            As the sender of the file gave it.

        Returns
        -------
        dict
            Values by keyword; none by default. A card of the header counts more.
        """
        del name
        return {}

    def companion_of(self, header: AnyHeader, name: str) -> str | None:
        """Return what a file is that lies beside images and is none, as ``weight map``.

        Parameters
        ----------
        name
            As the sender of the file gave it.
        """
        del header, name
        return None

    def get_kind(self, header: AnyHeader, *, subject: object = None) -> str:
        """Return science, bias, dark, flat or other; science where the header does not say."""
        kind = self._value(_by_normal_name(header), "kind", subject)
        return str(kind) if kind else "science"

    def get_filter(self, header: AnyHeader) -> str:
        """Return the filter as the camera calls it, or `default_filter`."""
        return str(self._value(_by_normal_name(header), "filter", None) or self.default_filter)

    def get_cfa_pattern(self, header: AnyHeader) -> str | None:
        """Return the colours of the first 2x2 pixels (``RGGB``...), or None for a mono camera.

        Row by row from the first pixel of the array. It comes from the header, where FILTER
        may hold it too (PANOPTES), else from the instrument's `cfa_pattern`.
        """
        cards = _by_normal_name(header)
        for name in ("cfa_pattern", "filter"):
            card = self._find(cards, name)
            text = str(card.value).strip().upper() if card is not None else ""
            if _CFA.match(text):
                return self._shifted(text, cards)
        return self.cfa_pattern

    def _shifted(self, pattern: str, cards: dict[str, CardFound]) -> str:
        """Start the pattern at the first pixel, where the header says it is off by one."""
        for name, order in (("cfa_offset_x", (1, 0, 3, 2)), ("cfa_offset_y", (2, 3, 0, 1))):
            card = self._find(cards, name)
            if card is not None and int(values.parse_number(card.value)) % 2:
                pattern = "".join(pattern[place] for place in order)
        return pattern

    def get_site(self, header: AnyHeader, *, subject: object = None) -> Site:
        """Return where the telescope stood: from the header, else from the instrument."""
        cards = _by_normal_name(header)
        read = {
            name: self._value(cards, name, subject)
            for name in ("latitude", "longitude", "elevation")
        }
        if read["latitude"] is None or read["longitude"] is None:
            return Site(self.latitude, self.longitude, self.elevation)
        longitude = (float(read["longitude"]) + 180.0) % 360.0 - 180.0
        elevation = read["elevation"]
        return Site(read["latitude"], longitude, self.elevation if elevation is None else elevation)

    def get_airmass(self, header: AnyHeader, *, subject: object = None) -> float | None:
        """Return the airmass at mid-exposure: told, or computed from place, time and pointing.

        None where it is neither told nor computable, and below the horizon.
        """
        info = self.extract_header_info(header, ("airmass", "ra", "dec", "mjd"), subject=subject)
        if info.get("airmass") is not None:
            return float(info["airmass"])
        site = self.get_site(header, subject=subject)
        mjd, ra, dec = (info.get(name) for name in ("mjd", "ra", "dec"))
        if mjd is None or ra is None or dec is None:
            return None
        if site.latitude is None or site.longitude is None:
            return None
        place = {"latitude": site.latitude, "longitude": site.longitude}
        elevation = site.elevation or 0.0
        airmass = float(barycentre.airmass(mjd, ra, dec, **place, elevation=elevation))
        return airmass if math.isfinite(airmass) else None

    def overscan_and_data_sections(
        self, header: AnyHeader, *, subject: object = None
    ) -> list[AmplifierArea]:
        """Return where overscan and image are in a section's raw array, per amplifier.

        Reads BIASSEC, DATASEC and TRIMSEC, and their forms with a letter (BIASSECA...), of
        which CCDSEC tells where the pixels belong where overscan lies between amplifiers, and
        AMPSEC from which corner they are read. An empty list says that the header tells
        nothing: the whole array is image. A range that leaves the array raises
        `BadPixelRange`.
        """
        return areas_in(_by_normal_name(header), subject)

    def check_header(self, header: AnyHeader, *, subject: object = None) -> list[bad.BadHeader]:
        """Collect everything that is wrong with a header, instead of the first.

        Returns
        -------
        list
            Errors that are not raised: values that are nonsense, and a `MissingCard` for each
            thing that the reduction would have liked to know of such a frame.
        """
        problems: list[bad.BadHeader] = []
        wanted = _WANTED if self.get_kind(header) == "science" else _WANTED_ALWAYS
        for name in (*_READERS, "binning", "filter"):
            if name == "mjd_start":
                continue
            try:
                info = self.extract_header_info(header, [name], subject=subject)
            except bad.BadHeader as problem:
                problems.append(problem)
            else:
                if name in wanted and info.get(name) is None:
                    problems.append(self._missing(name, subject))
        try:
            self.overscan_and_data_sections(header, subject=subject)
        except bad.BadHeader as problem:
            problems.append(problem)
        return _distinct(problems)

    def _missing(self, name: str, subject: object) -> bad.MissingCard:
        wanted = self._keywords("date_start" if name == "mjd" else name)
        return bad.MissingCard(
            f"The header does not tell {name}.",
            subject=subject,
            field=wanted[0],
            expected=f"one of the cards {', '.join(wanted)}",
            hint=_WANTED[name],
        )


def _distinct(problems: list[bad.BadHeader]) -> list[bad.BadHeader]:
    """One bad EXPTIME spoils the mid-exposure time too: tell it once."""
    seen: dict[tuple[str, str | None, str], bad.BadHeader] = {}
    for problem in problems:
        seen.setdefault((problem.code, problem.field, problem.message), problem)
    return list(seen.values())


class PlainHeader(dict[str, Any]):
    """Values by keyword, not to be changed any more, with their names in normal form at hand."""

    @cached_property
    def cards(self) -> dict[str, CardFound]:
        """The first card of each name."""
        return _find_cards(self)


def plain_header(header: AnyHeader) -> PlainHeader:
    """Return the first card of each keyword as a dictionary, which is much faster to ask."""
    return PlainHeader((keyword, header[keyword]) for keyword in dict.fromkeys(header) if keyword)


def _by_normal_name(header: AnyHeader) -> dict[str, CardFound]:
    """The first card of each name; commentary is left out."""
    return header.cards if isinstance(header, PlainHeader) else _find_cards(header)


def _find_cards(header: AnyHeader) -> dict[str, CardFound]:
    cards: dict[str, CardFound] = {}
    for keyword in header:
        normal = normalize_keyword(keyword)
        if normal and normal not in ("COMMENT", "HISTORY") and normal not in cards:
            cards[normal] = CardFound(str(keyword), header[keyword])
    return cards


def _utc_from(mjd: float, scale: str) -> float:
    """Bring an MJD of the scales that TIMESYS allows to UTC; unknown ones are taken as UTC."""
    if scale in ("TAI", "TT", "TDB", "TCB", "TCG", "UT1"):
        return float(Time(mjd, format="mjd", scale=scale.lower()).utc.mjd)
    if scale == "GPS":
        return float((Time(mjd, format="mjd", scale="tai") + timedelta(seconds=19)).utc.mjd)
    return mjd
