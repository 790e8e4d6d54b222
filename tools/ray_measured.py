"""Runs at the start of each measured Python: saves coverage's data in Ray's workers, keeps it out of Ray's servers.

Coverage writes its data when a process exits, but Ray ends its workers without their exit handlers. Ray's servers run
none of our code, and a raylet ends if they are slow to start. `coverage_table` installs a ``.pth`` file that runs this
file before coverage's own, in a namespace of its own.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Final

_SECONDS: Final = 0.5


def save_now_and_then() -> None:
    """Save the data of this process twice a second, for as long as it lives.

    It begins when the process has imported our code: a worker that is disturbed while it starts is lost, and Ray 2.60
    lets no driver join before all the workers that it starts first are ready.
    """
    while True:
        time.sleep(_SECONDS)
        if "dvc_ray.worker" in sys.modules:
            from coverage import Coverage

            if (measured := Coverage.current()) is not None:
                measured.save()


_script = next((argument for argument in sys.orig_argv[1:] if not argument.startswith("-")), "")
if _script.endswith("/ray/_private/workers/default_worker.py"):
    threading.Thread(target=save_now_and_then, daemon=True).start()
elif "/site-packages/ray/" in _script:
    del os.environ["COVERAGE_PROCESS_CONFIG"]
