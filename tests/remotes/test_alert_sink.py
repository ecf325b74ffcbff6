"""Packets are sent when the broker says so, and not before."""

import sys
from types import SimpleNamespace

import pytest

from firstlight.errors import MissingDependency
from firstlight.remotes.alert_sink import AlertNotTaken, KafkaSink


class Producer:
    """As confluent_kafka's; `fate` is what becomes of each message."""

    fate = "taken"

    def __init__(self, settings):
        self.settings = settings
        self.waiting = []

    def produce(self, topic, *, value, key, on_delivery):
        if self.fate == "full":
            raise BufferError("queue full")
        self.waiting.append((topic, value, key, on_delivery))

    def flush(self, wait_s):
        if self.fate == "silent":
            return len(self.waiting)
        for *_, on_delivery in self.waiting:
            on_delivery("no such topic" if self.fate == "refused" else None, object())
        sent, self.waiting = self.waiting, []
        self.sent = sent
        return 0


@pytest.fixture
def kafka(monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", SimpleNamespace(Producer=Producer))
    monkeypatch.setattr(Producer, "fate", "taken")


def test_a_packet_arrives(kafka):
    sink = KafkaSink("broker:9092", {"security.protocol": "SSL"})
    sink.send("changes", "FL26aaa", b"packet")
    assert sink._producer.sent[0][:3] == ("changes", b"packet", "FL26aaa")
    settings = sink._producer.settings
    assert settings["acks"] == "all"
    assert settings["security.protocol"] == "SSL"


@pytest.mark.parametrize("fate", ["silent", "refused", "full"])
def test_what_has_not_arrived_is_not_sent(kafka, monkeypatch, fate):
    monkeypatch.setattr(Producer, "fate", fate)
    with pytest.raises(AlertNotTaken):
        KafkaSink("broker:9092").send("changes", "FL26aaa", b"packet")


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(MissingDependency) as fault:
        KafkaSink("broker:9092")
    assert "firstlight[kafka]" in str(fault.value.hint)
