import base64
from dataclasses import replace

import pytest
from skyportal_py import SkyPortalError

from firstlight.models.account import Group
from firstlight.models.audience import AudienceGroup, audience_of
from firstlight.models.event import Event
from firstlight.models.object import Object


def status(call, *args, **options):
    with pytest.raises(SkyPortalError) as fault:
        call(*args, **options)
    return fault.value.status_code


def test_the_client_comments(either):
    ada = either.client("ada")
    made = ada.post_comment("SHARED", "looks real", group_ids=[either.groups["A"]])
    assert made.message is None
    (found,) = ada.fetch_comments("SHARED")
    assert (found.id, found.text, found.obj_id) == (made.comment_id, "looks real", "SHARED")
    assert found.author["username"] == "ada"
    assert [group.id for group in found.groups] == [either.groups["A"]]
    again = ada.post_comment("SHARED", "looks real", group_ids=[either.groups["A"]])
    assert again.comment_id == made.comment_id
    assert again.message
    ada.update_comment("SHARED", made.comment_id, "edited")
    assert ada.fetch_comment("SHARED", made.comment_id).text == "edited"
    ada.delete_comment("SHARED", made.comment_id)
    assert ada.fetch_comments("SHARED") == []
    assert either.events() == [
        ("comment", change, "SHARED") for change in ("added", "changed", "removed")
    ]


def test_a_file_is_attached_and_only_ever_saved(either):
    ada = either.client("ada")
    page = b"<script>alert(1)</script>"
    made = ada.post_comment_with_attachment(
        "OF_A", "look", "../../evil.html", base64.b64encode(page).decode()
    )
    number = made.comment_id
    assert ada.fetch_comment("OF_A", number).attachment_name == "evil.html"
    assert ada.fetch_comment_attachment("OF_A", number) == page
    assert ada.fetch_comment_attachment_pdf("OF_A", number) == page
    assert ada.fetch_comment_attachment_text("OF_A", number).attachment == page.decode()
    answer = ada.get(f"/api/sources/OF_A/comments/{number}/attachment?download=&preview=true")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    (entry,) = either.store.list("portal")
    ada.update_comment("OF_A", number, attachment_name="b.txt", attachment_body="data:;base64,aGk=")
    assert ada.fetch_comment_attachment("OF_A", number) == b"hi"
    assert not either.store.exists(entry.key)
    ada.delete_comment("OF_A", number)
    assert list(either.store.list("portal")) == [], "nothing is left of it"


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("a", "not base64!", 400),
        ("", "aGk=", 400),
        ("a\x00b", "aGk=", 400),
        ("a", "ü", 400),
        ("a", "A" * 4000, 400),
    ],
)
def test_bad_attachments_are_refused_and_not_kept(world, name, body, expected):
    ada = world.client("ada")
    assert status(ada.post_comment_with_attachment, "OF_A", "t", name, body) == expected
    assert status(ada.post_comment_with_attachment, "NONE", "t", "a", "aGk=") == 404
    assert list(world.store.list("portal")) == []
    assert ada.fetch_comments("OF_A") == []


def test_who_sees_a_comment(world):
    ada, bob, cy, root = map(world.client, ("ada", "bob", "cy", "root"))
    plain = ada.post_comment("SHARED", "to all who see it").comment_id
    ours = ada.post_comment("SHARED", "to A", group_ids=[world.groups["A"]]).comment_id
    hidden = ada.post_comment("OF_A", "on what B must not know").comment_id
    assert {found.id for found in bob.fetch_comments("SHARED")} == {plain}
    assert {found.id for found in cy.fetch_comments("SHARED")} == {plain, ours}
    assert {found.id for found in root.fetch_comments("SHARED")} == {plain, ours}
    assert status(bob.fetch_comment, "SHARED", ours) == 404
    assert status(bob.fetch_comments, "OF_A") == 404
    assert status(bob.fetch_comment, "SHARED", hidden) == 404
    assert status(world.client().fetch_comments, "SHARED") == 404
    assert status(world.client("nobody").fetch_comments, "PUBLIC") == 401
    assert world.client().fetch_comments("PUBLIC") == []


