"""Order where many transactions end at once, which only a server with many writers shows."""

import random
import threading
import time

import pytest
from stream_reader import listening

from firstlight.models.database import Database
from firstlight.models.event import Event, record_events
from firstlight.web.app import create_app

pytestmark = pytest.mark.postgres

WRITERS, BATCHES, EVENTS = 4, 25, 3


@pytest.fixture
def database(postgres_url):
    opened = Database(postgres_url)
    yield opened
    opened.dispose()


def test_no_event_is_missed_however_transactions_overlap(database, make_services, serve):
    address = serve(create_app(make_services(public_sites="*", poll_interval_s=0.005)))

    def write(part):
        chance = random.Random(part)
        for batch in range(BATCHES):
            rows = [
                Event(topic="t", site="tst", data={"name": f"{part}-{batch}-{n}"})
                for n in range(EVENTS)
            ]
            with database.begin() as session:
                record_events(session, rows)
                time.sleep(chance.uniform(0, 0.02))  # a commit that takes its time

    writers = [threading.Thread(target=write, args=(part,)) for part in range(WRITERS)]
    chance, seen, position, total = random.Random(7), [], "0", WRITERS * BATCHES * EVENTS
    for writer in writers:
        writer.start()
    while len(seen) < total:
        with listening(address, headers={"Last-Event-ID": position}) as stream:
            seen += stream.messages(min(chance.randint(1, 40), total - len(seen)))
            position = str(seen[-1]["number"])
    for writer in writers:
        writer.join()
    numbers = [each["number"] for each in seen]
    assert numbers == sorted(set(numbers))
    assert len({each["data"]["name"] for each in seen}) == total
