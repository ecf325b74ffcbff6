"""The analysis of one uploaded image, as a worker does it: each step told while it happens."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from firstlight.catalogs.base import ReferenceCatalog
from firstlight.errors import FirstlightError, InternalError
from firstlight.formats.packed_stream import compression_of, open_unpacked
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.event import record_events
from firstlight.models.image_analysis import AnalysisState, ImageAnalysis, UploadedImage
from firstlight.models.object import Object
from firstlight.models.provenance import Provenance
from firstlight.pipeline.image_analysis import NotEnoughMemory
from firstlight.pipeline.image_analysis_result import StepReport
from firstlight.provenance.code_version import software_id
from firstlight.provenance.lineage import Lineage
from firstlight.services.image_analysis.image_analysis_end import ended, state_event
from firstlight.services.image_analysis.image_analysis_engines import Measured, Measurer
from firstlight.services.image_analysis.image_analysis_limits import ImageAnalysisLimits
from firstlight.services.image_analysis.image_analysis_parameters import ImageAnalysisParameters
from firstlight.services.image_analysis.image_analysis_shapes import (
    REPORT,
    STEP_NAMES,
    error_shape,
    preview_of,
    step_shape,
    steps_waiting,
)
from firstlight.services.image_analysis.image_facts import check_is_no_picture
from firstlight.services.image_analysis.memory_limit import memory_limit
from firstlight.services.image_measurement import ImageTooLong
from firstlight.storage import Store, build_key

__all__ = ["STEP_VERSION", "ImageAnalysisRun"]

STEP_VERSION = "2"
_CHUNK = 1 << 20
_PACKED = (".gz", ".bz2", ".xz")
OnStepTold = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class _Task:
    """What a run has to do, apart from the database."""

    number: int
    object_name: str
    place: tuple[float, float]
    parameters: ImageAnalysisParameters
    filename: str
    key: str
    audience_id: int
    lineage: Lineage


class _Steps:
    """The states of the steps, written down at each change."""

    def __init__(
        self,
        write: Callable[[list[dict[str, Any]], str, str], None],
        on_step: OnStepTold | None = None,
    ) -> None:
        self._write = write
        self._on_step = on_step
        self._started: dict[str, str] = {}
        self.told = steps_waiting()

    def __call__(self, report: StepReport) -> None:
        """Take note of one step. Those that wait or are skipped are written with the next."""
        again = report.state == "running" and report.name in self._started
        if report.state == "running" and not again:
            self._started[report.name] = utc_now().isoformat()
        place = STEP_NAMES.index(report.name)
        self.told[place] = step_shape(report, self._started.get(report.name))
        if report.state in ("running", "failed") and not again:
            self._write(self.told, report.name, report.state)
        if self._on_step is not None:
            self._on_step(self.told[place])

    @property
    def last(self) -> str:
        """The step that is under way, or was last."""
        begun = [step["name"] for step in self.told if step["state"] not in ("waiting", "skipped")]
        return str(begun[-1]) if begun else STEP_NAMES[0]


class ImageAnalysisRun:
    """Runs analyses that are queued, one at a time.

    Parameters
    ----------
    database, store
        Rows and bytes.
    measurers
        By the name of the engine.
    limits
        Of memory and size.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        measurers: dict[str, Measurer],
        catalog: Callable[[str | None], ReferenceCatalog],
        limits: ImageAnalysisLimits | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._store = store
        self._measurers = measurers
        self._catalog = catalog
        self._limits = limits or ImageAnalysisLimits()
        self._clock = clock

    def run(self, payload: dict[str, Any], *, on_step: OnStepTold | None = None) -> dict[str, Any]:
        """Do one analysis. Whatever is wrong with it ends in its row, not in an error here.

        Parameters
        ----------
        on_step
            Told of each step whenever its state changes, in the shape that its row has.

        Returns
        -------
        dict
            ``analysis`` and the ``state`` in which it ended.
        """
        task = self._begin(int(payload["analysis"]))
        if task is None:
            return {"analysis": payload["analysis"], "state": "ended before"}
        steps = _Steps(lambda told, step, state: self._tell(task, told, step, state), on_step)
        fault: FirstlightError | None = None
        measured: Measured | None = None
        files: dict[str, str] = {}
        with tempfile.TemporaryDirectory(prefix="firstlight-") as folder:
            try:
                with memory_limit(self._limits.memory_mb << 20):
                    measured = self._measure(task, Path(folder), steps)
                    files = self._report(task, measured, Path(folder) / "report", steps)
            except FirstlightError as found:
                fault = found
            except MemoryError as found:
                fault = NotEnoughMemory.of(task.filename)
                fault.__cause__ = found
            except Exception as found:  # noqa: BLE001, a fault of one image ends that one alone
                fault = InternalError(f"{type(found).__name__}: {found}", subject=task.filename)
                fault.__cause__ = found
        return self._end(task, steps, (measured, files), fault)

    # --- the work --------------------------------------------------------------------------

    def _measure(self, task: _Task, folder: Path, steps: _Steps) -> Measured:
        """Have the engine measure the file; raises what is wrong with the file itself."""
        steps(StepReport("inspect", "running"))
        catalog = self._catalog(task.parameters.catalog)
        with self._store.local_path(task.key) as stored:
            check_is_no_picture(stored, task.filename)
            path = unpacked(stored, task.filename, folder, self._limits.max_unpacked_bytes)
            measurer = self._measurers[task.parameters.engine]
            return measurer.measure(
                path, task.place, task.parameters.settings(), catalog=catalog,
                max_pixels=self._limits.max_pixels, on_step=steps,
            )  # fmt: skip

    def _report(
        self, task: _Task, measured: Measured, folder: Path, steps: _Steps
    ) -> dict[str, str]:
        """Draw and keep the report; a picture that cannot be drawn does not lose the numbers."""
        begun = time.perf_counter()
        report = StepReport(REPORT, "running")
        steps(report)
        files: dict[str, str] = {}
        try:
            folder.mkdir()
            for path in measured.draw(folder):
                files[path.name] = self._keep(task, path.name, path.read_bytes())
            if measured.plots is not None:
                text = json.dumps(measured.plots, allow_nan=False)
                files["plots.json"] = self._keep(task, "plots.json", text.encode())
            told = json.dumps(measured.result.as_dict(), ensure_ascii=False, allow_nan=False)
            files["result.json"] = self._keep(task, "result.json", told.encode())
            report.state = "done"
        except Exception as fault:  # noqa: BLE001, see above
            report.state = "failed"
            report.error = {"message": f"no report: {type(fault).__name__}: {fault}"[:500]}
        report.seconds = time.perf_counter() - begun
        steps(report)
        return files

    def _keep(self, task: _Task, name: str, data: bytes) -> str:
        key = build_key("portal", "image_analyses", str(task.number), name)
        # A run that died may have left one.
        self._store.put(key, data, overwrite=True)
        return key

    # --- the record ------------------------------------------------------------------------

    def _begin(self, number: int) -> _Task | None:
        """Take the analysis up; None where it was cancelled or is done already."""
        with self._database.begin() as session:
            row = session.get(ImageAnalysis, number)
            if row is None or row.state not in (AnalysisState.QUEUED, AnalysisState.RUNNING):
                return None
            found = session.get_one(Object, row.object_id)
            upload = session.get_one(UploadedImage, row.upload_id)
            parameters = ImageAnalysisParameters.checked(row.parameters)
            lineage = self._lineage(parameters)
            row.provenance_id = Provenance.record(session, lineage).id
            row.state, row.started_at = AnalysisState.RUNNING, self._clock()
            row.steps, row.error = steps_waiting(), None
            record_events(session, [state_event(row, found.name)])
            place = (found.ra, found.dec)
            if parameters.ra is not None and parameters.dec is not None:
                place = (parameters.ra, parameters.dec)
            return _Task(
                number, found.name, place, parameters, upload.filename, upload.key,
                row.audience_id, lineage,
            )  # fmt: skip

    def _lineage(self, parameters: ImageAnalysisParameters) -> Lineage:
        """How the photometry is made: the engine, what was chosen, and the catalogue's release."""
        release: dict[str, str] = {}
        with suppress(FirstlightError):  # told by the first step
            catalog = self._catalog(parameters.catalog)
            release = {"catalog": f"{catalog.name} {catalog.release}"}
        chosen = parameters.model_dump(mode="json", exclude_defaults=True)
        facts = {**chosen, **release, "engine": parameters.engine, "software": software_id()}
        return Lineage("image_analysis", STEP_VERSION, facts)

    def _tell(self, task: _Task, told: list[dict[str, Any]], step: str, state: str) -> None:
        """Write the steps down, and tell whoever watches."""
        with self._database.begin() as session:
            row = session.get_one(ImageAnalysis, task.number)
            if row.state == AnalysisState.RUNNING:
                row.steps = [dict(each) for each in told]
                event = state_event(row, task.object_name, step=step, step_state=state)
                record_events(session, [event])

    def _end(
        self,
        task: _Task,
        steps: _Steps,
        made: tuple[Measured | None, dict[str, str]],
        fault: FirstlightError | None,
    ) -> dict[str, Any]:
        measured, files = made
        told = steps.told
        error: dict[str, Any] | None = None
        preview = None if measured is None or fault is not None else preview_of(measured.result)
        if preview is None:
            step, reason = _reason(steps, measured, fault)
            error = error_shape(reason, step)
            told = _failed_at(told, step, error)
        with self._database.begin() as session:
            row = session.get_one(ImageAnalysis, task.number)
            if row.state == AnalysisState.RUNNING:
                row.steps = told
                row.files = files
                row.result = None if measured is None else {"preview": preview}
                state = AnalysisState.DONE if preview is not None else AnalysisState.FAILED
                ended(session, row, task.object_name, state, error, self._clock())
            return {"analysis": task.number, "state": str(row.state)}


