"""Every call of skyportal-py on sources, objects, groups of sources, sharing and tags."""

import pytest
from skyportal_py import SkyPortalError
from skyportal_py.source_groups import SourceGroupsPost
from skyportal_py.sources import SourcePost

from firstlight.models.object import Object


def refused(status, call, *args, **kwargs):
    with pytest.raises(SkyPortalError) as caught:
        call(*args, **kwargs)
    assert caught.value.status_code == status, caught.value
    return str(caught.value)


def test_a_source_is_added_saved_and_told_of(sky):
    ada = sky.client("ada")
    made = ada.post_source(
        SourcePost(id="FL1", ra=120.5, dec=-3.25, group_ids=[sky.groups["A"]], redshift=0.05)
    )
    assert (made.id, made.saved_to_groups, made.warnings) == ("FL1", [sky.groups["A"]], [])
    found = ada.fetch_source(
        "FL1",
        include_thumbnails=True,
        include_photometry=True,
        include_comments=True,
        include_detection_stats=True,
        include_photometry_exists=True,
        include_spectrum_exists=True,
        include_comment_exists=True,
        include_period_exists=True,
    )
    assert (found.ra, found.dec, found.redshift) == (120.5, -3.25, 0.05)
    assert found.gal_lon == pytest.approx(225.0, abs=5)
    assert found.gal_lat == pytest.approx(14.1, abs=1)
    assert found.luminosity_distance == pytest.approx(230, rel=0.02)
    (group,) = found.groups
    assert (group.id, group.active, group.saved_by.username) == (sky.groups["A"], True, "ada")
    assert found.redshift_history[0]["set_by_user_id"] == sky.users["ada"]
    assert not any(
        (found.photometry_exists, found.spectrum_exists, found.comment_exists, found.period_exists)
    )
    assert ada.source_exists("FL1")
    assert sky.events() == [("saved", "FL1")]


def test_what_a_stranger_may_not_see_is_missing(sky):
    sky.client("ada").post_source(SourcePost(id="FL1", ra=1, dec=2))
    for name in ("bob", None):
        other = sky.client(name)
        assert not other.source_exists("FL1")
        refused(404, other.fetch_source, "FL1")
        refused(404, other.fetch_obj_position, "FL1")
        refused(404, other.fetch_source_phot_stat, "FL1")
        refused(404, other.fetch_source_saved_groups, "FL1")
        assert other.fetch_sources().sources == []
        assert not other.fetch_source_exists("FL1").source_exists
        assert not other.fetch_source_exists(ra=1, dec=2, radius=0.1).source_exists
    reader = sky.client("cy")
    assert reader.fetch_source("FL1").id == "FL1"
    refused(403, reader.update_source, "FL1", redshift=1.0)
    refused(403, reader.delete_obj, "FL1")
    refused(401, sky.client(None).update_source, "FL1", redshift=1.0)
    refused(404, sky.client("bob").update_source, "FL1", redshift=1.0)
    refused(401, sky.client("nobody").fetch_source, "FL1")


def test_a_new_source_needs_a_place_a_name_and_a_group_of_ones_own(sky):
    ada = sky.client("ada")
    assert "position" in refused(400, ada.post_source, SourcePost(id="FL1"))
    refused(400, ada.post_source, SourcePost(id="no/slash", ra=1, dec=2))
    refused(400, ada.post_source, SourcePost(id="no space", ra=1, dec=2))
    refused(400, ada.post_source, SourcePost(id="FL1", ra=1, dec=92))
    foreign = SourcePost(id="FL1", ra=1, dec=2, group_ids=[sky.groups["B"]])
    refused(400, ada.post_source, foreign)
    refused(400, ada.post_source, SourcePost(id="FL1", ra=1, dec=2, group_ids=[2**40]))
    with sky.database.reading() as session:
        assert session.query(Object).count() == 0
    for name in ("A-b_c;d:e+f.g", "ZTF21abc"):
        assert ada.post_source(SourcePost(id=name, ra=0, dec=0)).id == name
        assert ada.fetch_source(name).ra == 0.0


