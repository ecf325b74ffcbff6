"""Services of what changes in the sky: references, and all that is compared with them."""

from __future__ import annotations

from firstlight.factory.reduction_wiring import ReductionWiring

__all__ = ["TransientWiring"]


class TransientWiring(ReductionWiring):
    """Builds the services of references, changes, alerts and quality, each when first asked for."""
