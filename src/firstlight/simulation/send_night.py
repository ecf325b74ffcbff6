"""A pretend site sends its night somewhere, from one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from firstlight.simulation.delivery import (
    DeliverySettings,
    deliver,
    delivery_order,
    receiver_for,
)
from firstlight.simulation.pretend_site import PretendSite, SiteSettings

__all__ = ["NightSent", "simulate_site"]

_INFO_IMAGES = 3
_ALL_SKY = 5  # regular exposures for one of the all-sky camera
_TROUBLE = DeliverySettings(order="shuffled", twice=0.1, header_last=0.05)
_CORRUPT = 0.02


@dataclass(frozen=True)
class NightSent:
    """What a pretend site has sent.

    Attributes
    ----------
    sentence
        For a person.
    corrupt
        Name and fault of each file that is damaged on purpose.
    """

    sentence: str
    corrupt: tuple[tuple[str, str], ...]


def simulate_site(
    destination: str,
    site: Mapping[str, Any],
    *,
    faults: bool = False,
    rate: float | None = None,
    on_sent: Callable[[int, int], None] | None = None,
    **access: Any,
) -> NightSent:
    """Send every file of a pretend night.

    Parameters
    ----------
    destination
        A folder, ``s3://bucket/prefix``, or the address of an archive (``http://host:port``).
    site
        Fields of `SiteSettings`.
    faults
        Shuffled over all exposures, one file in ten twice, one header in twenty after all else,
        one file in fifty damaged.
    rate
        Files a second; ``None`` for as fast as they are taken.
    on_sent
        Told after each file how many are done of how many.
    access
        Options of `receiver_for`.
    """
    wishes = {
        "info_images": _INFO_IMAGES,
        "all_sky": int(site.get("exposures", 0)) // _ALL_SKY,
        "corrupt": _CORRUPT if faults else 0.0,
    }
    pretend = PretendSite(SiteSettings(**{**wishes, **site}))
    order = delivery_order(pretend.files, _TROUBLE if faults else DeliverySettings())
    sent = deliver(
        pretend,
        order,
        receiver_for(destination, **access),
        rate=rate,
        on_sent=None if on_sent is None else lambda done, _last: on_sent(done, len(order)),
    )
    return NightSent(
        f"{len(pretend.exposures)} exposures, {len(pretend.files)} files, "
        f"{len(sent)} deliveries to {destination}",
        tuple((file.name, file.fault) for file in pretend.files if file.fault),
    )
