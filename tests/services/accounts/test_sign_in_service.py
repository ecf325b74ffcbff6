import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from account_world import World
from sqlalchemy import select

from firstlight.models.account import FailedAttempt, LoginSession
from firstlight.services.access import Forbidden, TokenInvalid
from firstlight.services.accounts.attempts import AttemptLimiter, TooManyAttempts
from firstlight.services.accounts.sign_in import SignInFailed

PASSWORD = "a long password"  # noqa: S105, of nobody


def test_a_session_is_kept_as_a_hash_and_ends(world):
    world.add("ada", password=PASSWORD)
    opened = world.sign_in.sign_in(" ADA", PASSWORD, "here")
    assert world.sign_in.identify_session(opened.secret).username == "ada"
    dump = world.kept()
    with world.database.reading() as session:
        stolen = session.scalars(select(LoginSession.token_hash)).one()
    assert opened.secret not in dump
    for secret in (stolen, "", "fs_", opened.secret + "x"):
        with pytest.raises(TokenInvalid):
            world.sign_in.identify_session(secret)
        with pytest.raises(TokenInvalid):
            world.access.identify(secret)
    with pytest.raises(TokenInvalid):
        world.access.identify(opened.secret)  # a session is no token
    world.later(days=30)
    with pytest.raises(TokenInvalid):
        world.sign_in.identify_session(opened.secret)


def test_signing_out_here_and_everywhere(world):
    world.add("ada", password=PASSWORD)
    first, second, third = (world.sign_in.sign_in("ada", PASSWORD, "x").secret for _ in range(3))
    world.sign_in.close(first)
    with pytest.raises(TokenInvalid):
        world.sign_in.identify_session(first)
    me = world.sign_in.identify_session(second)
    bob = world.person("bob")
    with pytest.raises(Forbidden):
        world.sign_in.close_all(bob, me.user_id)
    narrow = world.access.identify(world.tokens.make(me, "x", []).token)
    with pytest.raises(Forbidden):
        world.sign_in.close_all(narrow)
    assert world.sign_in.close_all(me) == 2
    for secret in (second, third):
        with pytest.raises(TokenInvalid):
            world.sign_in.identify_session(secret)


@pytest.mark.parametrize(
    ("username", "password"),
    [("ada", "wrong"), ("nobody", PASSWORD), ("", ""), ("token only", ""), ("a\0", "\udcff")],
)
def test_it_is_not_told_what_was_wrong(world, username, password):
    world.add("ada", password=PASSWORD)
    world.add("token.only")
    with pytest.raises(SignInFailed) as fault:
        world.sign_in.sign_in(username, password, "here")
    assert str(fault.value) == "The username or the password is wrong."


def test_a_username_has_to_wait_after_too_many_failures(database):
    world = World(database, attempts_per_username=3)
    world.add("ada", password=PASSWORD)
    world.add("bob", password=PASSWORD)
    for place in ("one", "two", "three"):
        with pytest.raises(SignInFailed):
            world.sign_in.sign_in("ada", "wrong", place)
    with pytest.raises(TooManyAttempts):
        world.sign_in.sign_in(" Ada ", PASSWORD, "four")
    world.sign_in.sign_in("bob", PASSWORD, "four")


def test_success_begins_anew(database):
    world = World(database, attempts_per_username=3, attempts_per_address=3)
    world.add("ada", password=PASSWORD)
    for _ in range(5):
        with pytest.raises(SignInFailed):
            world.sign_in.sign_in("ada", "wrong", "other")
        world.sign_in.sign_in("ada", PASSWORD, "here")
        world.sign_in._addresses.forget("other")


def test_an_address_has_to_wait_after_too_many_failures(database):
    world = World(database, attempts_per_address=3)
    world.add("ada", password=PASSWORD)
    token = world.tokens.make(world.viewer(1), "x", []).token
    for name in ("a", "b", "c"):
        with pytest.raises(SignInFailed):
            world.sign_in.sign_in(name, "wrong", "there")
    with pytest.raises(TooManyAttempts):
        world.sign_in.sign_in("ada", PASSWORD, "there")
    with pytest.raises(TooManyAttempts):
        world.sign_in.identify_token("fl_wrong", "there")
    # A token cannot be guessed, so that one that is good is not held up by its neighbours.
    assert world.sign_in.identify_token(token, "there").username == "ada"
    with pytest.raises(TokenInvalid):
        world.sign_in.identify_token("fl_wrong", "elsewhere")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def test_failures_are_forgotten_in_time(database):
    clock = Clock()
    limiter = AttemptLimiter(database, "password", 2, 10.0, clock)
    limiter.fail("a")
    clock.wait(5)
    limiter.fail("a")
    with pytest.raises(TooManyAttempts, match="a pause of 5 s"):
        limiter.check("a")
    limiter.check("b")
    AttemptLimiter(database, "token", 2, 10.0, clock).check("a")
    clock.wait(5)
    limiter.check("a")
    limiter.fail("a")
    with pytest.raises(TooManyAttempts):
        limiter.check("a")
    limiter.forgive("a")
    limiter.check("a")
    limiter.fail("a")
    limiter.forget("a")
    limiter.check("a")


def test_failures_count_in_all_processes_and_after_a_restart(database):
    clock = Clock()
    one, other = (AttemptLimiter(database, "password", 2, 10.0, clock) for _ in range(2))
    one.fail("a")
    other.fail("a")
    for limiter in (one, other, AttemptLimiter(database, "password", 2, 10.0, clock)):
        with pytest.raises(TooManyAttempts):
            limiter.check("a")


def test_what_is_forgotten_is_not_kept_and_nobody_reads_what_was_typed(database):
    clock = Clock()
    limiter = AttemptLimiter(database, "password", 2, 10.0, clock)
    limiter.fail("my pass\0word \udcff")
    clock.wait(10)
    limiter.fail("b")
    with database.reading() as session:
        (row,) = session.scalars(select(FailedAttempt)).all()
    assert row.key == hashlib.sha256(b"password b").hexdigest()
    assert row.forgotten_at == clock.now + timedelta(seconds=10)
