from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqs_server import FakeQueue, sqs_server

from firstlight.errors import MissingDependency
from firstlight.remotes.sqs import QueueRefused, QueueSettings, QueueUnreachable, SqsQueue

pytest.importorskip("boto3", reason="the extra aws is not installed")


@pytest.fixture
def served() -> Iterator[FakeQueue]:
    with sqs_server() as queue:
        yield queue


def _settings(url: str, **more: Any) -> QueueSettings:
    given = {"access_key_id": "id", "secret_access_key": "secret", "wait_s": 0}
    return QueueSettings.model_validate({"url": url, **given, **more})


@pytest.fixture
def queue(served: FakeQueue) -> SqsQueue:
    return SqsQueue(_settings(served.url))


def test_what_is_not_deleted_comes_again(served: FakeQueue, queue: SqsQueue) -> None:
    served.send("one")
    (message,) = queue.receive()
    assert (message.body, message.deliveries) == ("one", 1)
    assert queue.receive() == []
    served.ahead = 61
    (message,) = queue.receive()
    assert message.deliveries == 2
    queue.delete([message])
    served.ahead = 200
    assert queue.receive() == []


def test_ten_at_once(served: FakeQueue, queue: SqsQueue) -> None:
    for number in range(25):
        served.send(str(number))
    taken = [each for _ in range(3) for each in queue.receive()]
    assert sorted(int(each.body) for each in taken) == list(range(25))
    queue.delete(taken)
    assert served.messages == {}
    assert [action for action, _ in served.requests].count("DeleteMessageBatch") == 3
    queue.delete([])
    assert len(served.requests) == 6


def test_how_it_asks(served: FakeQueue) -> None:
    SqsQueue(_settings(served.url, wait_s=1, hidden_s=7)).receive()
    ((_, wish),) = served.requests
    assert wish["QueueUrl"] == served.url
    assert (wish["MaxNumberOfMessages"], wish["WaitTimeSeconds"]) == (10, 1)
    assert wish["VisibilityTimeout"] == 7


def test_a_message_that_cannot_be_deleted_is_told(
    served: FakeQueue, queue: SqsQueue, caplog: pytest.LogCaptureFixture
) -> None:
    served.send("one")
    served.refuse_deletion = True
    with caplog.at_level(logging.WARNING):
        queue.delete(queue.receive())
    assert "will come again: ReceiptHandleIsInvalid" in caplog.text


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ((400, "AccessDenied"), QueueRefused),
        ((400, "QueueDoesNotExist"), QueueRefused),
        ((500, "InternalFailure"), QueueUnreachable),
        ((400, "Throttled"), QueueUnreachable),
    ],
)
def test_refusals(
    served: FakeQueue, queue: SqsQueue, refusal: tuple[int, str], error: type[Exception]
) -> None:
    served.refuse = refusal
    with pytest.raises(error) as caught:
        queue.receive()
    assert served.url in str(caught.value)
    assert "secret" not in str(caught.value)


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue = SqsQueue(_settings(f"http://127.0.0.1:{port}/1/q"))
    with pytest.raises(QueueUnreachable):
        queue.receive()


def test_amazon_is_asked_in_the_region_of_the_queue() -> None:
    queue = SqsQueue(_settings("https://sqs.eu-west-1.amazonaws.com/1234/arrivals"))
    assert queue._client.meta.endpoint_url == "https://sqs.eu-west-1.amazonaws.com"


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingDependency, match=r"firstlight\[aws\]"):
        SqsQueue(_settings("https://sqs.eu-west-1.amazonaws.com/1234/arrivals"))


def test_a_key_without_its_secret_is_no_setting() -> None:
    with pytest.raises(ValueError, match="belong together"):
        QueueSettings(url="https://x/q", access_key_id="id")
