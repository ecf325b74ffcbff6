"""How the files of a pretend site come: in what order, how often, where to, how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import httpx
import numpy as np
from pydantic import Field as Setting

from firstlight.errors import RemoteError
from firstlight.simulation.pretend_site import PretendFile, PretendSite
from firstlight.simulation.settings import CheckedSettings
from firstlight.storage import StorageSettings, Store, open_store

__all__ = [
    "DeliverySettings",
    "FolderReceiver",
    "Receiver",
    "Sent",
    "StoreReceiver",
    "UploadReceiver",
    "UploadRefused",
    "deliver",
    "delivery_order",
    "receiver_for",
]

_PIECES = 4
_PAUSE = 0.02
PARTIAL = ".part"
_PATIENCE_S = 30.0


class UploadRefused(RemoteError):
    """The archive did not take an upload."""

    code = "simulation.upload_refused"


class DeliverySettings(CheckedSettings):
    """In what order files are sent.

    Attributes
    ----------
    order
        ``ordered``, exposure after exposure, or ``shuffled`` over all of them.
    twice
        Share of files that are delivered a second time, later.
    header_last
        Share of exposures whose header text comes after all their other files.
    """

    seed: int = Setting(default=1, ge=0)
    order: Literal["ordered", "shuffled"] = "ordered"
    twice: float = Setting(default=0.0, ge=0, le=1)
    header_last: float = Setting(default=0.0, ge=0, le=1)


@dataclass(frozen=True)
class Sent:
    """A delivery that was made.

    Attributes
    ----------
    at
        When its last byte was handed over, seconds since 1970.
    """

    file: PretendFile
    size: int
    at: float


class Receiver(Protocol):
    """Where files are handed over."""

    def receive(self, file: PretendFile, channel: int | None, content: bytes) -> None:
        """Take one file; `channel` is that of an info image."""
        ...


class FolderReceiver:
    """A folder, as a site's sync program fills it. Names keep their prefix as a subfolder.

    Parameters
    ----------
    slowly
        Written in pieces under the final name, as a slow network mount shows it, instead of
        under another name that is changed at the end.
    """

    def __init__(self, folder: Path, *, slowly: bool = False) -> None:
        self._folder = folder
        self._slowly = slowly

    def receive(self, file: PretendFile, channel: int | None, content: bytes) -> None:
        """Write the file; a folder has no place for the channel."""
        del channel
        path = self._folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._slowly:
            _write_in_pieces(path, content)
            return
        partial = path.with_name(path.name + PARTIAL)
        partial.write_bytes(content)
        partial.replace(path)


class StoreReceiver:
    """A store, for example a bucket."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def receive(self, file: PretendFile, channel: int | None, content: bytes) -> None:
        """Put the file under its name, over the one that may be there."""
        del channel
        self._store.put(file.name, content, overwrite=True)


class UploadReceiver:
    """An archive's HTTP interface: leave to upload is asked for, then the file is posted.

    Parameters
    ----------
    address
        Of the archive, as ``http://localhost:8000``.
    token
        One that may upload.
    """

    def __init__(self, address: str, token: str | None = None) -> None:
        headers = {"Authorization": f"token {token}"} if token else {}
        self._archive = httpx.Client(base_url=address, headers=headers, timeout=_PATIENCE_S)
        self._anyone = httpx.Client(timeout=_PATIENCE_S)

    def receive(self, file: PretendFile, channel: int | None, content: bytes) -> None:
        """Ask for a ticket and use it.

        Raises
        ------
        UploadRefused
            With what the archive, or the bucket behind it, said.
        """
        directory, _, name = file.name.partition("/")
        wish: dict[str, Any] = {"object_name": name, "s3_directory": directory}
        if channel is not None:
            wish["info_channel"] = channel
        ticket = self._ask(self._archive, "/api/uploads", file.name, json=wish).json()
        ticket = ticket.get("data", ticket)
        self._ask(
            self._anyone,
            str(self._archive.base_url.join(ticket["url"])),
            file.name,
            data=ticket["fields"],
            files={"file": (name, content)},
        )

    def _ask(self, client: httpx.Client, url: str, name: str, **content: Any) -> httpx.Response:
        try:
            answer = client.post(url, **content)
        except httpx.HTTPError as fault:
            raise UploadRefused(
                subject=name, found=f"{type(fault).__name__}: {fault}", hint="is `serve` running?"
            ) from fault
        if not answer.is_success:
            found = f"{answer.status_code} {answer.text[:300]}"
            raise UploadRefused(subject=name, field=str(answer.url.path), found=found)
        return answer


