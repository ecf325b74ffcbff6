"""What is known of each amplifier of a section: its own gain, read noise and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from firstlight.algorithms.detector.linearity import Linearity
from firstlight.instruments.header_reader import AmplifierArea, AnyHeader
from firstlight.instruments.sections import SectionId

__all__ = ["OWN_CARDS", "Amplifier", "CrosstalkTerm", "amplifiers_from_header"]

OWN_CARDS: Mapping[str, str] = {
    "gain": "GAIN",
    "read_noise": "RDNOISE",
    "saturation_limit": "SATURAT",
    "non_linearity_limit": "MAXLIN",
}
"""Cards of a property of one amplifier, less the letter of the amplifier at their end."""


class KnowsCards(Protocol):
    """What is needed of an instrument here."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the settings say of it."""

    def overscan_and_data_sections(self, header: AnyHeader) -> list[AmplifierArea]:
        """Where overscan and image are."""

    def read_card_as(self, header: AnyHeader, name: str, keyword: str) -> Any:
        """Read one card."""

    def trusts(self, prop: str, value: Any) -> bool:
        """Whether a card can be believed."""


@dataclass(frozen=True)
class Amplifier:
    """One amplifier of a section.

    Attributes
    ----------
    area
        Where its pixels are, and where they belong.
    own
        Properties that are its own, by the names of `OWN_CARDS`, electrons and ADU; what is
        missing is the section's.
    told
        Who said each of `own`: ``header`` or ``camera file``.
    linearity
        Its table; None where there is none.
    """

    area: AmplifierArea
    own: Mapping[str, float] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    linearity: Linearity | None = None


@dataclass(frozen=True)
class CrosstalkTerm:
    """What one amplifier leaves in another.

    Attributes
    ----------
    victim
        Amplifier, by name, of the section that was asked for.
    section, source
        Where it comes from.
    coefficient
        ADU in the victim per ADU, above zero light, of the source pixel read at the same time.
    """

    victim: str
    section: str
    source: str
    coefficient: float


def amplifiers_from_header(
    camera: KnowsCards, header: AnyHeader, section_id: SectionId | None
) -> list[Amplifier]:
    """Gather the areas that a header tells, and each one's own properties from its own cards.

    What the settings say of the camera counts more than any card.
    """
    del section_id
    return [
        Amplifier(area, *own_properties(camera, header, area.name))
        for area in camera.overscan_and_data_sections(header)
    ]


def own_properties(
    camera: KnowsCards,
    header: AnyHeader,
    name: str,
    otherwise: Mapping[str, float] | None = None,
) -> tuple[dict[str, float], dict[str, str]]:
    """Return what is one amplifier's own, and who said it.

    Parameters
    ----------
    name
        Of the amplifier, as it ends the keywords of its cards; without one nothing is its own.
    otherwise
        What a camera file says, for what the header does not.
    """
    own: dict[str, float] = {}
    told: dict[str, str] = {}
    for prop, word in OWN_CARDS.items():
        if camera.settings.get(prop) is not None:
            continue
        value: Any = camera.read_card_as(header, prop, f"{word}{name}") if name else None
        if value is not None and camera.trusts(prop, value):
            own[prop], told[prop] = float(value), "header"
        elif otherwise is not None and otherwise.get(prop) is not None:
            own[prop], told[prop] = float(otherwise[prop]), "camera file"
    return own, told
