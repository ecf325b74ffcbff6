"""What a sweep removed, kept and could not do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ExpireReport"]

_TOLD = 1000  # names in each list; the counts are of all


@dataclass
class ExpireReport:
    """What a sweep did, or in a dry run what it would do.

    Attributes
    ----------
    removed
        How many things of each kind: ``exposure``, ``info image``, ``download``,
        ``upload log``, ``upload ticket``.
    files, size
        Stored files of these, and their bytes.
    names
        What went: kind, name, site, rule. The first thousand.
    kept
        What should have gone but is needed: name, site, why. The first thousand.
    n_kept
        How many that are.
    failed
        What could not be removed now, with the error; the next sweep tries again.
    """

    dry_run: bool = False
    removed: Counter[str] = field(default_factory=Counter)
    files: int = 0
    size: int = 0
    names: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    n_kept: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)

    def add_removed(
        self, what: str, name: str, site: str | None, rule: str, *, files: int, size: int
    ) -> None:
        """Tell of one thing."""
        self.removed[what] += 1
        self.files += files
        self.size += size
        if len(self.names) < _TOLD:
            self.names.append({"what": what, "name": name, "site": site, "rule": rule})

    def add_kept(self, name: str, site: str | None, why: str) -> None:
        """Tell of one exposure that is needed."""
        self.n_kept += 1
        if len(self.kept) < _TOLD:
            self.kept.append({"name": name, "site": site, "why": why})

    def add_failed(self, name: str, error: dict[str, Any]) -> None:
        """Tell of one thing that did not work."""
        if len(self.failed) < _TOLD:
            self.failed.append({"name": name, "error": error})

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "dry_run": self.dry_run,
            "removed": dict(self.removed),
            "files": self.files,
            "size_bytes": self.size,
            "names": self.names,
            "n_kept": self.n_kept,
            "kept": self.kept,
            "failed": self.failed,
        }

    def sentence(self) -> str:
        """One line for a person."""
        told = [f"{count} {what}{'s' * (count > 1)}" for what, count in self.removed.items()]
        verb = "would be removed" if self.dry_run else "removed"
        line = f"{verb}: {', '.join(told) or 'nothing'}"
        if self.files:
            line += f" ({self.files} files, {self.size / 1e6:.1f} MB)"
        if self.n_kept:
            line += f"; {self.n_kept} kept because they are needed"
        return line + (f"; {len(self.failed)} failed" if self.failed else "")
