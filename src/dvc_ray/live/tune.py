"""Which trial of Ray Tune logs with DVCLive: one of many, as they would all write the same files.

The rule: the first trial. Tune numbers the trials of its own search in the order they are made
(``1a2b3_00000``), so that the first is known without asking anybody, and stays the first when it is restarted
on another worker. Trials of other search libraries have random ids; there the first that asks is written down
in the cluster and stays it.
"""

from __future__ import annotations

import functools
import re
import sys
from typing import Final

NUMBERED: Final = re.compile(r".+_(?P<index>\d{5,})$")


def trial_id() -> str | None:
    """Id of the trial that this process runs now; None outside of a function trainable."""
    if "ray.train._internal.session" not in sys.modules:
        return None  # Tune's own session, which it imports before it runs the user's function
    from ray.train._internal.session import get_session

    session = get_session()
    if session is None or session.world_rank is not None:
        return None
    return str(session.trial_id)


def is_first_trial(trial: str) -> bool:
    """Whether this trial is the one that logs."""
    numbered = NUMBERED.fullmatch(trial)
    return int(numbered["index"]) == 0 if numbered else _claim(trial)


def _claim(trial: str) -> bool:
    from ray.train._internal.session import get_session

    return _claim_in(str(get_session().experiment_name), trial)


@functools.cache
def _claim_in(experiment: str, trial: str) -> bool:
    """Be the first of the experiment to ask, or find that this trial already was.

    Asked once: the answer stays, and `Live` asks whenever it is used, which would be two calls to the head each time.
    """
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

    key = f"dvc-ray/live/{experiment}".encode()
    _internal_kv_put(key, trial.encode(), overwrite=False)
    return bool(_internal_kv_get(key) == trial.encode())
