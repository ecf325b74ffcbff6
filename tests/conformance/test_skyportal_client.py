"""SkyPortal's own client against a server as people run it: the life of each noun, in order."""

import base64
import io
import zlib
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import skyportal_py
from PIL import Image
from skyportal_py import SkyPortalError
from skyportal_py.classifications import ClassificationPost, ClassificationUpdate
from skyportal_py.groups import GroupPost
from skyportal_py.instruments import InstrumentPost, InstrumentPut
from skyportal_py.invitations import InvitationPost
from skyportal_py.photometry import PhotometryPost, PhotometryUpdate
from skyportal_py.profile import ProfilePatch
from skyportal_py.source_groups import SourceGroupsPost
from skyportal_py.sources import SourcePost
from skyportal_py.spectra import (
    SpectrumAsciiParse,
    SpectrumAsciiPost,
    SpectrumPost,
    SpectrumUpdate,
)
from skyportal_py.taxonomies import TaxonomyPost, TaxonomyPut
from skyportal_py.telescopes import TelescopePost, TelescopePut
from skyportal_py.thumbnails import ThumbnailPost
from skyportal_py.users import UserPost

from fixtures_postgres import new_database
from portal_world import make_portal, on_a_port

HIERARCHY = {"class": "Time-domain Source", "subclasses": [{"class": "SN Ia"}]}


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def server(request, tmp_path_factory):
    """Root, and a member of one group with the permissions of a full user; a running server."""
    folder = tmp_path_factory.mktemp("portal") / "workspace"
    with ExitStack() as stack:
        url = None
        if request.param == "postgres":
            running = request.getfixturevalue("postgres_server")
            url = stack.enter_context(new_database(running))
        yield from serving(make_portal(folder, url))


def serving(portal):
    portal.add_user("root", roles=["Super admin"], scopes=["admin"])
    portal.add_user("ada", roles=["Full user"], scopes=["upload", "comment"])
    with ExitStack() as stack:
        address = stack.enter_context(on_a_port(portal.app))
        clients = [
            skyportal_py.create_client(address, token)
            for token in (portal.tokens["root"], portal.tokens["ada"], None)
        ]
        root, ada, stranger = (stack.enter_context(client) for client in clients)
        group = root.post_group(GroupPost(name="observers"))
        root.post_group_user(group.id, portal.users["ada"])
        yield SimpleNamespace(
            address=address,
            root=root,
            ada=ada,
            stranger=stranger,
            group=group.id,
            portal=portal,
        )
    portal.factory.database.dispose()


@pytest.fixture(scope="module")
def camera(server):
    telescope = server.root.post_telescope(
        TelescopePost(
            name="Palomar 1.5m", nickname="P60", diameter=1.5, lat=33.36, lon=-116.8, elevation=1870
        )
    )
    made = server.root.post_instrument(
        InstrumentPost(
            name="ZTF",
            type="imager",
            telescope_id=telescope.id,
            band="optical",
            filters=["ztfg", "ztfr"],
        )
    )
    return SimpleNamespace(telescope=telescope.id, instrument=made.id)


@pytest.fixture
def source(server, request):
    """A new source, saved to the group of observers."""
    number = zlib.crc32(request.node.name.encode())
    name = f"FL_{number}"
    posted = SourcePost(id=name, ra=number % 3600 * 0.1, dec=-3.25, group_ids=[server.group])
    assert server.root.post_source(posted).id == name
    return name


def status(call, *args, **options):
    with pytest.raises(SkyPortalError) as fault:
        call(*args, **options)
    return fault.value.status_code


def test_system(server):
    root = server.root
    assert root.fetch_sysinfo() is not None
    assert root.fetch_dbinfo() is not None
    assert "allowedSpectrumTypes" in root.fetch_config()
    assert "ztfg" in root.fetch_enum_types()["ALLOWED_BANDPASSES"]
    assert root.fetch_db_stats()["Number of groups"] >= 2
    assert root.fetch_altdata_info() is not None
    assert root.fetch_annotations_info() is not None


