"""One run of an author's function: from the request to the document that is sent back."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.inputs import Inputs
from firstlight.analysis_kit.loading import LoadedService
from firstlight.analysis_kit.progress import Progress
from firstlight.analysis_kit.results import Results

__all__ = ["answer", "read_inputs"]

_LONGEST_MESSAGE = 1000
_LIBRARIES = ("site-packages", "dist-packages", sys.base_prefix, "<frozen")


def answer(service: LoadedService, body: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """What a service gives to a request. Nothing is raised: a fault is an answer, too.

    What went wrong in the author's own code is printed to standard error as Python does; the
    portal is told the error and its line, but neither the code nor what was in its variables.

    Returns
    -------
    dict
        ``status``, ``message``, ``analysis``: plain JSON.
    """
    try:
        return _results(service(read_inputs(service, body), progress)).as_document()
    except AnalysisFailed as failed:
        return failed.as_document()
    except MemoryError:
        return _failure("the analysis ran out of memory")
    except (Exception, SystemExit, KeyboardInterrupt) as fault:  # noqa: BLE001, whatever an author's code does ends as an answer
        traceback.print_exc()
        what = f"{type(fault).__name__}: {fault}".removesuffix(": ")
        return _failure(f"the analysis failed: {what}{_place(fault.__traceback__)}")
    finally:
        _close_figures()


def read_inputs(service: LoadedService, body: Mapping[str, Any]) -> Inputs:
    """The inputs of a request, its parameters as the service has declared them.

    Raises
    ------
    AnalysisFailed
        They are not as they should be.
    """
    inputs = Inputs.from_request(body)
    wants = service.declaration.input_data_types
    if "photometry" in wants and inputs.photometry is None and not inputs.spectra:
        raise AnalysisFailed("there is no photometry in the request")
    if not service.is_declared:
        return inputs
    return replace(inputs, parameters=service.declaration.read_parameters(inputs.parameters))


def _results(given: Any) -> Results:
    if isinstance(given, Results):
        return given
    if isinstance(given, dict):
        return Results(results=given)
    raise AnalysisFailed(f"the analysis gave {type(given).__name__} where Results are expected")


def _failure(message: str) -> dict[str, Any]:
    return AnalysisFailed(message[:_LONGEST_MESSAGE]).as_document()


def _place(trace: TracebackType | None) -> str:
    """File and line where it went wrong: the deepest that is in no library, where there is one."""
    frames = traceback.extract_tb(trace)
    if not frames:
        return ""
    own = [each for each in frames if not any(part in each.filename for part in _LIBRARIES)]
    last = (own or frames)[-1]
    name = last.filename.replace("\\", "/").rpartition("/")[2]
    return f" ({name}, line {last.lineno})"


def _close_figures() -> None:
    """Figures of a run stay in memory until somebody closes them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
