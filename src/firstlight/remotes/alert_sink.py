"""Where alert packets go: nowhere beyond the store, or to a Kafka broker."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Protocol

from firstlight.errors import MissingDependency, RemoteError

__all__ = ["AlertNotTaken", "AlertSink", "KafkaSink", "StoreSink"]

WAIT_S = 30.0


class AlertNotTaken(RemoteError):
    """The receiver of alerts did not take a packet."""

    code = "remote.alert_not_taken"


class AlertSink(Protocol):
    """Takes packets."""

    def send(self, topic: str, key: str, packet: bytes) -> None:
        """Hand over one packet; it has arrived when this returns.

        Raises
        ------
        AlertNotTaken
            It has not, or nobody knows.
        """


class StoreSink:
    """The packet's file in the store is all that is wanted."""

    def send(self, topic: str, key: str, packet: bytes) -> None:
        """Nothing more to do."""


class KafkaSink:
    """Sends packets to a Kafka broker, each acknowledged by all replicas.

    Parameters
    ----------
    servers
        ``host:port``, with commas between several.
    options
        Further settings of librdkafka, such as those of authentication.
    """

    def __init__(self, servers: str, options: dict[str, str] | None = None) -> None:
        self._servers = servers
        self._producer: Any = _kafka().Producer(
            {
                "bootstrap.servers": servers,
                "acks": "all",
                "enable.idempotence": True,
                "message.timeout.ms": int(WAIT_S * 1000),
                **(options or {}),
            }
        )

    def send(self, topic: str, key: str, packet: bytes) -> None:
        """Send and wait for the broker's word."""
        answers: list[object] = []
        try:
            self._producer.produce(
                topic, value=packet, key=key, on_delivery=lambda fault, _: answers.append(fault)
            )
            left = self._producer.flush(WAIT_S)
        except Exception as fault:  # whatever the library raises, the packet has not arrived
            raise AlertNotTaken(str(fault), subject=self._servers) from fault
        if left or not answers or answers[0] is not None:
            why = str(answers[0]) if answers and answers[0] is not None else "no answer"
            raise AlertNotTaken(why, subject=self._servers, field=topic)


def _kafka() -> ModuleType:
    try:
        import confluent_kafka  # type: ignore[import-untyped, import-not-found, unused-ignore]  # noqa: PLC0415, an extra
    except ModuleNotFoundError as fault:
        raise MissingDependency(
            "alerts to Kafka need confluent-kafka",
            expected="the package confluent-kafka",
            hint="pip install 'firstlight[kafka]'",
        ) from fault
    kafka: ModuleType = confluent_kafka
    return kafka