def test_profile_and_users(server):
    root = server.root
    assert root.fetch_profile().username == "root"
    root.update_profile(ProfilePatch(first_name="Ada"))
    assert root.fetch_profile().first_name == "Ada"
    assert {user.username for user in root.fetch_users(num_per_page=10).users} >= {"root", "ada"}
    made = root.post_user(
        UserPost(username="bobby", roles=["Full user"], group_ids_and_admin=[[server.group, False]])
    )
    assert root.fetch_user(made.id).username == "bobby"
    root.update_user(made.id, expiration_date="2036-01-01")
    assert root.fetch_user(made.id).expiration_date.year == 2036
    root.delete_user(made.id)
    assert status(root.fetch_user, made.id) == 404


def test_acls_and_roles(server):
    root, ada = server.root, server.portal.users["ada"]
    assert {"Comment", "Upload data", "System admin"} <= set(root.fetch_acls())
    root.post_user_acl(ada, ["Manage sources"])
    assert "Manage sources" in root.fetch_user(ada).permissions
    root.delete_user_acl(ada, "Manage sources")
    assert "Manage sources" not in root.fetch_user(ada).permissions
    assert {"Full user", "View only"} <= {role.id for role in root.fetch_roles()}
    root.post_user_role(ada, ["Group admin"])
    assert "Group admin" in root.fetch_user(ada).roles
    root.delete_user_role(ada, "Group admin")
    assert "Group admin" not in root.fetch_user(ada).roles


def test_tokens(server):
    root = server.root
    secret = root.post_token("t1", ["Comment"]).token_id
    with skyportal_py.create_client(server.address, secret) as mine:
        life_of_a_token(root, mine)


def life_of_a_token(root, mine):
    kept = [token for token in root.fetch_tokens() if token.name == "t1"]
    assert len(kept) == 1
    assert mine.fetch_profile().username == "root"
    assert status(mine.post_group, GroupPost(name="never")) == 403
    assert root.fetch_token(kept[0].id).name == "t1"
    root.update_token(kept[0].id, name="t2", acls=["Comment", "Annotate"])
    assert {acl["id"] for acl in root.fetch_token(kept[0].id).acls} == {"Comment", "Annotate"}
    root.delete_token(kept[0].id)
    assert status(mine.fetch_profile) == 401


def test_groups(server):
    root, ada = server.root, server.portal.users["ada"]
    made = root.post_group(GroupPost(name="second"))
    assert "second" in {group.name for group in root.fetch_groups().all_groups}
    assert [group.id for group in root.fetch_groups_by_name("second")] == [made.id]
    root.update_group(made.id, "second", description="d", private=True)
    assert root.fetch_group(made.id).description == "d"
    assert root.fetch_public_group().id
    root.post_group_user(made.id, ada, admin=True)
    assert ada in {user.id for user in root.fetch_group(made.id).users}
    root.update_group_user(made.id, ada, can_save=False)
    root.delete_group_user(made.id, ada)
    assert ada not in {user.id for user in root.fetch_group(made.id).users}
    root.post_group_users_from_groups(made.id, [server.group])
    assert ada in {user.id for user in root.fetch_group(made.id).users}
    root.delete_group(made.id)
    assert status(root.fetch_group, made.id) == 404


def test_invitations(server):
    root = server.root
    wish = InvitationPost(
        user_email="eve@example.org",
        role="Full user",
        group_ids=[server.group],
        group_admin=[False],
        stream_ids=[],
    )
    root.post_invitation(wish)
    found = root.fetch_invitations()
    (one,) = [each for each in found.invitations if each.user_email == "eve@example.org"]
    root.delete_invitation(one.id)
    assert one.id not in {each.id for each in root.fetch_invitations().invitations}


def test_streams_and_filters_are_empty(server):
    assert server.root.fetch_streams() == []
    assert server.root.fetch_filters() == []


