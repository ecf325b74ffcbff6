"""What lists of objects rest on, on SQLite and on PostgreSQL."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import column, select, table

from firstlight.models.account import Group, User
from firstlight.models.audience import Audience, audience_of, members_of
from firstlight.models.database import Database
from firstlight.models.object import Object, PhotometrySummary, SavedObject
from firstlight.models.sky_search import place
from firstlight.services.access import Viewer
from firstlight.services.objects.object_list import ObjectList
from firstlight.services.objects.object_parts import Include
from firstlight.services.objects.object_query import ObjectQuery, Order
from firstlight.services.objects.objects import ObjectService
from firstlight.services.objects.saved_objects import SavedObjectService, SavedWhen

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BARE = Include(groups=False, annotations=False, classifications=False, tags=False)


@pytest.fixture
def people(database):
    """A member of each of three groups, and one of all."""
    with database.begin() as session:
        groups = [Group(name=name) for name in "ABC"]
        users = [User(username=name) for name in ("a", "b", "c", "all")]
        session.add_all([*groups, *users])
        session.flush()
        numbers = [group.id for group in groups]
        theirs = [*([number] for number in numbers), numbers]
        none, scopes = frozenset(), frozenset({"read", "upload", "manage_sources"})
        return [
            Viewer(user.username, scopes, none, none, user.id, frozenset(mine))
            for user, mine in zip(users, theirs, strict=True)
        ]


def test_summaries_of_an_older_database_learn_who_sees_them_whole(url):
    opened = Database(url)
    opened.upgrade("0003")
    pieces = {"pieces": {"G": []}}
    with opened.begin() as session:
        audience, other = audience_of(session), audience_of(session, sites=["sro"])
        wanted = {}
        for name, audiences in (("one", [other]), ("several", [audience, other]), ("none", [])):
            ident = uuid.uuid4()
            wanted[ident] = audiences[0] if len(audiences) == 1 else None
            row = Object(id=ident, name=name, origin="test", audience_id=audience)
            place(row, 1.0, 2.0)
            session.add(row)
            session.flush()
            values = {"object_id": ident, "n_points": 1, "n_detections": 1}
            values |= {"filters": {"audiences": audiences, **pieces}}
            values |= {"created_at": NOW, "modified_at": NOW}
            known = PhotometrySummary.__table__.c
            columns = [column(each, known[each].type) for each in values]
            session.execute(table("photometry_summaries", *columns).insert().values(values))
    opened.upgrade()
    with opened.reading() as session:
        found = session.execute(
            select(PhotometrySummary.object_id, PhotometrySummary.only_audience_id)
        )
        assert {row.object_id: row.only_audience_id for row in found} == wanted
    opened.dispose()


def save(database, name, entries):
    """An object that everybody here sees, and its entries: group, days, active."""
    with database.begin() as session:
        everybody = audience_of(session, groups=[1, 2, 3])
        row = Object(id=uuid.uuid4(), name=name, origin="test", audience_id=everybody)
        place(row, 10.0, 20.0)
        session.add(row)
        session.flush()
        session.add_all(
            SavedObject(
                object_id=row.id,
                group_id=group,
                active=active,
                requested=False,
                saved_at=NOW + timedelta(days=day),
            )
            for group, day, active in entries
        )


@pytest.mark.parametrize("descending", [True, False])
def test_an_object_in_several_lists_is_told_once_by_its_latest_entry(database, people, descending):
    save(database, "early then late", [(1, 1, True), (2, 9, True)])
    save(database, "between", [(1, 5, True)])
    save(database, "taken off late", [(1, 3, True), (2, 10, False)])
    save(database, "at one time", [(1, 4, True), (2, 4, True), (3, 4, True)])
    save(database, "only asked", [(1, 7, False)])
    save(database, "theirs", [(3, 8, True)])
    lists, query = ObjectList(database=database), ObjectQuery(saved=SavedWhen())
    of_a = ["early then late", "taken off late", "at one time", "between"]
    of_all = ["taken off late", "at one time", "between", "theirs", "early then late"]
    only_2_and_3 = ["at one time", "theirs", "early then late"]
    chosen = ObjectQuery(saved=SavedWhen(groups=(2, 3)))
    for viewer, asked, wanted in (
        (people[0], query, of_a),
        (people[3], query, of_all),
        (people[3], chosen, only_2_and_3),
        (people[0], chosen, []),
    ):
        order = Order("saved_at", descending=descending)
        names = wanted[::-1] if descending else wanted
        rows = lists.search(viewer, asked, order).rows
        assert [row.name for row in rows] == names
        numbered = []
        for page in range(1, 4):
            found, total = lists.page(viewer, asked, order, BARE, page=page, per_page=2)
            numbered += [row["id"] for row in found]
            assert total == len(names)
        assert numbered == names


def test_objects_in_several_lists_are_counted_once_and_no_further_than_asked(database, people):
    for n in range(4):
        save(database, f"object {n}", [(1, n, True), (2, n + 5, True)])
    lists, query = ObjectList(database=database), ObjectQuery(saved=SavedWhen())
    order = Order("saved_at")
    for most, wanted in ((1, 1), (3, 3), (4, 4), (9, 4)):
        page = lists.search(people[3], query, order, limit=1, count_to=most)
        assert page.total == wanted
        assert lists.count(people[3], query, most) == wanted


def test_names_are_sought_in_any_case(database, people):
    everyone, lists = people[3], ObjectList(database=database)
    with database.begin() as session:
        for name, others in (("Ärger ABC", []), ("ñandú xyz", []), ("third", ["Mira CETI"])):
            audience = audience_of(session, groups=[1])
            row = Object(
                id=uuid.uuid4(), name=name, aliases=others, origin="test", audience_id=audience
            )
            place(row, 1.0, 2.0)
            session.add(row)
    for sought, wanted in (
        ("aBc", ["Ärger ABC"]),
        ("ÑANDÚ", ["ñandú xyz"]),
        ("mira c", ["third"]),
        ("r", ["Ärger ABC", "third"]),
        ("_", []),
        ("rgér", []),
    ):
        found = lists.search(everyone, ObjectQuery(name=sought)).rows
        assert sorted(row.name for row in found) == sorted(wanted)


def test_members_see_whatever_is_in_the_list_of_their_group(database, people):
    """Lists of saved objects rest on this: see `SavedObject`."""
    a, b, c, everyone = people
    objects = ObjectService(database=database)
    saved = SavedObjectService(database=database)
    here = {"ra": 10.0, "dec": 20.0}
    objects.post(a, {"id": "mine", **here, "group_ids": [1]})
    objects.post(everyone, {"id": "ours", **here, "group_ids": [1, 2]})
    saved.change(a, "mine", invite=[2])
    saved.decide(b, "mine", 2, active=True, requested=False)
    saved.change(b, "ours", invite=[3])
    saved.decide(c, "ours", 3, active=False, requested=True)
    saved.take_off(a, "ours", 1)
    saved.change(everyone, "ours", invite=[1], unsave=[2])
    with database.reading() as session:
        entries = session.execute(
            select(SavedObject.group_id, SavedObject.active, SavedObject.requested, Object)
            .join(Object, Object.id == SavedObject.object_id)
        ).all()  # fmt: skip
        assert len(entries) == 5
        for group, active, requested, thing in entries:
            if active or requested:
                assert group in members_of(session, thing.audience_id)[0]
        seen_by = {
            thing.name: session.get_one(Audience, thing.audience_id).key for *_, thing in entries
        }
        assert seen_by == {"mine": "g1,g2", "ours": "g1,g2,g3"}


def test_an_object_that_is_not_seen_is_not_shown_whatever_the_lists_say(database, people):
    save(database, "hidden", [(1, 1, True)])
    with database.begin() as session:
        session.scalars(select(Object)).one().audience_id = audience_of(session)
    lists, order = ObjectList(database=database), Order("saved_at")
    query = ObjectQuery(saved=SavedWhen())
    assert lists.search(people[0], query, order).rows == ()
    assert lists.page(people[0], query, order, BARE, page=1, per_page=5)[0] == []
