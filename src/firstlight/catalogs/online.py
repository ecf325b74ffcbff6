"""Reference catalogues of the Virtual Observatory, asked once and kept on disk.

Questions go by the Table Access Protocol (TAP 1.1, IVOA 2019), which is one HTTP request with
an ADQL query; answers are VOTables.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from xml.parsers.expat import ExpatError

import astropy.units as u
import numpy as np
from astropy.coordinates import Latitude, Longitude
from astropy.io import votable
from astropy.io.votable.exceptions import VOWarning
from cdshealpix import nested
from numpy.typing import NDArray

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.answers import Answers, Question
from firstlight.catalogs.base import ReferenceStars
from firstlight.catalogs.catalog_settings import OnlineSettings, TapTable
from firstlight.catalogs.layout import Cone, StarLayout, stars_in_cone
from firstlight.errors import InvalidInput, RemoteError

__all__ = [
    "CatalogAnswerBad",
    "CatalogQueryRefused",
    "CatalogUnreachable",
    "OnlineCatalog",
]

logger = logging.getLogger(__name__)

LARGEST_ANSWER = 512 * 2**20
CHUNK = 2**16
RETRIED = {429, 500, 502, 503, 504}
MOTION_MARGIN = 60.0 / 3600.0
# What astropy raises on documents that are damaged or no VOTable.
UNREADABLE = (ExpatError, VOWarning, ValueError, TypeError, LookupError, AttributeError, OSError)


class CatalogUnreachable(RemoteError):
    """The catalogue service cannot be reached, and the answer is not on disk."""

    code = "catalog.unreachable"


class CatalogQueryRefused(RemoteError):
    """The catalogue service answered with an error."""

    code = "catalog.query_refused"


class CatalogAnswerBad(RemoteError):
    """The catalogue service sent something else than a whole table of stars."""

    code = "catalog.answer_bad"


class OnlineCatalog:
    """One catalogue service, and the answers it has given.

    A cone is snapped to a coarse grid and enlarged before it is asked for, so that the frames
    of a night share one answer; any kept cone that contains the wanted one answers it.

    Parameters
    ----------
    name
        What settings call it.
    table
        Where it is and what its columns mean.
    settings
        Network and cache.
    sleep, clock
        Seconds; replaced in tests.
    """

    def __init__(
        self,
        name: str,
        table: TapTable,
        settings: OnlineSettings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._table = table
        self._settings = settings
        self._sleep = sleep
        self._clock = clock
        self._url = settings.services.get(table.service, table.service).rstrip("/") + "/sync"
        # Where the bytes come from does not matter to what they mean: mirrors share a folder.
        meaning = f"{table.model_dump_json(exclude={'service'})} {settings.max_stars}"
        self._meaning = hashlib.sha256(meaning.encode()).hexdigest()[:8]
        self.answers = Answers(
            settings.cache_dir / f"{name}-{self._meaning}", most_bytes=settings.cache_bytes
        )

    @property
    def release(self) -> str:
        """The table asked, and a checksum of the question's form."""
        return f"{self.name}-{self._table.table}-{self._meaning}"

    def cone(
        self,
        ra: float,
        dec: float,
        radius: float,
        *,
        epoch: float = 2000.0,
        faintest: float | None = None,
    ) -> ReferenceStars:
        """Stars within `radius` degrees of (`ra`, `dec`), brightest first.

        See `ReferenceCatalog.cone`. No stars is an answer too. Of a field richer than
        ``max_stars`` only the brightest are there. A star that has moved by more than an
        arcminute since the catalogue's epoch can be missing at the rim.

        Raises
        ------
        CatalogUnreachable
            No connection in the time allowed (or offline), and no kept answer.
        CatalogQueryRefused
            The service does not accept the query.
        CatalogAnswerBad
            The answer is cut short, is no VOTable or lacks a column, each time it was asked.
        """
        if not (np.isfinite([ra, dec, radius]).all() and radius > 0.0 and abs(dec) <= 90.0):
            raise InvalidInput("there is no such cone", field="cone", found=(ra, dec, radius))
        wanted = Cone(ra % 360.0, dec, radius, epoch, faintest)
        question = self._enlarged(wanted)
        columns = self.answers.find(question, wanted, self._limit(wanted))
        if columns is None:
            columns = self._ask(question)
        return stars_in_cone(columns, self._table.layout, wanted)

    def _limit(self, cone: Cone) -> float:
        faintest = self._table.limit if cone.faintest is None else cone.faintest
        return min(faintest, self._table.limit)

    def _enlarged(self, cone: Cone) -> Question:
        """The question that neighbouring cones share."""
        # Radii in steps of 2^(1/4), centres in HEALPix cells of a quarter of that.
        step = 2.0 ** (math.ceil(4.0 * math.log2(cone.radius)) / 4.0)
        order = int(np.clip(math.ceil(math.log2(60.0 / (0.25 * step))), 0, 29))
        lon, lat = Longitude(cone.ra, u.deg), Latitude(cone.dec, u.deg)
        cell = nested.lonlat_to_healpix(lon, lat, order, num_threads=1)
        ra, dec = (float(x[0].deg) for x in nested.healpix_to_lonlat(cell, order, num_threads=1))
        corner_ra, corner_dec = nested.vertices(cell, order, num_threads=1)
        reach = float(angular_separation(ra, dec, corner_ra.deg, corner_dec.deg).max())
        return Question(
            # Rounded first, as the file's name holds them: what is asked is what is recorded.
            ra=round(ra, 5) % 360.0,
            dec=round(dec, 5),
            radius=round(min(step + reach + MOTION_MARGIN + 2e-5, 180.0), 5),
            limit=float(min(math.ceil(self._limit(cone)), math.ceil(self._table.limit))),
        )

    def _ask(self, question: Question) -> Mapping[str, Any]:
        adql = self._adql(question)
        if self._settings.offline:
            raise self._unreachable("the network is switched off (offline)")
        columns = self._fetch(adql)
        rows = len(columns[self._table.layout.ra])
        self.answers.keep(
            question,
            columns,
            complete=rows < self._settings.max_stars,
            facts={"catalog": self.name, "service": self._url, "query": adql},
        )
        return columns

    def _adql(self, question: Question) -> str:
        layout = self._table.layout
        names = ", ".join(_quoted(name) for name in layout.column_names())
        point = f"POINT('ICRS', {_quoted(layout.ra)}, {_quoted(layout.dec)})"
        circle = f"CIRCLE('ICRS', {question.ra:.5f}, {question.dec:.5f}, {question.radius:.5f})"
        mag = _quoted(layout.mag)
        conditions = [f"1 = CONTAINS({point}, {circle})", f"{mag} <= {question.limit:.2f}"]
        if self._table.where:
            conditions.append(f"({self._table.where})")
        return (
            f"SELECT TOP {self._settings.max_stars} {names} "  # noqa: S608, names are quoted
            f"FROM {_quoted(self._table.table)} WHERE {' AND '.join(conditions)} ORDER BY {mag}"
        )

    def _fetch(self, adql: str) -> Mapping[str, Any]:
        """Ask until there is an answer, the attempts are used up or the time is."""
        settings = self._settings
        deadline = self._clock() + settings.time_limit_s
        last: Exception | None = None
        for attempt in range(settings.attempts):
            if attempt:
                pause = settings.backoff_s * 2.0 ** (attempt - 1)
                if self._clock() + pause >= deadline:
                    break
                logger.warning("%s: asking again in %g s (%s)", self.name, pause, last)
                self._sleep(pause)
            try:
                return _stars(self._get(adql, deadline), self._table.layout, self._url)
            except urllib.error.HTTPError as err:
                with err:  # it holds the connection
                    if err.code not in RETRIED:
                        raise CatalogQueryRefused(
                            subject=self._url, found=f"HTTP {err.code}: {_reason(err)}"
                        ) from err
                last = err
            except (OSError, HTTPException, CatalogAnswerBad) as err:
                last = err
        if isinstance(last, CatalogAnswerBad):
            raise last
        raise self._unreachable(last or "no time left") from last

    def _get(self, adql: str, deadline: float) -> bytes:
        """One request; the time limit holds for a service that drips, too.

        An answer that ends early comes back as it is: `_stars` sees that its XML does not end.
        """
        fields = {
            "REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "votable",
            "MAXREC": str(self._settings.max_stars), "QUERY": adql,
        }  # fmt: skip
        url = f"{self._url}?{urllib.parse.urlencode(fields)}"
        if not url.startswith(("http://", "https://")):
            raise CatalogQueryRefused(
                "a catalogue service is reached by http or https", subject=self._url
            )
        left = max(0.01, deadline - self._clock())
        body = io.BytesIO()
        with urllib.request.urlopen(url, timeout=left) as reply:  # noqa: S310, checked above
            while chunk := reply.read1(CHUNK):
                body.write(chunk)
                if self._clock() > deadline:
                    raise TimeoutError("the answer takes too long")
                if body.tell() > LARGEST_ANSWER:
                    raise CatalogAnswerBad(
                        subject=self._url,
                        found=f"more than {LARGEST_ANSWER} bytes",
                        hint="lower max_stars",
                    )
        return body.getvalue()

    def _unreachable(self, why: object) -> CatalogUnreachable:
        return CatalogUnreachable(
            subject=self._url,
            found=f"{why}; no kept answer in {self.answers.folder} covers this field",
            expected="a network connection, or an answer kept from an earlier one",
            hint=f"ask for the same field once while connected, copy {self.answers.folder} from "
            "a machine that has it, or declare a copy on disk under catalogs.local",
        )


