"""Classifications of objects, and votes on them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from firstlight.services.objects.classifications import NewClassification
from firstlight.web.api.portal_parameters import (
    Groups,
    ObjectName,
    Page,
    PerPage,
    PortalRequest,
    RowId,
)
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["classifications"])

WithTaxonomy = Annotated[bool, Query(alias="includeTaxonomy")]
Start = Annotated[str | None, Query(alias="startDate", description="Made since then, UTC.")]
End = Annotated[str | None, Query(alias="endDate", description="Made until then, UTC.")]

_VOTE = {"id": 1, "classification_id": 1, "voter_id": 1, "vote": 1}
_CLASSIFICATION: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-08-21T12:35:30.123456",
    "modified": "2026-08-21T12:35:30.123456",
    "obj_id": "FL1",
    "classification": "RR Lyrae",
    "taxonomy_id": 1,
    "probability": 0.9,
    "origin": None,
    "ml": False,
    "author_id": 1,
    "author_name": "ada",
    "groups": [{"id": 1, "name": "Observers"}],
    "votes": [_VOTE],
    "edits": [],
}


class ClassificationRequest(PortalRequest):
    """A class for an object."""

    obj_id: str = Field(max_length=128, examples=["FL1"])
    classification: str = Field(max_length=128, examples=["RR Lyrae"])
    taxonomy_id: int = Field(examples=[1])
    origin: str | None = None
    probability: float | None = Field(default=None, examples=[0.9])
    ml: bool | None = None
    group_ids: Groups = None
    vote: bool | None = None
    label: bool | None = Field(default=None, description="Of no effect: there are no labels.")

    def as_new(self) -> NewClassification:
        """As the service takes it."""
        return NewClassification(
            obj_id=self.obj_id,
            classification=self.classification,
            taxonomy_id=self.taxonomy_id,
            origin=self.origin,
            probability=self.probability,
            ml=bool(self.ml),
            group_ids=self.group_ids,
            vote=self.vote is not False,
        )


class ClassificationsRequest(PortalRequest):
    """Classes for several objects: all are given, or none."""

    classifications: list[ClassificationRequest]


class ClassificationChange(PortalRequest):
    """What is to be changed of a classification."""

    classification: str | None = Field(default=None, max_length=128)
    taxonomy_id: int | None = None
    probability: float | None = Field(default=None, examples=[0.8])
    origin: str | None = None
    ml: bool | None = None
    group_ids: Groups = None


class VoteRequest(PortalRequest):
    """For (1) or against (-1)."""

    vote: int = Field(examples=[1])


class RemovalRequest(PortalRequest):
    """What SkyPortal takes along with the classifications."""

    label: bool | None = Field(default=None, description="Of no effect: there are no labels.")


@router.get("/sources/{name}/classifications", responses=shows([_CLASSIFICATION], 404))
def list_classifications(
    request: Request,
    asker: Asker,
    name: ObjectName,
    include_super_objs: Annotated[bool, Query(alias="includeSuperObjs")] = False,
) -> Response:
    """All classifications of an object, with votes and edits."""
    del include_super_objs  # objects are not parts of others here
    return success(services_of(request).classifications.of_object(asker, name))


@router.delete("/sources/{name}/classifications", responses=shows({}, 401, 403, 404))
def remove_classifications(
    request: Request,
    asker: Asker,
    name: ObjectName,
    body: Annotated[RemovalRequest | None, Body()] = None,
) -> Response:
    """Take back one's own classifications of an object; who may `admin` takes all."""
    del body
    services_of(request).classifications.remove_of_object(asker, name)
    return success({})


@router.get(
    "/classification",
    responses=shows({"classifications": [_CLASSIFICATION], "totalMatches": 1}, 400),
)
def search_classifications(
    request: Request,
    asker: Asker,
    page: Page = 1,
    per_page: PerPage = 100,
    start: Start = None,
    end: End = None,
    with_taxonomy: WithTaxonomy = False,
) -> Response:
    """Classifications of all objects, a page of at most 500 at a time."""
    found = services_of(request).classifications.search(
        asker, start=start, end=end, page=page, per_page=per_page, with_taxonomy=with_taxonomy
    )
    return success(found)


@router.post(
    "/classification",
    responses=shows({"classification_id": 1}, 400, 401, 403, 404),
)
def add_classification(
    request: Request,
    asker: Asker,
    body: Annotated[ClassificationsRequest | ClassificationRequest, Body()],
) -> Response:
    """Classify one object, or several: then the answer is `classification_ids`."""
    service = services_of(request).classifications
    if isinstance(body, ClassificationsRequest):
        made = service.add(asker, [each.as_new() for each in body.classifications])
        return success({"classification_ids": made})
    return success({"classification_id": service.add(asker, [body.as_new()])[0]})


@router.get("/classification/sources", responses=shows(["FL1"], 400))
def list_classified(
    request: Request, asker: Asker, start: Start = None, end: End = None
) -> Response:
    """Names of the objects that were classified between two times."""
    return success(services_of(request).classifications.objects(asker, start=start, end=end))


@router.post("/classification/votes/{classification_id}", responses=shows({}, 400, 401, 403, 404))
def vote(
    request: Request, asker: Asker, classification_id: RowId, body: Annotated[VoteRequest, Body()]
) -> Response:
    """Vote for or against a classification; a second vote replaces the first."""
    services_of(request).classifications.vote(asker, classification_id, body.vote)
    return success({})


@router.delete("/classification/votes/{classification_id}", responses=shows({}, 401, 403, 404))
def take_vote_back(request: Request, asker: Asker, classification_id: RowId) -> Response:
    """Take one's vote back."""
    services_of(request).classifications.take_vote_back(asker, classification_id)
    return success({})


@router.get("/classification/{classification_id}", responses=shows(_CLASSIFICATION, 404))
def get_classification(
    request: Request, asker: Asker, classification_id: RowId, with_taxonomy: WithTaxonomy = False
) -> Response:
    """One classification."""
    found = services_of(request).classifications.get(
        asker, classification_id, with_taxonomy=with_taxonomy
    )
    return success(found)


@router.put("/classification/{classification_id}", responses=shows({}, 400, 401, 403, 404))
def change_classification(
    request: Request,
    asker: Asker,
    classification_id: RowId,
    body: Annotated[ClassificationChange, Body()],
) -> Response:
    """Change one's own classification; a new probability is remembered as an edit."""
    given = body.model_dump(exclude_none=True)
    services_of(request).classifications.change(asker, classification_id, given)
    return success({})


@router.delete("/classification/{classification_id}", responses=shows({}, 401, 403, 404))
def remove_classification(request: Request, asker: Asker, classification_id: RowId) -> Response:
    """Take one's own classification back."""
    services_of(request).classifications.remove(asker, classification_id)
    return success({})