def test_telescopes_and_instruments(server, camera):
    root = server.root
    (found,) = root.fetch_telescopes(name="Palomar 1.5m")
    assert found.id == camera.telescope
    root.update_telescope(camera.telescope, TelescopePut(robotic=False))
    assert root.fetch_telescope(camera.telescope).robotic is False
    assert [each.id for each in root.fetch_instruments(name="ZTF")] == [camera.instrument]
    assert root.fetch_instrument(camera.instrument).filters == ["ztfg", "ztfr"]
    root.update_instrument(camera.instrument, InstrumentPut(band="infrared"))
    assert root.fetch_instrument(camera.instrument).band == "infrared"
    other = root.post_telescope(
        TelescopePost(name="x", nickname="x", diameter=1, lat=0, lon=0, elevation=0)
    )
    root.delete_telescope(other.id)
    assert status(root.fetch_telescope, other.id) == 404


def test_sources(server, source):
    root = server.root
    assert root.source_exists(source)
    assert not root.source_exists("no such source")
    assert root.fetch_source_exists(source).source_exists
    full = root.fetch_source(
        source,
        include_thumbnails=True,
        include_photometry=True,
        include_comments=True,
        include_photometry_exists=True,
        include_spectrum_exists=True,
        include_comment_exists=True,
        include_period_exists=True,
    )
    assert (full.id, full.dec) == (source, -3.25)
    assert source in {
        each.id for each in root.fetch_sources(num_per_page=100, group_ids=[server.group]).sources
    }
    assert root.fetch_sources_save_summary(group_ids=[server.group]).total_matches >= 1
    root.update_source(source, redshift=0.1)
    assert root.fetch_source(source).redshift == 0.1
    assert [group.id for group in root.fetch_source_saved_groups(source)] == [server.group]
    other = root.post_group(GroupPost(name=f"for {source}")).id
    root.post_source_groups(SourceGroupsPost(obj_id=source, invite_group_ids=[other]))
    root.update_source_group(source, other, active=True, requested=False)
    assert other in {group.id for group in root.fetch_source_saved_groups(source)}
    root.post_source_labels(source, [server.group])
    root.delete_source_labels(source, [server.group])
    root.fetch_source_color_mag(source)
    root.fetch_source_phot_stat(source)
    assert root.fetch_obj_position(source).dec == pytest.approx(-3.25)
    root.delete_source(source, server.group)
    root.delete_source(source, other)


def test_objects_are_removed(server, source):
    server.root.delete_source(source, server.group)
    server.root.delete_obj(source)
    assert not server.root.source_exists(source)


def test_photometry(server, source, camera):
    root = server.root
    made = root.post_photometry(
        PhotometryPost(
            obj_id=source,
            instrument_id=camera.instrument,
            filter=["ztfg", "ztfg"],
            mjd=[60000.1, 60001.1],
            mag=[18.5, None],
            magerr=[0.05, None],
            limiting_mag=[20.1, 20.4],
            magsys="ab",
            group_ids="all",
        )
    )
    again = root.upsert_photometry(
        PhotometryPost(
            obj_id=source,
            instrument_id=camera.instrument,
            filter="ztfg",
            mjd=60002.1,
            flux=144.54,
            fluxerr=6.66,
            zp=23.9,
            magsys="ab",
        )
    )
    assert len(set(made.ids) | set(again.ids)) == 3
    points = root.fetch_photometry(source)
    assert [point.mjd for point in points] == [60000.1, 60001.1, 60002.1]
    assert points[0].mag == pytest.approx(18.5)
    assert points[1].mag is None
    assert points[1].limiting_mag == pytest.approx(20.4)
    assert points[2].mag == pytest.approx(18.5, abs=0.01)
    fluxes = root.fetch_photometry(
        source,
        format="flux",
        magsys="vega",
        include_owner_info=True,
        include_stream_info=True,
        include_annotation_info=True,
    )
    assert {point.magsys for point in fluxes} == {"vega"}
    assert len(root.fetch_photometry(source, format="plot")) == 3
    assert root.fetch_photometry_point(made.ids[0]).id == made.ids[0]
    root.update_photometry(made.ids[0], PhotometryUpdate(mag=18.6, magerr=0.05))
    assert root.fetch_photometry_point(made.ids[0]).mag == pytest.approx(18.6)
    found = root.fetch_photometry_range(
        instrument_ids=[camera.instrument], min_date="2023-01-01T00:00:00"
    )
    assert set(made.ids) <= {point.id for point in found}
    root.post_sharing([server.group], photometry_ids=[made.ids[0]])
    root.delete_photometry(made.ids[0])
    assert "1" in root.bulk_delete_photometry(made.upload_id)
    assert "1" in root.delete_source_photometry(source)
    assert root.fetch_photometry(source) == []


