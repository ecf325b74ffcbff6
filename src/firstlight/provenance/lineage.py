"""Lineage: which process, in which version, with which parameters, after which others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from firstlight.provenance.fingerprint import fingerprint

__all__ = ["Lineage"]


@dataclass(frozen=True)
class Lineage:
    """How a kind of product is made. Its `id` is the provenance of every product so made.

    Parameters
    ----------
    process
        Name of the step, for example ``find_sources``.
    step_version
        Raised by hand whenever the step would make other products of the same inputs.
    parameters
        The critical parameters: those that change the product. JSON values only.
    upstreams
        Lineages of the steps whose products are the inputs.
    """

    process: str
    step_version: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    upstreams: tuple[Lineage, ...] = ()

    @cached_property
    def id(self) -> str:
        """Fingerprint of all of the above; the order of upstreams does not matter."""
        return fingerprint(
            {
                "process": self.process,
                "step_version": self.step_version,
                "parameters": dict(self.parameters),
                "upstreams": sorted(upstream.id for upstream in self.upstreams),
            }
        )

    def walk(self) -> Iterator[Lineage]:
        """Itself and everything upstream, each once, upstreams first."""
        seen: set[str] = set()
        yield from self._walk(seen)

    def _walk(self, seen: set[str]) -> Iterator[Lineage]:
        for upstream in self.upstreams:
            yield from upstream._walk(seen)  # noqa: SLF001, the same class
        if self.id not in seen:
            seen.add(self.id)
            yield self
