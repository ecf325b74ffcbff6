"""What a service says of itself: its name, what it needs, which parameters it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from firstlight.analysis_kit.parameters import check_grammar, read_parameters

__all__ = ["ANALYSIS_TYPES", "INPUT_FORMATS", "INPUT_TYPES", "ServiceDeclaration"]

ANALYSIS_TYPES = ("lightcurve_fitting", "spectrum_fitting", "meta_analysis")
INPUT_TYPES = (
    "photometry",
    "spectra",
    "redshift",
    "annotations",
    "comments",
    "classifications",
)
INPUT_FORMATS = ("csv", "json")


@dataclass(frozen=True)
class ServiceDeclaration:
    """What is registered in the portal.

    Attributes
    ----------
    name
        Unique among services.
    display_name
        What people read; the name where there is none.
    analysis_type
        One of `ANALYSIS_TYPES`.
    input_data_types
        Of `INPUT_TYPES`: what is sent of an object.
    parameters
        What may be chosen for each run: a name with a list of choices, or with
        ``{"type": "number"|"integer"|"string"|"boolean"|"date"|"file"|"choice", "choices",
        "default", "minimum", "maximum", "title", "description", "required"}``.
    timeout
        Seconds after which a run is given up.
    input_format
        ``json`` for plain columns, ``csv`` for SkyPortal's strings. `Inputs` reads both.

    Raises
    ------
    ValueError
        A value that cannot be registered, with what is possible.
    """

    name: str
    display_name: str = ""
    description: str = ""
    version: str = ""
    analysis_type: str = "lightcurve_fitting"
    input_data_types: tuple[str, ...] = ("photometry",)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 3600.0
    input_format: str = "json"
    contact_name: str = ""
    contact_email: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("a service needs a name")
        _one_of("analysis_type", self.analysis_type, ANALYSIS_TYPES)
        _one_of("input_format", self.input_format, INPUT_FORMATS)
        for each in self.input_data_types:
            _one_of("input_data_types", each, INPUT_TYPES)
        if not 0 < self.timeout < float("inf"):
            raise ValueError(f"timeout: {self.timeout} is no number of seconds above zero")
        check_grammar(self.parameters)

    def read_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of one run, as their types say, with defaults where none was given.

        Raises
        ------
        AnalysisFailed
            One is unknown, missing, or outside what is allowed.
        """
        return read_parameters(self.parameters, given)

    def as_document(self, url: str) -> dict[str, Any]:
        """The body of ``POST /api/analysis_service`` for a service that lives at `url`."""
        return {
            "name": self.name,
            "display_name": self.display_name or self.name,
            "description": self.description,
            "version": self.version,
            "contact_name": self.contact_name,
            "contact_email": self.contact_email,
            "url": url,
            "analysis_type": self.analysis_type,
            "input_data_types": list(self.input_data_types),
            "optional_analysis_parameters": dict(self.parameters),
            "timeout": self.timeout,
            "input_format": self.input_format,
            "authentication_type": "none",
        }


def _one_of(what: str, found: str, possible: tuple[str, ...]) -> None:
    if found not in possible:
        raise ValueError(f"{what}: {found!r} is none of {', '.join(possible)}")