def test_posting_again_changes_and_saves_to_more_groups(sky):
    ada, bob = sky.client("ada"), sky.client("bob")
    ada.post_source(SourcePost(id="FL1", ra=1, dec=2, redshift=0.1, altdata={"k": [1, None]}))
    # Bob does not see it: it is saved for his group, and what is known of it is kept.
    made = bob.post_source(SourcePost(id="FL1", ra=50, dec=60, redshift=0.9))
    assert made.warnings
    found = bob.fetch_source("FL1")
    assert (found.ra, found.redshift, found.altdata) == (1.0, 0.1, {"k": [1, None]})
    assert [group.name for group in found.groups] == ["group B"], "of his groups alone"
    assert bob.post_source(SourcePost(id="FL1", redshift=0.2)).warnings == []
    assert ada.fetch_source("FL1").redshift == 0.2
    assert len(ada.fetch_source("FL1").redshift_history) == 2


def test_groups_are_left_out_where_another_has_it(sky):
    root = sky.client("root")
    one, other = sky.groups["A"], sky.groups["B"]
    root.post_source(SourcePost(id="FL1", ra=1, dec=2, group_ids=[one]))
    made = root.post_source(
        SourcePost(id="FL1", group_ids=[other], ignore_if_in_group_ids={str(other): [one]})
    )
    assert made.saved_to_groups == []
    saver = {str(other): sky.users["bob"]}
    root.post_source(SourcePost(id="FL1", group_ids=[other], saver_per_group_id=saver))
    group = next(each for each in root.fetch_source("FL1").groups if each.id == other)
    assert group.saved_by.username == "bob"
    wrong = {str(one): sky.users["bob"]}
    refused(400, root.post_source, SourcePost(id="FL1", group_ids=[one], saver_per_group_id=wrong))


def test_changes_and_the_history_of_the_redshift(sky):
    ada = sky.client("ada")
    ada.post_source(SourcePost(id="FL1", ra=359.9, dec=2, redshift=0.1, redshift_error=0.01))
    ada.update_source("FL1", redshift=0.2, summary="a star", transient=True, ra=0.0)
    found = ada.fetch_source("FL1")
    assert (found.ra, found.redshift, found.redshift_error) == (0.0, 0.2, None)
    assert (found.summary, found.transient, found.ra_dis) == ("a star", True, 359.9)
    assert [each["value"] for each in found.redshift_history] == [0.1, 0.2]
    ada.update_source("FL1", redshift=0.2)
    assert len(ada.fetch_source("FL1").redshift_history) == 2, "it is the same"
    assert ada.fetch_source_exists(ra=0, dec=2, radius=0.001).source_exists, "found at its place"
    position = ada.fetch_obj_position("FL1")
    assert (position.ra, position.discovery_ra) == (0.0, 359.9)


def test_existence_by_position_knows_that_zero_is_a_number(sky):
    ada = sky.client("ada")
    ada.post_source(SourcePost(id="FL1", ra=0, dec=0))
    found = ada.fetch_source_exists(ra=0, dec=0, radius=0.001)
    assert found.source_exists
    assert "FL1" in found.message
    assert not ada.fetch_source_exists(ra=0, dec=0.01, radius=0.001).source_exists
    assert ada.fetch_source_exists("nothing", ra=360, dec=0, radius=0.001).source_exists
    refused(400, ada.fetch_source_exists)
    refused(400, ada.fetch_source_exists, ra=0, dec=0)
    refused(400, ada.fetch_source_exists, ra=0, dec=0, radius=-1)


