import numpy as np
import pytest
from skyportal_py import SkyPortalError
from skyportal_py.spectra import (
    SpectrumAsciiParse,
    SpectrumAsciiPost,
    SpectrumPost,
    SpectrumUpdate,
)
from skyportal_py.taxonomies import TaxonomyPost

WAVES = np.linspace(4000, 9000, 50).tolist()
FLUXES = np.sin(np.arange(50)).tolist()


def status(call, *args, **options):
    with pytest.raises(SkyPortalError) as fault:
        call(*args, **options)
    return fault.value.status_code


def post(**facts):
    return SpectrumPost(
        **{
            "obj_id": "SHARED",
            "instrument_id": 1,
            "observed_at": "2026-08-20T03:04:05",
            "wavelengths": WAVES,
            "fluxes": FLUXES,
            **facts,
        }
    )


def test_the_client_keeps_spectra(either):
    ada = either.client("ada")
    number = ada.post_spectrum(
        post(units="Jy", group_ids="all", pi=[1], external_pi="Somebody", altdata={"a": 1})
    ).id
    found = ada.fetch_spectrum(number)
    assert (found.wavelengths, found.fluxes, found.errors) == (WAVES, FLUXES, None), "to the bit"
    assert (found.instrument.name, found.telescope_name) == ("Camera", "Telescope")
    assert ([pi.id for pi in found.pis], found.external_pi) == ([1], "Somebody")
    assert (found.owner.username, found.units, found.altdata) == ("ada", "Jy", {"a": 1})
    assert [group.id for group in found.groups] == [either.groups["A"]]
    ada.post_comment(number, "host lines", resource_type="spectra")
    ada.post_annotation(number, "snid", {"z": 0.1}, resource_type="spectra")
    assert ada.fetch_comments("SHARED") == [], "the spectrum's, not the object's"
    assert ada.fetch_annotations("SHARED") == []
    (found,) = ada.fetch_spectra("SHARED", normalization="median", include_original_file=True)
    assert found.observed_at_mjd == pytest.approx(61272.12783565)
    assert np.median(np.abs(found.fluxes)) == pytest.approx(1)
    assert (found.comments[0].text, found.annotations[0].data) == ("host lines", {"z": 0.1})
    ada.update_spectrum(number, SpectrumUpdate(label="x", errors=np.ones(50).tolist()))
    assert (ada.fetch_spectrum(number).label, ada.fetch_spectrum(number).errors[0]) == ("x", 1.0)
    assert ada.get(f"/api/spectra/{number}").json()["data"]["id"] == number
    ada.delete_spectrum(number)
    assert status(ada.fetch_spectrum, number) == 404
    assert [what for what, _, _ in either.events()] == [
        "spectrum", "comment", "annotation", "spectrum", "spectrum",
    ]  # fmt: skip


def test_spectra_are_found(either):
    ada = either.client("ada")
    one = ada.post_spectrum(post(origin="pipe", label="red", observed_at="2026-01-01")).id
    two = ada.post_spectrum(post(obj_id="OF_A", type="host")).id
    ada.post_comment(two, "H alpha 100%", resource_type="spectra")

    def ids(**wish):
        return [each.id for each in ada.fetch_spectra_query(**wish)]

    assert ids() == [one, two]
    assert ids(minimal_payload=True, obj_id="OF_A") == [two]
    assert ids(instrument_ids=[1, 7], origin=["pipe", "other"], label=["red"]) == [one]
    assert ids(spectrum_type=["host"]) == [two]
    assert ids(group_ids=[either.groups["B"]]) == []
    assert ids(followup_request_ids=[1]) == []
    assert ids(observed_before="2026-02-01", modified_after="2020-01-01") == [one]
    assert ids(comments_filter=["0%", "nothing"], comments_filter_author=["ada"]) == [two]
    assert ids(comments_filter_after="2100-01-01") == []
    assert ada.fetch_spectra_query(minimal_payload=True)[0].wavelengths == []
    found = ada.fetch_spectra_range(instrument_ids=[1], min_date="2026-02-01T00:00:00")
    assert [each.id for each in found] == [two]
    tree = ada.post_taxonomy(TaxonomyPost(name="t", version="1", hierarchy={"class": "x"}))
    body = {"obj_id": "OF_A", "classification": "x", "taxonomy_id": tree.taxonomy_id}
    assert ada.post("/api/classification", json=body).status_code == 200
    assert [each.id for each in ada.post_spectra_bulk(classifications=["x"]).sources] == ["OF_A"]
    bulk = ada.post_spectra_bulk(max_sources=1)
    assert (bulk.truncated, [each.id for each in bulk.sources]) == (True, ["OF_A"])
    assert bulk.spectra[0].fluxes == FLUXES
    assert ada.post_spectra_bulk(group_id=either.groups["A"]).sources == []
    assert status(ada.post_spectra_bulk, group_id=either.groups["B"]) == 400


