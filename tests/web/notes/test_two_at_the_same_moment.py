"""Whoever looks before another one has written is refused by the database's own constraints."""

import pytest
from skyportal_py import SkyPortalError
from skyportal_py.instruments import InstrumentPost
from skyportal_py.taxonomies import TaxonomyPost
from skyportal_py.telescopes import TelescopePost

from firstlight.services.objects import annotations as annotation_module
from firstlight.services.objects import instruments, taxonomies, telescopes

PLACE = {"lat": 1.0, "lon": 1.0, "elevation": 1.0}


def test_the_later_one_is_refused(world, monkeypatch):
    ada = world.client("ada")
    monkeypatch.setattr(annotation_module, "_taken", lambda *_: False)
    for module in (instruments, taxonomies, telescopes):
        monkeypatch.setattr(module, "_refuse_taken", lambda *_: None)
    for add in (
        lambda: ada.post_annotation("SHARED", "o", {}),
        lambda: ada.post_taxonomy(TaxonomyPost(name="t", version="1", hierarchy={"class": "x"})),
        lambda: ada.post_telescope(TelescopePost(name="t", nickname="t", diameter=1, **PLACE)),
        lambda: ada.post_instrument(InstrumentPost(name="i", type="imager", telescope_id=1)),
    ):
        add()
        with pytest.raises(SkyPortalError) as fault:
            add()
        assert fault.value.status_code == 409
