"""The body in which an analysis service answers, taken apart.

This runs in the server for small bodies of plain JSON, and in a process of its own for all else;
so it imports little, and what it finds is plain.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from firstlight.formats.model_curves import ModelCurves
from firstlight.formats.plain_document import PlainDocument, clean_text, json_bytes
from firstlight.formats.plot_formats import plot_format
from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge
from firstlight.formats.strict_json import StrictJson

__all__ = ["BodyReader", "Keep", "ReaderLimits", "Told", "needs_care", "read_json_body"]

Keep = Callable[[str, int, str, str, bytes], None]
"""Takes a product: its kind, number, name, media type and bytes."""

_JSON = "application/json"
_LONGEST_MESSAGE = 2000
_LONGEST_NAME = 128
_LONGEST_STATUS = 64
_MOST_NOTES = 20
_MOST_ANNOTATIONS = 100
_ANNOTATION_VALUES = 10_000
_ANNOTATION_CHARACTERS = 200_000
_LONGEST_DATA_URL = 200  # its head
_KNOWN = frozenset(
    {
        "results", "plots", "inference_data", "posterior_samples", "posteriors",
        "model_lightcurve", "model_lightcurves", "model_name", "n_detections", "annotations",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """What a body may hold; see `firstlight.services.analyses.analysis_settings`."""

    max_result_bytes: int
    max_unpacked_bytes: int
    max_plot_bytes: int
    max_plots: int
    max_samples: int
    drawn_samples: int


@dataclass
class Told:
    """What is in a body beside its products."""

    status: str = ""
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    others: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain."""
        return asdict(self)


def read_json_body(path: Path, limits: ReaderLimits) -> tuple[dict[str, Any], int]:
    """The object in a body, and how many of its numbers were not finite.

    Raises
    ------
    ResultMalformed
        It is no JSON object.
    ResultTooLarge
        It is longer than allowed, or nested too deep.
    """
    size = path.stat().st_size
    if size > limits.max_result_bytes:
        raise ResultTooLarge(
            field="body", found=f"{size} bytes", expected=f"at most {limits.max_result_bytes}"
        )
    reading = StrictJson()
    body = reading.read(path.read_bytes(), "body")
    if not isinstance(body, dict):
        raise ResultMalformed(
            "the body is no JSON object",
            field="body",
            found=type(body).__name__,
            expected='{"status": ..., "message": ..., "analysis": {...}}',
        )
    return body, reading.not_finite


def needs_care(body: Mapping[str, Any]) -> bool:
    """Whether a body holds more than JSON, base64 and pictures: files with formats of their own."""
    analysis = body.get("analysis")
    if not isinstance(analysis, dict):
        return False
    results = analysis.get("results")
    plain_results = not results or _format(results) == "json"
    return bool(analysis.get("inference_data")) or not plain_results