def test_text_becomes_a_spectrum(either):
    ada = either.client("ada")
    text = "# OBSERVER: Ada\nwave flux err\n4000 1 .1\n4001 1.1 .2\n"
    parsed = ada.parse_spectrum_ascii(SpectrumAsciiParse(ascii=text, fluxerr_column=2))
    assert (parsed.wavelengths, parsed.errors) == ([4000.0, 4001.0], [0.1, 0.2])
    assert parsed.altdata == {"OBSERVER": "Ada"}
    number = ada.post_spectrum_ascii(
        SpectrumAsciiPost(
            ascii=text,
            obj_id="SHARED",
            instrument_id=1,
            observed_at="2026-08-20T03:04:05",
            filename="a.txt",
            wave_column=0,
            flux_column=1,
        )
    ).id
    found = ada.fetch_spectrum(number, include_original_file=True)
    assert (found.fluxes, found.errors) == ([1.0, 1.1], None)
    assert (found.original_file_string, found.original_file_filename) == (text, "a.txt")
    assert ada.fetch_spectrum(number).original_file_string is None
    for bad in ("", "no numbers", "1 2\n1 3", "1 nan\n2 1", "1 2\x003", "-1 2\n2 3"):
        assert status(ada.parse_spectrum_ascii, SpectrumAsciiParse(ascii=bad)) == 400, bad


@pytest.mark.parametrize(
    "facts",
    [
        {"wavelengths": []},
        {"wavelengths": [1, 2]},
        {"wavelengths": [1, 1], "fluxes": [1, 2]},
        {"wavelengths": [1, 3, 2], "fluxes": [1, 2, 3]},
        {"wavelengths": [0, 1], "fluxes": [1, 2]},
        {"errors": [1.0]},
        {"errors": [-1.0] * 50},
        {"fluxes": ["NaN"] * 50},
        {"fluxes": [None] * 50},
        {"fluxes": "1"},
        {"instrument_id": 99},
        {"instrument_id": 10**30},
        {"observed_at": "yesterday"},
        {"observed_at": "0000-00-00"},
        {"units": "photons"},
        {"type": "moon"},
        {"label": "x" * 257},
        {"label": "\x00"},
        {"altdata": {"a": "\x00"}},
        {"pi": [99]},
        {"pi": [10**30]},
        {"external_pi": "nobody answers for me"},
        {"followup_request_id": 1},
        {"group_ids": "some"},
    ],
)
def test_impossible_spectra_are_refused(world, facts):
    body = {**post().model_dump(exclude_none=True), **facts}
    answer = world.client("ada").post("/api/spectrum", json=body)
    assert answer.status_code == 400, answer.text
    assert world.client("ada").fetch_spectra("SHARED") == []


def test_whose_spectra_are_whose(world):
    ada, bob, cy = map(world.client, ("ada", "bob", "cy"))
    ours = ada.post_spectrum(post()).id
    hidden = ada.post_spectrum(post(obj_id="OF_A")).id
    both = world.client("root").post_spectrum(post(group_ids=[*world.groups.values()])).id
    assert [each.id for each in bob.fetch_spectra("SHARED")] == [both]
    assert [each.id for each in bob.fetch_spectra_query()] == [both]
    assert [each.id for each in ada.fetch_spectra("SHARED")] == [ours, both]
    assert [each.id for each in cy.fetch_spectra("SHARED")] == [both], "without groups: one's own"
    ada.update_spectrum(ours, SpectrumUpdate(group_ids=[world.groups["A"]]))
    assert len(cy.fetch_spectra("SHARED")) == 2
    for number in (ours, hidden):
        assert status(bob.fetch_spectrum, number) == 404
        assert status(bob.fetch_comments, number, resource_type="spectra") == 404
        assert status(bob.post_comment, number, "x", resource_type="spectra") == 404
        assert status(bob.delete_spectrum, number) == 404
    assert status(bob.update_spectrum, both, SpectrumUpdate(label="x")) == 403
    assert status(cy.post_spectrum, post()) == 403
    assert status(world.client().post_spectrum, post()) == 401
    assert status(bob.post_spectrum, post(obj_id="OF_A")) == 404
    assert status(ada.update_spectrum, ours, SpectrumUpdate(obj_id="PUBLIC")) == 400
    assert status(ada.update_spectrum, ours, SpectrumUpdate(wavelengths=[1.0])) == 400
    assert status(ada.post_synthetic_photometry, ours, ["V"]) == 404
    assert [each.id for each in bob.post_spectra_bulk().sources] == ["SHARED"]


def test_what_is_on_a_spectrum_goes_with_it(world):
    ada = world.client("ada")
    number = ada.post_spectrum(post()).id
    ada.post_comment_with_attachment(number, "t", "a", "aGk=", resource_type="spectra")
    ada.post_annotation(number, "o", {}, resource_type="spectra")
    ada.delete_spectrum(number)
    assert list(world.store.list("portal")) == []


def test_odd_questions_get_an_answer(either):
    ada = either.client("ada")
    for path in (
        "/api/spectra?instrumentIDs=x",
        "/api/spectra?groupIDs=99999999999999999999999",
        "/api/spectra?instrumentIDs=9999999999",
        "/api/spectra?origin=%00",
        "/api/spectra?observedAfter=x",
        "/api/spectra/range?instrument_ids=x",
        "/api/spectra/range?instrument_ids=99999999999999999999",
        "/api/spectra/range?min_date=%00",
        "/api/sources/SHARED/spectra?sortBy=x",
        "/api/sources/SHARED/spectra?normalization=x",
        "/api/spectrum/99999999999999999999",
    ):
        assert ada.get(path).status_code == 400, path
    assert ada.get("/api/spectra?instrumentIDs=&groupIDs=&origin=").json()["data"] == []
