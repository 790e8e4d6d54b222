"""Which process of Ray Train is this? Both generations of its API are asked; Ray is not imported to ask."""

from __future__ import annotations

import sys


def world_rank() -> int | None:
    """Rank of this process among the workers of a Ray Train run; None outside of one."""
    if "ray.train" not in sys.modules:
        return None  # a training worker has imported it before it runs the user's function
    from ray.train import get_context
    from ray.train._internal.session import get_session

    session = get_session()
    if session is not None:
        # Train v1; or a Tune function, which has a session without ranks.
        return None if session.world_rank is None else int(session.world_rank)
    from ray.train.v2._internal.constants import is_v2_enabled

    if not is_v2_enabled():
        return None
    try:
        return int(get_context().get_world_rank())
    except RuntimeError:
        return None  # the driver, or Train's controller
