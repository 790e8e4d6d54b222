"""Run at the start of each Python while coverage is measured: Ray's workers write down what they have run so far.

Coverage writes its data when a process exits, and Ray ends its workers without their exit handlers. `coverage_table`
has this file run by a ``.pth`` file beside coverage's own, in a namespace of its own.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Final

from coverage import Coverage

_SECONDS: Final = 0.5


def save_now_and_then() -> None:
    """Save what is measured in this process, twice a second, for as long as it lives.

    Only once there is something of ours in it: a worker that is disturbed while it starts is lost, and Ray 2.60 lets no
    driver in before all the workers that it starts at first are there.
    """
    while True:
        time.sleep(_SECONDS)
        if "dvc_ray.worker" in sys.modules and (measured := Coverage.current()) is not None:
            measured.save()


if any(argument.endswith("default_worker.py") for argument in sys.orig_argv):
    threading.Thread(target=save_now_and_then, daemon=True).start()
