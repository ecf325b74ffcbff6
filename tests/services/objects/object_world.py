"""Objects, points and viewers, put into a database directly."""

import uuid
from datetime import UTC, datetime, timedelta

from firstlight.models.account import Group, User
from firstlight.models.audience import audience_of
from firstlight.models.notes import Classification, Taxonomy
from firstlight.models.object import Object, SavedObject
from firstlight.models.photometry import Photometry
from firstlight.models.sky_search import place
from firstlight.services.access import Viewer, operator
from firstlight.services.objects.object_summary import summarise

START = datetime(2026, 1, 1, tzinfo=UTC)


class ObjectWorld:
    """Some groups, viewers of each and of the first so many, of everything and of nothing."""

    def __init__(self, database, names="AB"):
        self.database = database
        with database.begin() as session:
            groups = {name: Group(name=f"group {name}") for name in names}
            session.add_all([*groups.values(), user := User(username=f"author of {names}")])
            session.flush()
            self.groups = {name: group.id for name, group in groups.items()}
            tree = Taxonomy(
                name=f"classes of {names}",
                version="1",
                hierarchy={"class": "all"},
                audience_id=audience_of(session),
            )
            session.add(tree)
            session.flush()
            self.author, self.tree = user.id, tree.id
        none, read = frozenset(), frozenset({"read"})

        def viewer(number, *names):
            theirs = frozenset(self.groups[name] for name in names)
            return Viewer(f"user {number}", read, none, none, 1000 + number, theirs)

        chosen = [*names, *(names[:count] for count in range(2, len(names) + 1))]
        self.viewers = {some: viewer(n, *some) for n, some in enumerate(chosen, 1)}
        self.viewers |= {"nobody": Viewer(), "all": operator()}

    def audience(self, session, names):
        return audience_of(session, groups=[self.groups[name] for name in names])

    def add(self, name, seen_by="A", *, ra=10.0, dec=20.0, saved=(), classes=(), number=0, **facts):
        """An object, the groups that see it and those that have saved it, each on some day."""
        with self.database.begin() as session:
            row = Object(
                id=uuid.uuid5(uuid.NAMESPACE_URL, name),
                name=name,
                origin="test",
                audience_id=self.audience(session, seen_by),
                created_at=START + timedelta(days=number),
                **facts,
            )
            place(row, ra, dec)
            session.add(row)
            session.flush()
            days = saved if isinstance(saved, dict) else dict.fromkeys(saved, number)
            for group, day in days.items():
                session.add(
                    SavedObject(
                        object_id=row.id,
                        group_id=self.groups[group],
                        active=True,
                        requested=False,
                        saved_at=START + timedelta(days=day),
                    )
                )
            for each in classes:
                session.add(
                    Classification(
                        object_id=row.id,
                        taxonomy_id=self.tree,
                        classification=each,
                        probability=0.5,
                        author_id=self.author,
                        audience_id=row.audience_id,
                    )
                )
        return row.id

    def points(self, ident, points):
        """Points of a light curve: who sees each, and its columns."""
        with self.database.begin() as session:
            session.add_all(
                Photometry(
                    key=uuid.uuid4(),
                    object_id=ident,
                    audience_id=self.audience(session, seen_by),
                    **columns,
                )
                for seen_by, columns in points
            )
            session.flush()
            summarise(session, [ident])
