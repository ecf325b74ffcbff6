import base64
import io

import numpy as np
import pytest
from PIL import Image
from skyportal_py import SkyPortalError
from skyportal_py.thumbnails import ThumbnailPost


def picture(side=32, mode="L", kind="PNG"):
    out = io.BytesIO()
    Image.new(mode, (side, side), 7 if mode == "L" else (1, 2, 3)).save(out, kind)
    return base64.b64encode(out.getvalue()).decode()


def post(**facts):
    return ThumbnailPost(**{"obj_id": "OF_A", "data": picture(), "ttype": "new", **facts})


def status(call, *args, **options):
    with pytest.raises(SkyPortalError) as fault:
        call(*args, **options)
    return fault.value.status_code


def test_the_client_keeps_thumbnails(either):
    ada, root = either.client("ada"), either.client("root")
    number = ada.post_thumbnail(post(survey="PS1")).id
    found = ada.fetch_thumbnail(number)
    assert (found.obj_id, found.type, found.survey, found.is_grayscale) == (
        "OF_A", "new", "PS1", True,
    )  # fmt: skip
    answer = ada.get(found.public_url)
    assert answer.headers["content-type"] == "image/png"
    assert np.asarray(Image.open(io.BytesIO(answer.content))).shape == (32, 32)
    ada.update_thumbnail(number, is_grayscale=False, type="ref", obj_id="SHARED")
    found = ada.fetch_thumbnail(number)
    assert (found.type, found.obj_id, found.is_grayscale) == ("ref", "SHARED", False)
    assert root.fetch_thumbnail_paths(types=["new", "ref"]).total_matches == 1
    assert root.update_thumbnail_paths(types=["new"]).num_moved == 0
    root.delete_thumbnail_folders()
    ada.delete_thumbnail(number)
    assert status(ada.fetch_thumbnail, number) == 404
    assert list(either.store.list("portal")) == []
    assert {what for what, _, _ in either.events()} == {"thumbnail"}


def test_who_sees_thumbnails(world):
    ada, bob, cy = map(world.client, ("ada", "bob", "cy"))
    number = ada.post_thumbnail(post()).id
    path = f"/api/thumbnail/{number}/picture.png"
    assert cy.get(path).status_code == 200
    assert [client.get(path).status_code for client in (bob, world.client())] == [404, 404]
    assert status(bob.fetch_thumbnail, number) == 404
    assert status(bob.delete_thumbnail, number) == 404
    assert status(bob.post_thumbnail, post()) == 404
    assert status(cy.post_thumbnail, post(obj_id="SHARED")) == 403
    assert status(cy.delete_thumbnail, number) == 403
    assert status(ada.fetch_thumbnail_paths) == 403
    assert status(ada.update_thumbnail, number, obj_id="NONE") == 404
    assert status(ada.update_thumbnail, number, public_url="https://evil.example") == 400


@pytest.mark.parametrize(
    "facts",
    [
        {"data": picture(15)},
        {"data": picture(501)},
        {"data": picture(mode="RGB", kind="JPEG")},
        {"data": base64.b64encode(b"<svg onload='alert(1)'/>").decode()},
        {"data": "no base64!"},
        {"data": "data:image/png;base64,"},
        {"data": ""},
        {"data": "\x00"},
        {"ttype": "webcam"},
        {"survey": "x" * 65},
        {"obj_id": 7},
    ],
)
def test_what_is_no_small_picture_is_refused(world, facts):
    body = {"obj_id": "OF_A", "data": picture(), "ttype": "new", **facts}
    assert world.client("ada").post("/api/thumbnail", json=body).status_code == 400
    assert list(world.store.list("portal")) == []