def test_who_writes(world):
    ada, bob, cy, root = map(world.client, ("ada", "bob", "cy", "root"))
    number = ada.post_comment("SHARED", "mine").comment_id
    assert status(bob.update_comment, "SHARED", number, "yours") == 403
    assert status(bob.delete_comment, "SHARED", number) == 403
    assert status(cy.post_comment, "SHARED", "reader") == 403
    assert status(world.client().post_comment, "PUBLIC", "stranger") == 401
    assert status(world.client("machine").post_comment, "PUBLIC", "nobody's") == 400
    assert status(ada.post_comment, "SHARED", "to B", group_ids=[world.groups["B"]]) == 400
    assert status(ada.post_comment, "SHARED", "to none", group_ids=[10**12]) == 400
    assert root.fetch_comment("SHARED", number).text == "mine"
    root.delete_comment("SHARED", number)


def test_a_comment_for_others_tells_them_nothing_of_a_hidden_object(world):
    with world.database.reading() as session:
        root = world.client("root")
        root.post_comment("OF_A", "for B", group_ids=[world.groups["B"]])
        audience = session.query(Event).one().audience_id
        told = session.query(AudienceGroup).filter_by(audience_id=audience).all()
        assert told == []


def test_comments_are_found_by_their_text(world):
    ada = world.client("ada")
    for number in range(30):
        ada.post_comment("PUBLIC", f"Number {number} 100% done")
    assert len(ada.fetch_comments("PUBLIC")) == 30, "the client's page is of no effect"
    found = ada.fetch_comments("PUBLIC", text="number", page_number=2, num_per_page=20)
    assert len(found) == 10
    assert len(ada.fetch_comments("PUBLIC", text="0% D", num_per_page=100)) == 30
    assert ada.fetch_comments("PUBLIC", text="_umber") == []
    assert ada.fetch_comments("PUBLIC", channel="quick") == []


@pytest.mark.parametrize("text", ["", "  ", "a\x00b", "x" * 20_001])
def test_texts_that_are_none(world, text):
    assert status(world.client("ada").post_comment, "PUBLIC", text) == 400


ODD = [
    "/api/sources/PUBLIC/comments/0",
    "/api/sources/PUBLIC/comments/99999999999999999999",
    "/api/sources/PUBLIC/comments/-1",
    "/api/sources/%00/comments",
    "/api/spectra/99999999999999999999/comments",
    "/api/spectra/x/comments",
    "/api/gcn_event/7/comments",
    "/api/sources/PUBLIC/comments?pageNumber=99999999999999999999",
    "/api/sources/PUBLIC/comments?text=%00",
    "/api/sources/PUBLIC/comments?channel=%00",
    "/api/sources/PUBLIC/comments/1/attachment",
]


def test_odd_addresses_get_an_answer(either):
    ada = either.client("ada")
    for path in ODD:
        answer = ada.get(path)
        assert answer.status_code in {400, 404}, path
        assert answer.json()["data"]["code"]


def test_attachments_are_counted_for_who_may_admin(world):
    world.client("ada").post_comment_with_attachment("OF_A", "t", "a.txt", "aGk=")
    root = world.client("root")
    counts = root.fetch_comment_attachment_counts()
    assert counts.total_without_attachment_bytes == 1
    assert root.post_comment_attachment_batch().total_matches == 0
    assert status(world.client("ada").fetch_comment_attachment_counts) == 403


def test_groups_of_one_are_named_to_that_one(world):
    with world.database.begin() as session:
        own = Group(name="ada", single_user_group=True)
        secret = Group(name="secret", private=True)
        session.add_all([own, secret])
        session.flush()
        groups = [own.id, secret.id, world.groups["A"]]
        thing = session.query(Object).filter_by(name="OF_A").one()
        thing.audience_id = audience_of(session, groups=groups)
    world.viewers["ada"] = replace(world.viewers["ada"], groups=frozenset({own.id, groups[2]}))
    world.client("ada").post_comment("OF_A", "x")

    def named(who):
        (found,) = world.client(who).fetch_comments("OF_A")
        return [group.name for group in found.groups]

    assert named("cy") == ["group A"]
    assert named("ada") == ["group A", "ada"]
    assert named("root") == ["group A", "ada", "secret"]