def receiver_for(
    destination: str,
    *,
    token: str | None = None,
    endpoint: str | None = None,
    slowly: bool = False,
) -> Receiver:
    """The receiver behind a folder, ``s3://bucket/prefix`` or ``http(s)://`` address.

    Parameters
    ----------
    token
        For the HTTP interface.
    endpoint
        Address of an S3 server other than Amazon's. Its keys are looked for where Amazon's
        programs look.
    slowly
        See `FolderReceiver`.
    """
    if destination.startswith(("http://", "https://")):
        return UploadReceiver(destination, token)
    if destination.startswith("s3://"):
        plain = (endpoint or "").startswith("http://")
        settings = StorageSettings(root=destination, endpoint=endpoint, allow_http=plain)
        return StoreReceiver(open_store(settings))
    return FolderReceiver(Path(destination), slowly=slowly)


def delivery_order(files: Sequence[PretendFile], settings: DeliverySettings) -> list[PretendFile]:
    """Every file at least once, in the order in which it is sent."""
    random = np.random.default_rng([settings.seed, 5])
    order = list(files)
    if settings.order == "shuffled":
        order = [order[place] for place in random.permutation(len(order))]
    exposures = sorted({file.exposure for file in order if file.kind == "header"})
    chosen = random.permutation(exposures)[: round(settings.header_last * len(exposures))]
    for exposure in chosen:
        _header_to_the_end(order, int(exposure))
    again = random.permutation(len(order))[: round(settings.twice * len(order))]
    repeats = {order[place]: int(random.integers(place, len(order))) for place in again}
    return list(_with_repeats(order, repeats))


def deliver(
    site: PretendSite,
    order: Sequence[PretendFile],
    receiver: Receiver,
    *,
    rate: float | None = None,
    on_sent: Callable[[int, Sent], None] | None = None,
) -> list[Sent]:
    """Hand over files one after the other.

    Parameters
    ----------
    rate
        Files a second; ``None`` for as fast as they are taken. One that comes too late is sent
        at once, so that the rate holds over the whole.
    on_sent
        Called with how many are done and the last of them.
    """
    sent: list[Sent] = []
    begin = time.monotonic()
    for place, file in enumerate(order):
        content = site.content(file)
        if rate is not None:
            time.sleep(max(0.0, begin + place / rate - time.monotonic()))
        receiver.receive(file, site.exposures[file.exposure].channel, content)
        sent.append(Sent(file, len(content), time.time()))
        if on_sent is not None:
            on_sent(len(sent), sent[-1])
    return sent


def _header_to_the_end(order: list[PretendFile], exposure: int) -> None:
    """Move one exposure's header text to where the last of its files is."""
    places = [place for place, file in enumerate(order) if file.exposure == exposure]
    header = next(place for place in places if order[place].kind == "header")
    order.insert(places[-1], order.pop(header))


def _with_repeats(
    order: Sequence[PretendFile], repeats: dict[PretendFile, int]
) -> Iterator[PretendFile]:
    """The order with each repeat after the place that it names."""
    due: dict[int, list[PretendFile]] = {}
    for file, place in repeats.items():
        due.setdefault(place, []).append(file)
    for place, file in enumerate(order):
        yield file
        yield from due.get(place, ())


def _write_in_pieces(path: Path, content: bytes) -> None:
    step = -(-len(content) // _PIECES)
    with path.open("wb", buffering=0) as stream:
        for begin in range(0, len(content), step):
            stream.write(content[begin : begin + step])
            time.sleep(_PAUSE)
