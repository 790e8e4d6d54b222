"""Which worker of Ray Train, which trial of Ray Tune this process is; Ray is not imported for that."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A user's function that Ray Train (first generation) or Ray Tune runs in this process."""

    rank: int | None = None
    """Rank among the workers of a training; None: a function trainable of Tune, which has no ranks."""
    trial: str = ""
    """Id of Tune's trial, for a function trainable."""
    experiment: str = ""
    """Tune's name of the experiment, for a function trainable."""


def session() -> Session | None:
    """Find the session of this process; None outside of one.

    ``ray.train._internal.session.get_session``, the same in 2.54.0 and 2.60.0. The public functions
    (``ray.train.get_context``, ``ray.tune.get_context``) warn the user outside of a session. Without it, each worker
    of a training and each trial writes DVCLive's files.
    """
    if "ray.train._internal.session" not in sys.modules:
        return None  # Train and Tune import it before they run the user's function
    from ray.train._internal.session import get_session

    found = get_session()
    if found is None:
        return None
    if found.world_rank is not None:
        return Session(rank=int(found.world_rank))
    return Session(trial=str(found.trial_id), experiment=str(found.experiment_name))


def is_train_v2() -> bool:
    """Whether ``ray.train`` is its second generation in this process.

    ``ray.train.v2._internal.constants.is_v2_enabled``, the same in 2.54.0 and 2.60.0; the variable
    ``RAY_TRAIN_V2_ENABLED`` decides, true by default. Without it, ``ray.train.get_context`` would have to be called
    even where it warns the user.
    """
    from ray.train.v2._internal.constants import is_v2_enabled

    return bool(is_v2_enabled())