def test_ten_thousand_rows_at_once(server, source, camera):
    n = 10_000
    made = server.root.post_photometry(
        PhotometryPost(
            obj_id=source,
            instrument_id=camera.instrument,
            filter="ztfr",
            mjd=[59000.0 + 0.001 * i for i in range(n)],
            flux=[100.0 + 0.01 * i for i in range(n)],
            fluxerr=1.0,
            zp=23.9,
            magsys="ab",
            group_ids=[server.group],
        )
    )
    assert len(set(made.ids)) == n
    assert len(server.ada.fetch_photometry(source)) == n
    assert str(n) in server.root.bulk_delete_photometry(made.upload_id)


def test_spectra(server, source, camera):
    root = server.root
    made = root.post_spectrum(
        SpectrumPost(
            obj_id=source,
            instrument_id=camera.instrument,
            observed_at="2026-08-20T03:04:05",
            wavelengths=[4000, 4001],
            fluxes=[1, 1.1],
            group_ids="all",
        )
    )
    assert root.fetch_spectrum(made.id).wavelengths == [4000.0, 4001.0]
    assert [each.id for each in root.fetch_spectra(source)] == [made.id]
    assert len(root.fetch_spectra_query(minimal_payload=True, obj_id=source)) == 1
    in_range = root.fetch_spectra_range(
        instrument_ids=[camera.instrument], min_date="2026-01-01T00:00:00"
    )
    assert made.id in {each.id for each in in_range}
    assert root.post_spectra_bulk(obj_ids=[source]).spectra
    text = "4000 1\n4001 1.1"
    assert root.parse_spectrum_ascii(SpectrumAsciiParse(ascii=text)).fluxes == [1.0, 1.1]
    second = root.post_spectrum_ascii(
        SpectrumAsciiPost(
            ascii=text,
            obj_id=source,
            instrument_id=camera.instrument,
            observed_at="2026-08-20T03:04:05",
            filename="a.txt",
        )
    )
    root.update_spectrum(second.id, SpectrumUpdate(label="x"))
    assert root.fetch_spectrum(second.id).label == "x"
    comment = root.post_comment(made.id, "spec", resource_type="spectra").comment_id
    assert [each.id for each in root.fetch_comments(made.id, resource_type="spectra")] == [comment]
    root.delete_spectrum(made.id)
    assert status(root.fetch_spectrum, made.id) == 404


def test_comments(server, source):
    root = server.root
    first = root.post_comment(source, "looks real", group_ids=[server.group]).comment_id
    assert [each.text for each in root.fetch_comments(source)] == ["looks real"]
    assert root.fetch_comment(source, first).obj_id == source
    root.update_comment(source, first, "edited")
    assert root.fetch_comment(source, first).text == "edited"
    body = base64.b64encode(b"hi").decode()
    second = root.post_comment_with_attachment(source, "t", "a.txt", body).comment_id
    assert root.fetch_comment_attachment(source, second) == b"hi"
    assert root.fetch_comment_attachment(source, second, preview=True) == b"hi"
    assert root.fetch_comment_attachment_text(source, second).attachment == "hi"
    assert root.fetch_comment_attachment_counts()
    root.delete_comment(source, second)
    assert [each.id for each in root.fetch_comments(source)] == [first]


def test_annotations(server, source):
    root = server.root
    made = root.post_annotation(source, "firstlight", {"period": 1.234}).annotation_id
    assert [each.id for each in root.fetch_annotations(source)] == [made]
    root.update_annotation(source, made, {"period": 1.3}, origin="firstlight")
    assert root.fetch_annotation(source, made).data == {"period": 1.3}
    root.delete_annotation(source, made)
    assert root.fetch_annotations(source) == []


