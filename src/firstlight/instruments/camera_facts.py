"""What is known of a camera, for people and programs that ask."""

from __future__ import annotations

from typing import Any

from firstlight.instruments.base import Instrument
from firstlight.instruments.file_camera import FileCamera
from firstlight.instruments.registry import comes_with_us
from firstlight.instruments.sections import SectionId

__all__ = ["camera_facts", "camera_summary"]

_OF_CAMERA = (
    "aperture", "focal_ratio", "pixel_scale", "gain", "read_noise", "dark_current",
    "saturation_limit", "non_linearity_limit", "bias_level", "orientation_fixed", "bleeds_along",
    "latitude", "longitude", "elevation",
)  # fmt: skip
_OF_SECTION = ("size_x", "size_y", "gain", "read_noise", "saturation_limit", "defective")
_TABLES = ("crosstalk", "linearity")


def camera_summary(camera: Instrument) -> dict[str, Any]:
    """Return a camera's name, telescope, numbers of sections, pixel scale (arcsec), and source.

    Returns
    -------
    dict
        ``described_in`` is ``firstlight`` where the camera comes with the package, else the path
        of its file or the module of its class.
    """
    ids = camera.get_section_ids()
    if comes_with_us(camera.name):
        source = "firstlight"
    else:
        source = str(camera.path) if isinstance(camera, FileCamera) else type(camera).__module__
    return {
        "name": camera.name,
        "telescope": camera.telescope,
        "sections": len(ids),
        "defective": sum(bool(camera.get_property(each, "defective")) for each in ids),
        "pixel_scale": _known(camera, "pixel_scale"),
        "described_in": source,
    }


def camera_facts(camera: Instrument) -> dict[str, Any]:
    """Return all that is known of a camera without a file of it, as values of JSON.

    Returns
    -------
    dict
        Units are those of `Instrument`; None where a value is not known. What the settings say
        stands in the place of what the camera says. ``tables``: for each that the camera names,
        its file, and where it was found or None. ``sections``: one dict each.
    """
    facts = {**camera_summary(camera), **{prop: _known(camera, prop) for prop in _OF_CAMERA}}
    facts["filter_array"] = _names(camera.filter_array)
    facts["fringes_in"] = _names(camera.fringes_in)
    if isinstance(camera, FileCamera):
        facts["filters"] = _names(camera.says.camera.filters)
        facts["tables"] = _tables(camera)
    facts["sections"] = [_section(camera, each) for each in camera.get_section_ids()]
    return facts


def _known(camera: Instrument, prop: str) -> Any:
    return camera.settings.get(prop, getattr(camera, prop, None))


def _names(values: Any) -> list[str]:
    return [str(each) for each in values or ()]


def _tables(camera: FileCamera) -> dict[str, dict[str, str | None]]:
    named = {kind: camera.names_table(kind) for kind in _TABLES}
    found = {kind: camera.table_path(kind) for kind in _TABLES}
    return {
        kind: {"file": name, "found": None if found[kind] is None else str(found[kind])}
        for kind, name in named.items()
        if name is not None
    }


def _section(camera: Instrument, section_id: SectionId) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": str(section_id)}
    facts |= {prop: camera.get_property(section_id, prop) for prop in _OF_SECTION}
    facts["defective"] = bool(facts["defective"])
    if camera.filter_array:
        index = camera.get_section_filter_array_index(section_id)
        facts["filter"] = camera.filter_array[index]
    if isinstance(camera, FileCamera):
        entry = camera.says.by_id[str(section_id).strip()]
        layout = camera.says.layouts.get(entry.layout or "", [])
        facts |= {"x": entry.x, "y": entry.y, "amplifiers": [each.name for each in layout]}
    return facts