def test_groups_ask_and_decide(sky):
    ada, bob = sky.client("ada"), sky.client("bob")
    one, other = sky.groups["A"], sky.groups["B"]
    ada.post_source(SourcePost(id="FL1", ra=1, dec=2))
    ada.post_source_groups(SourceGroupsPost(obj_id="FL1", invite_group_ids=[other]))
    assert bob.fetch_sources().total_matches == 0
    pending = bob.fetch_sources(pending_only=True)
    assert [source.id for source in pending.sources] == ["FL1"]
    assert pending.sources[0].groups[0].requested
    refused(400, ada.update_source_group, "FL1", other, active=True, requested=False)
    bob.update_source_group("FL1", other, active=True, requested=False)
    assert bob.fetch_sources().total_matches == 1
    ada.post_source_groups(SourceGroupsPost(obj_id="FL1", unsave_group_ids=[one]))
    assert ada.fetch_source_saved_groups("FL1") == []
    refused(400, ada.delete_source, "FL1", one)
    bob.delete_source("FL1", other)
    assert bob.fetch_sources().total_matches == 0
    assert bob.fetch_source("FL1").groups == []


def test_the_list_is_paged_and_counted(sky):
    ada = sky.client("ada")
    for number in range(7):
        ada.post_source(SourcePost(id=f"FL{number}", ra=number, dec=number, redshift=number / 10))
    pages = [ada.fetch_sources(page_number=n, num_per_page=3) for n in (1, 2, 3, 4)]
    assert [len(page.sources) for page in pages] == [3, 3, 1, 0]
    assert all(page.total_matches == 7 for page in pages)
    names = [source.id for page in pages for source in page.sources]
    assert names == [f"FL{number}" for number in range(6, -1, -1)], "the last saved first"
    for sort, expected in (("id", "FL0"), ("ra", "FL0"), ("dec", "FL0"), ("redshift", "FL0")):
        assert ada.fetch_sources(sort_by=sort, sort_order="asc").sources[0].id == expected
    summary = ada.fetch_sources_save_summary(num_per_page=2)
    assert (summary.total_matches, len(summary.sources)) == (7, 2)
    assert summary.sources[0].obj_id == "FL0"
    for bad in ({"page_number": 0}, {"num_per_page": 501}, {"sort_by": "no"}, {"sort_order": "x"}):
        refused(400, ada.fetch_sources, **bad)


def test_filters_of_the_list(sky):
    ada = sky.client("ada")
    ada.post_source(SourcePost(id="NEAR", ra=10, dec=0, redshift=0.01, alias=["Other name"]))
    ada.post_source(SourcePost(id="FAR", ra=10.05, dec=0, redshift=1.0))
    ada.post_source(SourcePost(id="AWAY", ra=200, dec=50))
    with sky.database.reading() as session:
        idents = {row.name: row.id for row in session.query(Object)}
    sky.point(idents["NEAR"], 60000.0, flux=1000.0)
    sky.point(idents["NEAR"], 60001.0, flux=100.0)
    sky.point(idents["FAR"], 60010.0, flux=10.0)

    def names(**filters):
        return {source.id for source in ada.fetch_sources(**filters).sources}

    assert names(source_id="near") == {"NEAR"}
    assert names(alias="other") == {"NEAR"}
    assert names(ra=10, dec=0, radius=0.01) == {"NEAR"}
    assert names(ra=10, dec=0, radius=0.1) == {"NEAR", "FAR"}
    assert names(min_redshift=0.1) == {"FAR"}
    assert names(max_redshift=0.1) == {"NEAR"}
    assert names(max_latest_magnitude=19) == {"NEAR"}
    assert names(min_latest_magnitude=18, max_latest_magnitude=22) == {"NEAR", "FAR"}
    assert names(max_peak_magnitude=17) == {"NEAR"}
    assert names(number_detections=2) == {"NEAR"}
    assert names(start_date="2023-03-01") == {"FAR"}
    assert names(end_date="2023-03-01") == {"NEAR"}
    assert names(has_spectrum=True) == set()
    assert names(has_no_spectrum=True) == names()
    assert names(unclassified=True) == names()
    assert names(classifications=["RR Lyrae"]) == set()
    assert names(rejected_source_ids=["NEAR", "FAR"]) == {"AWAY"}
    assert names(group_ids=[sky.groups["B"]]) == set()
    assert names(group_ids=[]) == names()
    assert names(saved_by_current_user=True) == names()
    assert names(saved_after="2999-01-01") == set()
    assert names(saved_before="2999-01-01T00:00:00Z") == names()
    assert names(origin="user") == names()
    assert ada.fetch_sources(include_geojson=True).geojson["features"]
    assert ada.fetch_sources(remove_nested=True).sources[0].groups == []
    refused(400, ada.fetch_sources, localization_dateobs="2023-01-01")
    refused(400, ada.fetch_sources, saved_after="yesterday")


