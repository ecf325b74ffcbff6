"""What analysis services and users send as the results of a run, read safely."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from firstlight.errors import FirstlightError
from firstlight.formats.result_errors import (
    ResultMalformed,
    ResultRefused,
    ResultTooLarge,
    ResultUnreadable,
)
from firstlight.models.analysis import AnalysisFileKind
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.reading_folders import new_folder
from firstlight.services.analyses.result_reader import (
    BodyReader,
    ReaderLimits,
    needs_care,
    read_json_body,
)
from firstlight.services.analyses.result_reader_process import LimitedPrograms, ReaderBusy

__all__ = [
    "Product",
    "ReaderBusy",
    "ResultMalformed",
    "ResultRefused",
    "ResultTooLarge",
    "ResultUnreadable",
    "Submission",
    "SubmissionReader",
]

_CHILD = "firstlight.services.analyses.result_reader_child"
_TOLD = "told.json"
_SMALL = 262_144  # bytes of a body that is read at once, here; tens of milliseconds at worst
_LONGEST_TOLD = 16_777_216
_FAULTS = {
    each.code: each for each in (ResultMalformed, ResultRefused, ResultTooLarge, ResultUnreadable)
}


@dataclass(frozen=True)
class Product:
    """One file of the results.

    Attributes
    ----------
    number
        Counts the plots.
    data
        Its bytes, or where they are, for as long as the submission is open.
    """

    kind: AnalysisFileKind
    number: int
    name: str
    media_type: str
    data: bytes | Path


@dataclass
class Submission:
    """What was sent. A context: its files vanish at the end.

    Attributes
    ----------
    status
        As it was sent; empty if none was.
    facts
        What lists show of the results: see `firstlight.models.analysis.Analysis`.
    annotations
        ``{"data", "origin"}`` each, to be put on the object.
    others
        All other keys of the body, plain and bounded.
    """

    status: str
    message: str
    facts: dict[str, Any]
    annotations: list[dict[str, Any]]
    others: dict[str, Any]
    products: list[Product] = field(default_factory=list)
    folder: Path | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the service takes its own results for good."""
        return self.status == "success"

    def close(self) -> None:
        """Remove the files."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Submission:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class SubmissionReader:
    """Reads bodies, without running anything that they hold.

    Small bodies of plain JSON are read in this process, all others in one of their own that may
    take little memory and time.
    """

    def __init__(self, settings: AnalysisSettings | None = None) -> None:
        self._settings = settings = settings or AnalysisSettings()
        self._limits = ReaderLimits(
            max_result_bytes=settings.max_result_bytes,
            max_unpacked_bytes=settings.max_unpacked_bytes,
            max_plot_bytes=settings.max_plot_bytes,
            max_plots=settings.max_plots,
            max_samples=settings.max_samples,
            drawn_samples=settings.drawn_samples,
        )
        self._programs = LimitedPrograms(
            at_once=settings.readers_at_once,
            memory_bytes=settings.reader_memory_mb << 20,
            timeout_s=settings.reader_timeout_s,
            file_bytes=settings.max_unpacked_bytes,
        )

    def read(self, path: Path, *, needs_status: bool = True) -> Submission:
        """Read a body that lies in a file. It may take seconds: call it in a thread.

        Parameters
        ----------
        needs_status
            Whether the body must say how the analysis went; an upload need not.

        Raises
        ------
        ResultMalformed
            A part has another form than it should; the part is the error's ``field``.
        ResultRefused
            A part could do more than hold data: run code, or refer to files of this machine.
        ResultTooLarge
            It is larger than allowed, or unfolds to more.
        ResultUnreadable
            It could not be read within the limits of time and memory.
        ReaderBusy
            Too many are being read; it can be sent again.
        """
        size = path.stat().st_size
        if size > self._limits.max_result_bytes:
            raise ResultTooLarge(
                field="body",
                found=f"{size} bytes",
                expected=f"at most {self._limits.max_result_bytes}",
            )
        if size <= _SMALL:
            body, not_finite = read_json_body(path, self._limits)
            if not needs_care(body):
                return self._here(body, not_finite, needs_status=needs_status)
        return self._apart(path, needs_status=needs_status)

    def _here(self, body: dict[str, Any], not_finite: int, *, needs_status: bool) -> Submission:
        products: list[Product] = []

        def keep(kind: str, number: int, name: str, media_type: str, data: bytes) -> None:
            products.append(Product(AnalysisFileKind(kind), number, name, media_type, data))

        told = BodyReader(self._limits, keep).read(body, not_finite, needs_status=needs_status)
        return Submission(**told.as_dict(), products=products)

    def _apart(self, path: Path, *, needs_status: bool) -> Submission:
        folder = new_folder("results")
        try:
            limits = {name: getattr(self._limits, name) for name in self._limits.__slots__}
            job = {"body": str(path.resolve()), "needs_status": needs_status, "limits": limits}
            self._programs.run(_CHILD, job, folder)
            return _submission(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _submission(folder: Path) -> Submission:
    told = _told(folder / _TOLD)
    if "fault" in told:
        raise _fault(told["fault"])
    products = [
        Product(
            AnalysisFileKind(each["kind"]),
            each["number"],
            each["name"],
            each["media_type"],
            folder / each["file"],
        )
        for each in told["products"]
    ]
    return Submission(**told["told"], products=products, folder=folder)


def _told(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LONGEST_TOLD:
            raise ResultTooLarge
        told: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise ResultUnreadable(found="nothing was told of it") from fault
    return told


def _fault(facts: dict[str, Any]) -> FirstlightError:
    kind = _FAULTS.get(facts["code"], ResultMalformed)
    told = {name: facts[name] for name in ("subject", "field", "found", "expected", "hint")}
    return kind(facts["message"], **told)
