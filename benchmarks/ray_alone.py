"""The cost of Ray without dvc-ray: run as a program with a directory for Ray's files, prints seconds as JSON."""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
import time


def main() -> None:
    directory = sys.argv[1]
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    marks = [time.perf_counter()]
    import ray

    marks.append(time.perf_counter())
    # As dvc_ray.executors.ray starts it with -j 1.
    ray.init(
        address="local",
        num_cpus=max(len(os.sched_getaffinity(0)), 2),
        include_dashboard=False,
        _temp_dir=directory,
        _system_config={"worker_niceness": 0},
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    marks.append(time.perf_counter())
    ray.get(ray.remote(lambda: None).remote())
    marks.append(time.perf_counter())
    ray.shutdown()
    marks.append(time.perf_counter())
    names = ("import ray", "ray.init", "first task (its worker starts)", "ray.shutdown")
    spent = [after - before for before, after in itertools.pairwise(marks)]
    print(json.dumps(dict(zip(names, spent, strict=True))))


if __name__ == "__main__":
    main()