def test_statistics_are_those_of_the_points_that_one_sees(sky):
    ident = sky.add("FL1")
    sky.client("ada").post_source_groups(
        SourceGroupsPost(obj_id="FL1", invite_group_ids=[sky.groups["B"]])
    )
    sky.point(ident, 60000.0, flux=100.0)
    sky.point(ident, 60001.0, flux=10.0, group="B", band="sdssr")
    sky.point(ident, 60002.0, flux=-1.0, flux_err_ujy=1.0, limiting_mag=22.1)
    ada = sky.client("ada").fetch_source_phot_stat("FL1")
    assert (ada.num_obs_global, ada.num_det_global) == (2, 1)
    assert (ada.last_detected_mjd, ada.peak_mag_global) == (60000.0, pytest.approx(18.9))
    assert ada.deepest_limit_global == pytest.approx(22.1)
    bob = sky.client("bob").fetch_source_phot_stat("FL1")
    assert (bob.num_obs_global, bob.last_detected_mjd) == (1, 60001.0)
    assert bob.mean_mag_per_filter == {"sdssr": pytest.approx(21.4)}
    root = sky.client("root").fetch_source_phot_stat("FL1")
    assert (root.num_obs_global, root.num_det_global) == (3, 2)
    for call in ("post_source_phot_stat", "update_source_phot_stat", "delete_source_phot_stat"):
        getattr(sky.client("ada"), call)("FL1")
    assert sky.client("ada").fetch_source_phot_stat("FL1").num_obs_global == 2
    page = sky.client("bob").fetch_source("FL1", include_detection_stats=True)
    assert page.photstats[0].num_obs_global == 1
    assert page.last_detected.isoformat() == "2023-02-26T00:00:00"


def test_counts_of_statistics(sky):
    sky.add("BARE")
    sky.point(sky.add("FL1"), 60000.0)
    counts = sky.client("ada").fetch_phot_stats_counts()
    assert (counts.total_with_phot_stats, counts.total_without_phot_stats) == (1, 1)
    assert sky.client("bob").fetch_phot_stats_counts().total_with_phot_stats == 0
    assert sky.client("root").post_phot_stats().total_matches == 0
    refused(403, sky.client("ada").update_phot_stats)


def test_an_object_goes_when_nothing_is_known_of_it(sky):
    ada = sky.client("ada")
    ada.post_source(SourcePost(id="FL1", ra=1, dec=2))
    sky.point(sky.add("FULL"), 60000.0)
    refused(409, ada.delete_obj, "FULL")
    ada.delete_obj("FL1")
    refused(404, ada.delete_obj, "FL1")
    assert ada.fetch_sources().total_matches == 0