class BodyReader:
    """Takes one body apart.

    Parameters
    ----------
    keep
        Is given each product as soon as it is made.
    """

    def __init__(self, limits: ReaderLimits, keep: Keep) -> None:
        self._limits = limits
        self._keep = keep
        self._notes: list[str] = []

    def read(self, body: dict[str, Any], not_finite: int, *, needs_status: bool) -> Told:
        """Everything in a body; its parts are taken out of it on the way.

        Raises
        ------
        ResultMalformed, ResultRefused, ResultTooLarge
            A part cannot be used; its name is the error's ``field``.
        """
        told = Told(_status(body, needed=needs_status), _message(body.pop("message", None)))
        if not_finite:
            self._notes.append(f"{not_finite} NaN or Infinity in the body were read as null")
        analysis = body.pop("analysis", None)
        if analysis is None:
            analysis = {}
        if not isinstance(analysis, dict):
            raise ResultMalformed(
                field="analysis", found=type(analysis).__name__, expected="an object"
            )
        told.facts = self._facts(analysis)
        told.annotations = _annotations(analysis.pop("annotations", None))
        told.others = _small(body, "body")
        unknown = sorted(set(analysis) - _KNOWN)
        if unknown:
            shown = ", ".join(clean_text(name)[:50] for name in unknown[:10])
            self._notes.append(f"not kept, since not known: {shown}")
        told.facts["notes"] = self._notes[:_MOST_NOTES]
        return told

    def _facts(self, analysis: dict[str, Any]) -> dict[str, Any]:
        name = _name(analysis.pop("model_name", None))
        facts: dict[str, Any] = {
            "model_name": name,
            "n_detections": _count(analysis.pop("n_detections", None)),
        }
        facts |= self._plots(analysis.pop("plots", None))
        facts |= self._results(analysis.pop("results", None))
        return facts | self._posteriors(analysis, name) | self._curves(analysis, name)

    # --- plots and results -------------------------------------------------------------------

    def _plots(self, plots: Any) -> dict[str, Any]:
        if plots is None:
            plots = []
        if not isinstance(plots, list):
            raise ResultMalformed(
                field="analysis.plots", found=type(plots).__name__, expected="a list"
            )
        if len(plots) > self._limits.max_plots:
            raise ResultTooLarge(
                "there are too many plots",
                field="analysis.plots",
                found=len(plots),
                expected=f"at most {self._limits.max_plots}",
            )
        told = [self._plot(plot, number) for number, plot in enumerate(plots)]
        return {"plots": told, "num_plots": len(told)}

    def _plot(self, plot: Any, number: int) -> dict[str, Any]:
        where = f"analysis.plots[{number}]"
        if not isinstance(plot, dict):
            raise ResultMalformed(
                field=where, found=type(plot).__name__, expected='{"format": ..., "data": ...}'
            )
        data = _decoded(plot.pop("data", None), f"{where}.data", self._limits.max_plot_bytes)
        kind = plot_format(data, f"{where}.data")
        title = plot.get("title")
        self._keep("plot", number, "", kind.media_type, data)
        return {
            "format": kind.name,
            "media_type": kind.media_type,
            "title": clean_text(title)[:200] if isinstance(title, str) else "",
            "size": len(data),
        }

    def _results(self, results: Any) -> dict[str, Any]:
        if results is None or results in ({}, ""):
            return {"has_results": False, "results_format": None}
        how = _format(results)
        if how == "json":
            told = self._json_results(results)
        elif how == "joblib":
            told = self._joblib_results(results)
        else:
            raise ResultMalformed(
                field="analysis.results.format", found=repr(how)[:50], expected="json or joblib"
            )
        self._keep("results", 0, "", _JSON, json_bytes(told))
        return {"has_results": True, "results_format": how}

    def _json_results(self, results: Any) -> Any:
        data = results if isinstance(results, str) else results.get("data", results)
        if isinstance(data, str):
            data = self._json_of_text(data)
        document = PlainDocument(most_characters=self._limits.max_unpacked_bytes // 4)
        made = document.plain(data, "analysis.results.data")
        self._notes += document.notes("results")
        return made

    def _json_of_text(self, text: str) -> Any:
        """JSON within a string, maybe in base64: old services send either."""
        where = "analysis.results.data"
        reading = StrictJson()
        try:
            return reading.read(text, where)
        except ResultMalformed:
            try:
                data = _decoded(text, where, self._limits.max_result_bytes)
            except ResultMalformed:
                return text  # a sentence is a result as well
            return reading.read(data, where)

    def _joblib_results(self, results: Any) -> Any:
        from firstlight.formats.joblib_document import read_joblib  # noqa: PLC0415, brings numpy

        sent = results if isinstance(results, str) else results.pop("data", None)
        data = _decoded(sent, "analysis.results.data", self._limits.max_result_bytes)
        made, notes = read_joblib(data, most_bytes=self._limits.max_unpacked_bytes)
        self._notes += [note.replace("analysis.results.data", "results") for note in notes]
        self._keep("results_as_sent", 0, "", "application/octet-stream", data)
        return made

    # --- posteriors --------------------------------------------------------------------------

    def _posteriors(self, analysis: dict[str, Any], name: str | None) -> dict[str, Any]:
        sent = dict(_models(analysis, "posterior_samples", "posteriors", name))
        inference_data = analysis.pop("inference_data", None)
        facts: dict[str, Any] = {
            "has_inference_data": bool(inference_data),
            "has_corner": False,
            "models": [],
            "parameters": {},
            "draws": {},
            "drawn_of": {},
        }
        if not sent and not inference_data:
            return facts
        from firstlight.formats.posterior_samples import PACKED, pack, samples_of  # noqa: PLC0415, brings numpy

        models = {}
        most = self._limits.max_samples // max(1, len(sent) + bool(inference_data))
        for model, columns in sent.items():
            where = f"analysis.posterior of {model}"
            models[model], lost = samples_of(columns, where, most=most)
            if lost:
                self._notes.append(f"posterior of {model}: {lost} draws were not finite")
        sent.clear()
        if inference_data:
            found = self._inference_data(inference_data, most)
            models.setdefault(name or "posterior", found)
        if not models:
            return facts
        self._keep("posterior", 0, "", PACKED, pack(models))
        self._keep("posterior", 0, "drawn", _JSON, json_bytes(_drawn(models, self._limits)))
        return facts | {
            "has_corner": any(each.draws > len(each.names) for each in models.values()),
            "models": list(models),
            "parameters": {model: list(each.names) for model, each in models.items()},
            "draws": {model: each.draws for model, each in models.items()},
            "drawn_of": {model: each.sent for model, each in models.items()},
        }

    def _inference_data(self, sent: Any, most: int) -> Any:
        from firstlight.formats.inference_data import NETCDF, read_posterior  # noqa: PLC0415, brings HDF5
        from firstlight.formats.posterior_samples import Samples, samples_of  # noqa: PLC0415, brings numpy

        where = "analysis.inference_data"
        if isinstance(sent, dict):
            sent = sent.pop("data", None)
        data = _decoded(sent, f"{where}.data", self._limits.max_result_bytes)
        found = read_posterior(data, most_bytes=self._limits.max_unpacked_bytes, most_numbers=most)
        samples, lost = samples_of(found.columns, f"{where}.posterior", most=most)
        if lost:
            self._notes.append(f"inference_data: {lost} draws were not finite")
        self._notes += found.notes
        self._keep("inference_data", 0, "", NETCDF, data)
        return Samples(samples.names, samples.values, found.sent)

    # --- light curves ------------------------------------------------------------------------

    def _curves(self, analysis: dict[str, Any], name: str | None) -> dict[str, Any]:
        checking = ModelCurves()
        models = {
            model: checking.of_model(curves, f"analysis.model_lightcurve of {model}")
            for model, curves in _models(analysis, "model_lightcurve", "model_lightcurves", name)
        }
        if checking.dropped:
            self._notes.append(f"light curves: {checking.dropped} rows were not finite")
        if models:
            self._keep("light_curves", 0, "", _JSON, json_bytes({"models": models}))
        return {
            "has_light_curves": bool(models),
            "light_curve_models": list(models),
            "filters": sorted({band for curves in models.values() for band in curves}),
        }


def _models(
    analysis: dict[str, Any], one: str, many: str, name: str | None
) -> Iterator[tuple[str, Any]]:
    """What is told of models: of one alone, or of several by their names."""
    alone, several = analysis.pop(one, None), analysis.pop(many, None)
    for key, given in ((one, alone), (many, several)):
        if given is not None and not isinstance(given, dict):
            raise ResultMalformed(
                field=f"analysis.{key}", found=type(given).__name__, expected="an object"
            )
    if alone and not several:
        yield name or "model", alone
    for model, given in (several or {}).items():
        if not isinstance(given, dict):
            raise ResultMalformed(
                field=f"analysis.{many}", found=type(given).__name__, expected="an object a model"
            )
        if given:
            yield clean_text(model)[:_LONGEST_NAME], given


def _drawn(models: Mapping[str, Any], limits: ReaderLimits) -> dict[str, Any]:
    """What a page draws of posteriors."""
    return {
        "models": {model: each.columns(limits.drawn_samples) for model, each in models.items()},
        "draws": {model: min(each.draws, limits.drawn_samples) for model, each in models.items()},
        "drawn_of": {model: each.sent for model, each in models.items()},
    }


def _format(results: Any) -> str | None:
    """``json`` or ``joblib``, as it is told or can be seen."""
    if isinstance(results, str):  # as the seed describes it: base64 and nothing else
        return "json" if results.lstrip()[:1] in ("{", "[") else "joblib"
    if not isinstance(results, dict):
        return type(results).__name__
    told = results.get("format", results.get("type"))
    if told is None or "data" not in results:
        return "json"
    return told.lower() if isinstance(told, str) else type(told).__name__


def _decoded(text: Any, where: str, most: int) -> bytes:
    if not isinstance(text, str):
        raise ResultMalformed(
            field=where, found=type(text).__name__, expected="bytes in base64, as a string"
        )
    if text.startswith("data:"):
        head, mark, _ = text[:_LONGEST_DATA_URL].partition(";base64,")
        if mark:
            text = text[len(head) + len(mark) :]
    if len(text) // 4 * 3 > most:
        raise ResultTooLarge(
            field=where, found=f"{len(text) // 4 * 3} bytes", expected=f"at most {most}"
        )
    if "\n" in text or "\r" in text:  # as base64.encodebytes folds it
        text = text.replace("\n", "").replace("\r", "")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise ResultMalformed(
            "this is no base64", field=where, found=str(fault)[:100], hint="base64.b64encode"
        ) from fault
    if not data:
        raise ResultMalformed("there is nothing in it", field=where)
    return data


def _status(body: dict[str, Any], *, needed: bool) -> str:
    status = body.pop("status", None)
    if status is None and not needed:
        return ""
    if not isinstance(status, str) or len(status) > _LONGEST_STATUS:
        raise ResultMalformed(
            "the body does not say how the analysis went",
            field="status",
            found=type(status).__name__,
            expected='"success", or another word',
        )
    return clean_text(status)


def _message(message: Any) -> str:
    if message is None:
        return ""
    if not isinstance(message, str):
        raise ResultMalformed(field="message", found=type(message).__name__, expected="a sentence")
    return clean_text(message)[:_LONGEST_MESSAGE]


def _name(name: Any) -> str | None:
    if name is None or name == "":
        return None
    if not isinstance(name, str):
        raise ResultMalformed(
            field="analysis.model_name", found=type(name).__name__, expected="a name"
        )
    return clean_text(name)[:_LONGEST_NAME]


def _count(count: Any) -> int | None:
    if count is None:
        return None
    if isinstance(count, float) and count.is_integer():
        count = int(count)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 2**31:
        raise ResultMalformed(
            field="analysis.n_detections", found=repr(count)[:50], expected="a whole number"
        )
    return count


def _annotations(annotations: Any) -> list[dict[str, Any]]:
    where = "analysis.annotations"
    if annotations is None:
        return []
    if isinstance(annotations, dict):  # one alone
        annotations = [annotations]
    if not isinstance(annotations, list) or len(annotations) > _MOST_ANNOTATIONS:
        raise ResultMalformed(
            field=where,
            found=type(annotations).__name__,
            expected=f"a list of at most {_MOST_ANNOTATIONS}",
        )
    made = []
    document = _small_document()
    for number, each in enumerate(annotations):
        data = each.get("data") if isinstance(each, dict) else None
        origin = each.get("origin") if isinstance(each, dict) else None
        if not isinstance(data, dict) or not isinstance(origin, str | None):
            raise ResultMalformed(
                field=f"{where}[{number}]", expected='{"data": {...}, "origin": "..."}'
            )
        origin = clean_text(origin)[:_LONGEST_NAME] if origin else None
        if data:
            made.append({"data": document.plain(data, f"{where}[{number}]"), "origin": origin})
    return made


def _small(values: Any, where: str) -> dict[str, Any]:
    made: dict[str, Any] = _small_document().plain(values, where)
    return made


def _small_document() -> PlainDocument:
    return PlainDocument(
        most_values=_ANNOTATION_VALUES, most_characters=_ANNOTATION_CHARACTERS, deepest=16
    )
