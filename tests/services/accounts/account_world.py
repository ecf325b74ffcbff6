"""The services of accounts, with a clock that is set by hand."""

import datetime as dt

from argon2 import PasswordHasher
from sqlalchemy import select

from firstlight.models.base import Base
from firstlight.services.access import operator
from firstlight.services.accounts.admission import AdmissionService
from firstlight.services.accounts.groups import GroupService
from firstlight.services.accounts.invitations import InvitationService
from firstlight.services.accounts.passwords import Passwords
from firstlight.services.accounts.settings import AccountSettings
from firstlight.services.accounts.sign_in import SignInService
from firstlight.services.accounts.tokens import AccessService
from firstlight.services.accounts.user_tokens import UserTokenService
from firstlight.services.accounts.users import NewUser, UserService
from firstlight.services.web_settings import WebSettings

PASSWORD = "a long password"  # noqa: S105, of nobody


class World:
    """The services of accounts, and people made with them."""

    def __init__(self, database, **settings):
        self.database = database
        self.now = dt.datetime(2026, 8, 24, 20, tzinfo=dt.UTC)
        self.operator = operator()
        limits = AccountSettings(**settings)
        passwords = Passwords(limits.password_length, hasher=PasswordHasher(1, 8, 1))
        shared = {"database": database, "clock": lambda: self.now}
        hashing = {**shared, "passwords": passwords}
        self.access = AccessService(**shared, settings=WebSettings(public_sites=("open",)))
        self.users = UserService(**hashing)
        self.groups = GroupService(**shared)
        self.admissions = AdmissionService(database=database)
        self.invitations = InvitationService(**hashing, settings=limits)
        self.tokens = UserTokenService(**shared)
        self.sign_in = SignInService(**hashing, access=self.access, settings=limits)

    def later(self, **how_long):
        self.now += dt.timedelta(**how_long)

    def add(self, username, *roles, acls=(), password=None, groups=()):
        """Make an account; returns its number."""
        new = NewUser(
            username, roles=list(roles) or ["Full user"], password=password, groups=groups
        )
        number = self.users.create(self.operator, new)
        if acls:
            self.users.grant(self.operator, number, acls=acls)
        return number

    def viewer(self, user_id):
        """The account as it is when it has signed in now."""
        return self.sign_in.identify_session(self.sign_in.open(user_id).secret)

    def person(self, username, *roles, **options):
        """Make an account; returns what it may do."""
        return self.viewer(self.add(username, *roles, **options))

    def kept(self):
        """All that the tables hold, as text."""
        with self.database.reading() as session:
            return "\n".join(
                str(tuple(row))
                for table in Base.metadata.sorted_tables
                for row in session.execute(select(table))
            )