def test_taxonomies_and_classifications(server, source):
    root = server.root
    taxonomy = root.post_taxonomy(
        TaxonomyPost(name="Sitewide Taxonomy", version="v1", hierarchy=HIERARCHY)
    ).taxonomy_id
    assert taxonomy in {each.id for each in root.fetch_taxonomies()}
    root.update_taxonomy(taxonomy, TaxonomyPut(provenance="p", is_latest=True))
    assert root.fetch_taxonomy(taxonomy).provenance == "p"
    new = ClassificationPost(
        obj_id=source, classification="SN Ia", taxonomy_id=taxonomy, probability=0.9
    )
    made = root.post_classification(new).classification_id
    assert len(root.post_classifications([new]).classification_ids) == 1
    assert made in {each.id for each in root.fetch_classifications(source)}
    assert root.fetch_classification(made, include_taxonomy=True).taxonomy.id == taxonomy
    assert root.fetch_classifications_query().total_matches >= 1
    root.update_classification(made, ClassificationUpdate(probability=0.8))
    assert root.fetch_classification(made).probability == 0.8
    root.post_classification_vote(made, 1)
    root.delete_classification_vote(made)
    assert source in root.fetch_sources_by_classification()
    root.delete_classification(made)
    root.delete_source_classifications(source)
    assert root.fetch_classifications(source) == []
    root.delete_taxonomy(taxonomy)


def test_thumbnails(server, source):
    root = server.root
    picture = io.BytesIO()
    Image.new("L", (40, 40), 90).save(picture, "PNG")
    data = base64.b64encode(picture.getvalue()).decode()
    made = root.post_thumbnail(ThumbnailPost(obj_id=source, data=data, ttype="new"))
    assert root.fetch_thumbnail(made.id).type == "new"
    root.update_thumbnail(made.id, is_grayscale=True)
    assert root.fetch_thumbnail_paths(types=["new", "ref"]) is not None
    shown = root.fetch_source(source, include_thumbnails=True).thumbnails
    assert made.id in {each.id for each in shown}
    root.delete_thumbnail(made.id)
    assert status(root.fetch_thumbnail, made.id) == 404


def test_tags(server, source):
    root = server.root
    answer = root.request("POST", "/api/objtagoption", json={"name": "TDE", "color": "#3a87ad"})
    assert answer.status_code < 300, answer.text
    (option,) = [each for each in root.fetch_obj_tag_options() if each.name == "TDE"]
    root.post_obj_tag(source, option.id)
    assert [each.name for each in root.fetch_obj_tags(obj_id=source)] == ["TDE"]


def test_a_member_sees_what_is_shared_and_a_stranger_nothing(server, source, camera):
    root, ada, stranger = server.root, server.ada, server.stranger
    assert ada.fetch_source(source).id == source
    assert status(stranger.fetch_source, source) in {401, 404}
    hidden = SourcePost(id=f"{source}_hidden", ra=1.0, dec=80.0)
    own = root.post_group(GroupPost(name=f"own {source}")).id
    root.post_source(hidden.model_copy(update={"group_ids": [own]}))
    assert status(ada.fetch_source, hidden.id) == 404
    assert not ada.source_exists(hidden.id)
    assert ada.post_comment(source, "mine").comment_id
    assert status(ada.delete_obj, source) in {400, 403}


def test_faults_reach_people_in_words(server):
    with skyportal_py.create_client(server.address, "wrong") as wrong:
        assert status(wrong.fetch_profile) == 401
    for call, code in (
        (server.stranger.fetch_profile, 401),
        (lambda: server.root.fetch_source("nothing"), 404),
        (lambda: server.root.fetch_group(10**6), 404),
        (server.root.fetch_gcn_events, 404),
    ):
        with pytest.raises(SkyPortalError) as fault:
            call()
        assert fault.value.status_code == code
        assert "non-JSON" not in str(fault.value)