def test_points_are_shared(sky):
    ident = sky.add("FL1")
    point = sky.point(ident, 60000.0)
    sky.point(ident, 60001.0)
    ada, bob = sky.client("ada"), sky.client("bob")
    refused(400, bob.post_sharing, [sky.groups["B"]])
    refused(404, bob.post_sharing, [sky.groups["B"]], photometry_ids=[point])
    refused(400, ada.post_sharing, [sky.groups["B"]], photometry_ids=[point])
    refused(403, sky.client("cy").post_sharing, [sky.groups["A"]], photometry_ids=[point])
    sky.client("root").post_sharing([sky.groups["B"]], photometry_ids=[point])
    assert bob.fetch_source("FL1", include_photometry=True).photometry[0].id == point
    assert len(bob.fetch_source("FL1", include_photometry=True).photometry) == 1
    assert bob.fetch_source_phot_stat("FL1").num_obs_global == 1
    refused(404, ada.post_sharing, [sky.groups["A"]], spectrum_ids=[2**62])


def test_tags(sky):
    ada, bob = sky.client("ada"), sky.client("bob")
    ada.post_source(SourcePost(id="FL1", ra=1, dec=2))
    tag = ada.post_obj_tag_option("TDE", color="#3a87ad")
    refused(409, bob.post_obj_tag_option, "TDE")
    refused(400, ada.post_obj_tag_option, "x", color="url(javascript:1)")
    refused(403, sky.client("cy").post_obj_tag_option, "SN")
    assert [each.name for each in bob.fetch_obj_tag_options()] == ["TDE"]
    refused(404, bob.post_obj_tag, "FL1", tag.id)
    made = ada.post_obj_tag("FL1", tag.id)
    assert ada.post_obj_tag("FL1", tag.id).id == made.id
    assert [each.name for each in ada.fetch_obj_tags(obj_id="FL1")] == ["TDE"]
    assert ada.fetch_obj_tags(objtagoption_id=tag.id)[0].obj_id == "FL1"
    assert bob.fetch_obj_tags() == []
    assert [each.name for each in ada.fetch_source("FL1").tags] == ["TDE"]
    ada.update_obj_tag_option(tag.id, "TDE?")
    assert ada.fetch_obj_tag_options()[0].color == "#3a87ad"
    refused(404, bob.delete_obj_tag, made.id)
    ada.delete_obj_tag(made.id)
    assert ada.fetch_source("FL1").tags == []
    ada.delete_obj_tag_option(tag.id)
    refused(404, ada.delete_obj_tag_option, tag.id)


def test_labels_and_what_is_not_built(sky):
    ada = sky.client("ada")
    ada.post_source(SourcePost(id="FL1", ra=1, dec=2))
    ada.post_source_labels("FL1", [sky.groups["A"]])
    ada.delete_source_labels("FL1", [sky.groups["A"]])
    refused(400, ada.post_source_labels, "FL1", [sky.groups["B"]])
    assert ada.fetch_source_color_mag("FL1") == []
    assert ada.fetch_finder_chart_facilities() == {}
    for call in (
        ada.fetch_source_offsets,
        ada.fetch_source_finder,
        ada.fetch_source_finder_json,
        ada.fetch_source_observability,
        ada.fetch_source_tns,
        ada.delete_source_host,
        ada.post_source_mpc_query,
    ):
        refused(404, call, "FL1")


def test_the_portal_tells_of_itself(sky):
    anyone, root = sky.client(None), sky.client("root")
    assert anyone.fetch_sysinfo().gitlog == []
    assert "ab" in anyone.fetch_enum_types()["ALLOWED_MAGSYSTEMS"]
    assert "sdssg" in anyone.fetch_config()["bandpassesWavelengths"]
    refused(401, anyone.fetch_db_stats)
    refused(403, sky.client("ada").fetch_db_stats)
    assert root.fetch_dbinfo().source_table_empty
    sky.client("ada").post_source(SourcePost(id="FL1", ra=1, dec=2, altdata={"dm": 1.0}))
    assert not root.fetch_dbinfo().source_table_empty
    assert root.fetch_db_stats()["Number of objs"] == 1
    assert root.fetch_altdata_info() == {"keys": [{"dm": "number"}]}
    assert root.fetch_annotations_info() == {}
