"""Which trial of Ray Tune logs with DVCLive: one of many, as all would write the same files.

The first trial logs. Tune numbers the trials of its own search in the order in which they are made
(``1a2b3_00000``), so that the first is known by its number, and stays the first when it is restarted on another
worker. Trials of other search libraries have random ids; there, the first trial that asks is recorded in the
cluster and stays the first.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from dvc_ray.ray_api import kv, sessions

NUMBERED: Final = re.compile(r".+_(?P<index>\d{5,})$")


def trial_id() -> str | None:
    """Return the id of the trial that this process runs now; None outside of a function trainable."""
    session = sessions.session()
    return session.trial if session is not None and session.rank is None else None


def is_first_trial(trial: str) -> bool:
    """Whether this trial is the one that logs."""
    numbered = NUMBERED.fullmatch(trial)
    return int(numbered["index"]) == 0 if numbered else _claim(trial)


def _claim(trial: str) -> bool:
    session = sessions.session()
    return _claim_in(session.experiment if session is not None else "", trial)


@functools.cache
def _claim_in(experiment: str, trial: str) -> bool:
    """Whether this trial was the first of the experiment to ask; if none has asked before, it becomes the first.

    The answer, which does not change, is cached: `Live` asks at each use, which would be two calls to the head.
    """
    key = f"dvc-ray/live/{experiment}"
    kv.put(key, trial, overwrite=False)
    return kv.get(key) == trial
