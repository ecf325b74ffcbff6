"""What pages say of images that are compared with a later reference, or with nothing."""

import pytest
from archived import archive
from measured import measure
from reduced import reduce
from sqlalchemy import select
from test_pages_objects import HTML, signed_in

from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.image import ImageInput
from firstlight.models.measurement import MeasurementSet
from firstlight.models.reference import Reference
from firstlight.models.sky_search import place


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def ada(client):
    return {**signed_in(client, "ada", roles=["Super admin"])[1], **HTML}


@pytest.fixture
def exposure(client):
    """Of night 59760; its reference ended long before."""
    database, store = client.services.database, client.services.store
    made = archive(database, store, 1)
    measure(database, store, made, reduce(database, store, made), names=("FL26aaa", None))
    with database.begin() as session:
        measured = session.scalars(select(MeasurementSet)).one()
        link = ImageInput(
            image_id=measured.difference_id, role="reference", number=0,
            input_image_id=measured.image_id,
        )  # fmt: skip
        session.add(link)
        wcs = session.scalars(select(WorldCoordinates)).one()
        place(wcs, wcs.ra, wcs.dec)
    return made


def page(client, ada, address):
    answer = client.get(address, headers=ada)
    assert answer.status_code == 200, answer.text
    return answer.text


def change_reference(client, **columns):
    with client.services.database.begin() as session:
        row = session.scalars(select(Reference)).one()
        for name, value in columns.items():
            setattr(row, name, value)


def test_a_later_reference_is_called_so(client, ada, exposure):
    address = f"/exposures/{exposure.id}"
    assert "<dd>version 1 of M 101</dd>" in page(client, ada, address)
    assert "later reference" not in page(client, ada, "/candidates")
    change_reference(client, mjd_start=59_800.0, mjd_end=59_801.0)
    assert "<dd>version 1 of M 101, later than the image</dd>" in page(client, ada, address)
    assert "New image, later reference and difference" not in page(client, ada, "/objects")
    assert "new image, later reference and difference" in page(client, ada, "/candidates")
    assert "New image, later reference and difference" in page(client, ada, "/objects/FL26aaa")


def test_an_exposure_says_why_it_is_compared_with_nothing(client, ada, exposure):
    other = archive(client.services.database, client.services.store, 2)
    reduce(client.services.database, client.services.store, other)
    change_reference(client, ra=210.8, dec=54.3, filter="rp", mjd_end=59_800.0)
    wanted = "<dd>nothing: its images are neither all older nor all later</dd>"
    assert wanted in page(client, ada, f"/exposures/{other.id}")
    change_reference(client, filter="g")
    assert "<dd>nothing: no reference of this camera and filter</dd>" in page(
        client, ada, f"/exposures/{other.id}"
    )
    bare = archive(client.services.database, client.services.store, 3)
    assert "Compared with" not in page(client, ada, f"/exposures/{bare.id}")


def test_an_object_tells_of_images_without_a_point(client, ada, exposure):
    assert 'href="/objects/FL26aaa/coverage"' in page(client, ada, "/objects/FL26aaa")
    told = page(client, ada, "/objects/FL26aaa/coverage")
    assert "0 of 1 with a point" in told
    assert "the object is not followed" in told
    assert f'href="/exposures/{exposure.id}"' in told
    stranger = {**signed_in(client, "bob", roles=["Full user"])[1], **HTML}
    assert client.get("/objects/FL26aaa/coverage", headers=stranger).status_code == 404
    assert client.get("/objects/nothing/coverage", headers=ada).status_code == 404
