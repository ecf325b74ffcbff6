import math

import pytest
from skyportal_py import SkyPortalError


def status(call, *args, **options):
    with pytest.raises(SkyPortalError) as fault:
        call(*args, **options)
    return fault.value.status_code


def test_the_client_annotates(either):
    ada = either.client("ada")
    number = ada.post_annotation("SHARED", "periods", {"period": 1.234}).annotation_id
    (found,) = ada.fetch_annotations("SHARED")
    assert (found.id, found.data, found.origin) == (number, {"period": 1.234}, "periods")
    assert [group.id for group in found.groups] == [either.groups["A"]], "one's own groups"
    assert status(ada.post_annotation, "SHARED", "periods", {"period": 2}) == 409
    ada.update_annotation("SHARED", number, {"period": 1.3}, origin="better periods")
    assert ada.fetch_annotation("SHARED", number).data == {"period": 1.3}
    assert ada.get("/api/internal/annotations_info").json()["data"] == {
        "better periods": [{"period": "number"}]
    }
    ada.delete_annotation("SHARED", number)
    assert ada.fetch_annotations("SHARED") == []
    assert [change for _, change, _ in either.events()] == ["added", "changed", "removed"]


def test_whose_annotations_are_whose(world):
    ada, bob, cy = map(world.client, ("ada", "bob", "cy"))
    number = ada.post_annotation("SHARED", "a", {"x": 1}).annotation_id
    assert bob.fetch_annotations("SHARED") == []
    assert bob.get("/api/internal/annotations_info").json()["data"] == {}
    assert len(cy.fetch_annotations("SHARED")) == 1
    assert status(bob.fetch_annotation, "SHARED", number) == 404
    assert status(bob.update_annotation, "SHARED", number, {}) == 404
    assert status(bob.post_annotation, "SHARED", "a", {}) == 409, "one of an origin for all"
    assert status(cy.post_annotation, "SHARED", "c", {}) == 403
    assert status(bob.post_annotation, "OF_A", "b", {}) == 404
    ada.update_annotation("SHARED", number, {"x": 2}, group_ids=[world.groups["A"]])
    world.client("root").post_annotation("OF_A", "s", {"k": 1}, group_ids=[world.groups["B"]])
    assert bob.get("/api/internal/annotations_info").json()["data"] == {}
    other = ada.post_annotation("SHARED", "b", {}).annotation_id
    assert status(ada.update_annotation, "SHARED", other, {}, origin="a") == 409


UNSTORABLE = [
    b"{}",
    b"[]",
    b"null",
    b'{"origin": "x", "data": [1]}',
    b'{"origin": "x", "data": {"a": "\\u0000"}}',
    b'{"origin": "x", "data": {"\\u0000": 1}}',
    b'{"origin": "x", "data": {"a": "\\ud800"}}',
    b'{"origin": "\\ud800", "data": {}}',
    b'{"origin": "", "data": {}}',
    b'{"origin": "x", "data": {"a": 1' + 400 * b"0" + b"}}",
    b'{"origin": "x", "data": ' + 100 * b'{"a":' + b"1" + 100 * b"}" + b"}",
    b'{"origin": "x", "data": {}, "group_ids": "some"}',
    b'{"origin": "x", "data": {}, "group_ids": [99999999999999999999999]}',
    b'{"origin": "x", "data": {}, "groups": []}',
]


def test_what_cannot_be_stored_is_refused(either):
    ada = either.client("ada")
    for body in UNSTORABLE:
        answer = ada.post(
            "/api/sources/SHARED/annotations",
            content=body,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 400, (body[:80], answer.text)
    assert ada.fetch_annotations("SHARED") == []


def test_numbers_that_are_none_become_null(either):
    body = b'{"origin": "x", "data": {"a": NaN, "b": [Infinity, 1.5], "c": 1e300}}'
    ada = either.client("ada")
    answer = ada.post(
        "/api/sources/SHARED/annotations",
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    (found,) = ada.fetch_annotations("SHARED")
    assert found.data["a"] is None
    assert found.data["b"] == [None, 1.5]
    assert math.isclose(found.data["c"], 1e300)


def test_the_client_annotates_from_catalogs(either):
    ada = either.client("ada")
    ada.post_gaia_annotation("SHARED")
    (found,) = ada.fetch_annotations("SHARED")
    assert (found.origin, found.data["mag_G"], found.data["BP-RP"]) == ("gaia_dr3", 15.0, 1.0)
    assert found.data["separation_arcsec"] == pytest.approx(0.338, abs=0.001)
    ada.post_gaia_annotation("SHARED", crossmatch_radius=5, crossmatch_number=3)
    nearest, next_one = ada.fetch_annotations("SHARED")
    assert nearest.id == found.id, "one's own is replaced"
    assert (next_one.origin, next_one.data["mag_G"]) == ("gaia_dr3 2", None)
    ada.post_vizier_annotation("SHARED", catalog="gaia_dr3")
    for refused in (
        lambda: ada.post_gaia_annotation("PUBLIC"),
        lambda: ada.post_gaia_annotation("NONE"),
        lambda: ada.post_ps1_annotation("SHARED"),
        lambda: ada.post_irsa_annotation("SHARED"),
        lambda: ada.post_datalab_annotation("SHARED", catalog="ls_dr9"),
    ):
        assert status(refused) == 404
    assert status(ada.post_gaia_annotation, "SHARED", crossmatch_radius=0) == 400
    assert status(ada.post_gaia_annotation, "SHARED", crossmatch_number=10**9) == 400
    assert status(either.client("cy").post_gaia_annotation, "SHARED") == 403
    assert status(either.client("root").post_gaia_annotation, "SHARED") == 409, "it is ada's"
