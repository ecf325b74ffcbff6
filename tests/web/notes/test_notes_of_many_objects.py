"""What the pages and answers of objects embed: for many objects with few questions."""

import uuid

import pytest
import sqlalchemy as sa

from firstlight.models.audience import audience_of
from firstlight.models.notes import Thumbnail
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.models.spectrum import Spectrum
from firstlight.services.objects.annotations import annotation_rows
from firstlight.services.objects.classifications import NewClassification, classification_rows
from firstlight.services.objects.comments import comment_rows
from firstlight.services.objects.object_summary import summarise
from firstlight.services.objects.spectra_rows import SpectrumForm, spectrum_counts, spectrum_rows
from firstlight.services.objects.thumbnails import thumbnail_rows


@pytest.fixture
def many(world):
    """Thirty objects with notes of two authors, some for one group alone."""
    ada, root = world.viewers["ada"], world.viewers["root"]
    with world.database.begin() as session:
        audience = audience_of(session, groups=world.groups.values())
        objects = {uuid.uuid4(): f"M{number}" for number in range(30)}
        session.add_all(
            Object(id=each, name=name, ra=1.0, dec=2.0, origin="test", audience_id=audience)
            for each, name in objects.items()
        )
    given = {
        "instrument_id": 1,
        "observed_at": "2026-01-01",
        "wavelengths": [1.0, 2.0],
        "fluxes": [1.0, 2.0],
    }
    services = world.services
    tree = services.taxonomies.add(world.viewers["ada"], "t", "1", {"class": "x"})
    for name in objects.values():
        services.comments.add(ada, "sources", name, "for A", group_ids=[world.groups["A"]])
        services.comments.add(root, "sources", name, "for all")
        services.annotations.add(ada, "sources", name, "a", {"n": name})
        services.annotations.add(root, "sources", name, "b", {"n": name})
        new = NewClassification(name, "x", tree, probability=0.5)
        (number,) = services.classifications.add(ada, [new])
        services.classifications.vote(root, number, -1)
        services.classifications.change(ada, number, {"probability": 0.6})
        spectrum = services.spectra.add(ada, {"obj_id": name, **given})
        services.comments.add(ada, "spectra", str(spectrum), "on the spectrum")
    return objects


def statements(world):
    seen = []
    sa.event.listen(
        world.database.engine, "before_cursor_execute", lambda *facts: seen.append(facts[2])
    )
    return seen


def test_rows_of_many_objects_cost_few_statements(world, many):
    bob = world.viewers["bob"]
    seen = statements(world)
    with world.database.reading() as session:
        comments = comment_rows(session, bob, many)
        annotations = annotation_rows(session, bob, many)
        classes = classification_rows(session, bob, many)
        thumbnails = thumbnail_rows(session, many)
        counts = spectrum_counts(session, bob, many)
    assert len(seen) <= 16, "no statement is repeated for each object"
    for ident, name in many.items():
        assert [row["text"] for row in comments[ident]] == ["for all"]
        assert [row["data"] for row in annotations[ident]] == [{"n": name}]
        (found,) = classes[ident]
        assert sorted(vote["vote"] for vote in found["votes"]) == [-1, 1]
        assert (found["edits"][0]["old_probability"], found["probability"]) == (0.5, 0.6)
    assert thumbnails == counts == {}


def test_whole_spectra_of_many_objects_cost_few_statements(world, many):
    ada = world.viewers["ada"]
    seen = statements(world)
    with world.database.reading() as session:
        assert set(spectrum_counts(session, ada, many).values()) == {1}
        rows = session.scalars(sa.select(Spectrum)).all()
        found = spectrum_rows(session, ada, rows, many, SpectrumForm())
    assert len(seen) <= 14
    assert {row["comments"][0]["text"] for row in found} == {"on the spectrum"}
    assert {row["obj_id"] for row in found} == set(many.values())


def test_the_latest_thumbnail_of_each_type_counts(world, many):
    first, second, *_ = many
    with world.database.begin() as session:
        for number, (ident, kind) in enumerate(
            [(first, "new"), (first, "new"), (first, "ref"), (second, "new")]
        ):
            session.add(Thumbnail(object_id=ident, type=kind, key=f"k{number}"))
            session.flush()
    with world.database.reading() as session:
        found = thumbnail_rows(session, many)
    assert {ident: [row["id"] for row in rows] for ident, rows in found.items()} == {
        first: [2, 3],
        second: [4],
    }


def test_bulk_tells_of_the_light_curve_that_one_may_see(world, many):
    ident, name = next(iter(many.items()))
    with world.database.begin() as session:
        for group, mjd, flux in (("A", 60000.0, 50.0), ("B", 60001.0, 90.0), ("A", 60002.0, 70.0)):
            session.add(
                Photometry(
                    key=uuid.uuid4(),
                    object_id=ident,
                    audience_id=audience_of(session, groups=[world.groups[group]]),
                    mjd=mjd,
                    filter="V",
                    flux_ujy=flux,
                    flux_err_ujy=1.0,
                    mag=23.9 - flux / 50,
                    mag_err=0.1,
                    mag_system="AB",
                )
            )
        session.flush()
        summarise(session, [ident])
    ada, root = world.client("ada"), world.client("root")
    (found,) = ada.post_spectra_bulk(obj_ids=[name]).sources
    assert (found.first_detected_mjd, found.peak_mjd) == (60000.0, 60002.0)
    (found,) = root.post_spectra_bulk(obj_ids=[name]).sources
    assert (found.first_detected_mjd, found.peak_mjd) == (60000.0, 60001.0)