@dataclass(frozen=True)
class _Status:
    value: str
    text: str


def _quoted(name: str) -> str:
    """A name as ADQL takes it literally: without quotes, Gmag and gmag would be one column."""
    return '"' + name.replace('"', '""') + '"'


def _stars(body: bytes, layout: StarLayout, url: str) -> dict[str, NDArray[Any]]:
    """Columns of a VOTable, checked: NaN for what is null."""
    try:
        document = votable.parse(io.BytesIO(body), verify="ignore")
    except UNREADABLE as err:
        raise CatalogAnswerBad(subject=url, found=err, expected="a VOTable") from err
    status = _status(document)
    if status.value == "ERROR":
        raise CatalogQueryRefused(subject=url, found=status.text or "QUERY_STATUS is ERROR")
    table = next(iter(document.iter_tables()), None)
    if table is None:
        raise CatalogAnswerBad(subject=url, found="no whole table", expected="a VOTable")
    names = [field.name for field in table.fields]
    for wanted in layout.column_names():
        if wanted not in names:
            raise CatalogAnswerBad(
                "a column is not in the answer", subject=url, field=wanted,
                found=", ".join(names),
            )  # fmt: skip
    found = table.array
    columns = {}
    for name, field in zip(names, table.fields, strict=True):
        if name in layout.column_names():
            try:
                values = np.asarray(np.ma.getdata(found[field.ID]), dtype=np.float64)
            except UNREADABLE as err:
                raise CatalogAnswerBad(
                    "a column does not hold numbers", subject=url, field=name, found=err
                ) from err
            columns[name] = np.where(np.ma.getmaskarray(found[field.ID]), np.nan, values)
    return columns


def _status(document: Any) -> _Status:
    """What the service says of its answer (TAP 1.1, section 3.3; DALI 1.1, section 4.4)."""
    infos = [info for resource in document.resources for info in resource.infos]
    for info in [*infos, *document.infos]:
        if (info.name or "").upper() == "QUERY_STATUS":
            return _Status(str(info.value).upper(), (info.content or "").strip())
    return _Status("OK", "")


def _reason(err: urllib.error.HTTPError) -> str:
    """The service's own words, which an error's VOTable carries."""
    body = err.read(CHUNK)
    try:
        text = _status(votable.parse(io.BytesIO(body), verify="ignore")).text
    except UNREADABLE:
        text = ""
    return text or str(err.reason)
