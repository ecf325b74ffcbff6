"""The services that come with firstlight, and with packages that offer some, registered at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from firstlight.models.database import Database
from firstlight.services.access import Viewer
from firstlight.services.accounts.membership import sitewide_group
from firstlight.services.analyses.analysis_services import AnalysisServices
from firstlight.services.analyses.service_fields import LOCAL

__all__ = ["Declared", "ShippedServices"]


class Declared(Protocol):
    """What a service says of itself: a `ServiceDeclaration` of the kit."""

    @property
    def version(self) -> str:
        """Of the program."""
        ...

    def as_document(self, url: str) -> dict[str, Any]:
        """What is registered, for a service that lives at `url`."""
        ...


class ShippedServices:
    """Registers local services under their own names, for everybody.

    Parameters
    ----------
    services
        Where they are registered.
    declared
        Gives what each says of itself, by the name of its entry point.
    """

    def __init__(
        self,
        *,
        database: Database,
        services: AnalysisServices,
        declared: Callable[[], Mapping[str, Declared]],
    ) -> None:
        self._database = database
        self._services = services
        self._declared = declared

    def missing(self, viewer: Viewer) -> list[str]:
        """Names of those that are not registered yet, as far as the viewer sees."""
        known = {each["url"] for each in self._services.list(viewer)}
        return sorted(name for name in self._declared() if LOCAL + name not in known)

    def add(self, viewer: Viewer) -> dict[str, str]:
        """Register those that are missing, and bring the others up to date.

        Returns
        -------
        dict
            By name: ``added``, ``changed`` or ``unchanged``.

        Raises
        ------
        Forbidden
            The viewer sets up no services.
        """
        viewer.require("manage_services")
        known = {each["url"]: each for each in self._services.list(viewer)}
        with self._database.begin() as session:
            everybody = sitewide_group(session)
        done = {}
        for name, service in sorted(self._declared().items()):
            document = service.as_document(LOCAL + name)
            present = known.get(document["url"])
            if present is None:
                self._services.create(viewer, {**document, "group_ids": [everybody]})
                done[name] = "added"
            elif _differs(present, document):
                # Its name, groups and whether it may be run are for whoever administers it.
                document.pop("name")
                self._services.change(viewer, present["id"], document)
                done[name] = "changed"
            else:
                done[name] = "unchanged"
        return done


def _differs(present: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    told = ("version", "description", "optional_analysis_parameters", "input_data_types", "timeout")
    return any(present[name] != document[name] for name in told)
