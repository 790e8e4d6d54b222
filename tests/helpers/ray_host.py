"""A Ray of its own for the tests, in its own process: prints where it is, ends when its input is closed."""

import json
import os
import sys

import ray

context = ray.init(
    num_cpus=4, include_dashboard=False, _temp_dir=sys.argv[1], logging_level="error", log_to_driver=False
)
names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
variables = {name: os.environ[name] for name in names if name in os.environ}
sys.stdout.write(json.dumps({"RAY_ADDRESS": context.address_info["gcs_address"], **variables}) + "\n")
sys.stdout.flush()
sys.stdin.read()
ray.shutdown()
