"""The rank of this process in Ray Train, from either generation of its API; Ray is not imported for that."""

from __future__ import annotations

import sys

from dvc_ray.ray_api import sessions


def world_rank() -> int | None:
    """Return the rank of this process among the workers of a Ray Train run; None outside of one."""
    if "ray.train" not in sys.modules:
        return None  # a training worker has imported it before it runs the user's function
    session = sessions.session()
    if session is not None:
        return session.rank  # Train v1; or a Tune function, which has a session without ranks.
    if not sessions.is_train_v2():
        return None
    from ray.train import get_context

    try:
        return int(get_context().get_world_rank())
    except RuntimeError:
        return None  # the driver, or Train's controller