def _reason(
    steps: _Steps, measured: Measured | None, fault: FirstlightError | None
) -> tuple[str, FirstlightError]:
    """Which step ended the analysis, and why."""
    if fault is not None or measured is None:
        return steps.last, fault or InternalError("nothing was measured")
    result = measured.result
    failed = next((step.name for step in result.steps if step.state == "failed"), steps.last)
    return failed, result.fault or InternalError("the target was not measured")


def _failed_at(
    told: list[dict[str, Any]], step: str, error: dict[str, Any]
) -> list[dict[str, Any]]:
    """The steps of an analysis that ended at one of them."""
    place = STEP_NAMES.index(step)
    marked = []
    for number, each in enumerate(told):
        if number == place:
            marked.append({**each, "state": "failed", "message": error["message"]})
        elif each["state"] in ("waiting", "running"):
            marked.append({**each, "state": "skipped"})
        else:
            marked.append(each)
    return marked


def unpacked(stored: Path, filename: str, folder: Path, largest: int) -> Path:
    """The file under its own name, unpacked where it was packed as a whole.

    Raises
    ------
    ImageTooLong
        It unpacks to more than `largest` bytes; what was written is removed with the folder.
    CorruptStream, UnsupportedCompression
        It cannot be unpacked.
    """
    name = Path(filename).name
    if not compression_of(stored):
        link = folder / f"{uuid.uuid4().hex[:8]}"
        link.mkdir()
        (link / name).symlink_to(stored.absolute())
        return link / name
    for suffix in _PACKED:
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    path = folder / (name or "image.fits")
    with open_unpacked(stored) as (stream, _), path.open("wb") as target:
        while piece := stream.read(_CHUNK):
            target.write(piece)
            if target.tell() > largest:
                raise ImageTooLong(
                    "The image is too large when it is unpacked.",
                    subject=filename,
                    found=f"more than {largest / 1e6:.0f} MB",
                    expected=f"at most {largest / 1e6:.0f} MB",
                    hint="cut out the field around the target",
                )
    return path
