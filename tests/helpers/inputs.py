"""What is no value of a setting."""

from __future__ import annotations

import math
from typing import Any

DIGITS = "9" * 400


LARGE = 10**5000
"""Python makes no text of it."""


NUMBERS = [math.nan, math.inf, -math.inf, -1, True, LARGE, DIGITS, "", "x", [], {}, None, 1e300, "1 2", "\0"]


AMOUNTS: dict[str, list[Any]] = {
    "num_cpus": [*NUMBERS, "2 * attempts", "* attempt", f"{DIGITS} * attempt", "nan * attempt"],
    "num_gpus": NUMBERS,
    "memory": [*NUMBERS, 1.5, "1.5.5GiB", "-1GiB", f"{DIGITS}GiB", "1PiB", "nanGiB", "9999999TiB"],
    "max_parallel": [*NUMBERS, 0, 1.0, 1.5],
    "timeout": [*NUMBERS, 0, "0s", "-1s", f"{DIGITS}s", "99999999d", "1w", "1h 30", "s"],
    "retries": [
        *NUMBERS[:-5],
        1.5,
        {"max": math.nan},
        {"max": 1, "delay": math.inf},
        {"max": 1, "exit_codes": [LARGE]},
    ],
    "resources": [
        *NUMBERS[:8],
        {"x": math.nan},
        {"x": -1},
        {"x": True},
        {"x": LARGE},
        {"": 1},
        {1: 1},
        {"CPU": 1},
        {"GPU": 1},
        {"memory": 1},
    ],
    "env": [5, "A=1", ["A"], {"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "x\0"}, {"A": None}, {"A": [1]}, {1: "x"}],
    "include": [5, {"a": 1}, [5], None],
    "mutex": [5, "", [""], [5], {}],
    "bare_workspace": [1, "true", None, []],
    "pull": [1, "true", None, []],
    "runtime_env": [1, "x", [], {1: 1}],
    "accelerator_type": [1, "", " ", []],
}


FILES = {
    "jobs": ["0", "-1", "nan", "inf", "1.5", "true", '"x"', '""', "[1]", DIGITS, f'"{DIGITS}"'],
    "grace": ["-1", "nan", "inf", "-inf", "true", '"nan"', '"x"', "[1]", DIGITS, "1e300"],
    "node_cache_size": ["-1", "nan", "1.5", "true", '"x"', '"1PiB"', DIGITS, f'"{DIGITS}GiB"'],
    "address": ["5", "true", "[]", '"a\\u0007b"'],
    "owner": ["5", "[]", '"a\\u001bb"'],
    "secrets": ["5", "[5]", '["A=B"]', '["A\\u0000"]'],
    "bare_workspace": ["5", '"maybe"', "[]"],
    "runtime_env": ["5", '"x"', '"[]"', "[]"],
}


VARIABLES = {
    "JOBS": ["0", "-1", "nan", "1.5", "x", DIGITS, "٣"],
    "GRACE": ["-1", "nan", "inf", "x", DIGITS, "1e5"],
    "NODE_CACHE_SIZE": ["-1", "nan", "x", f"{DIGITS}GiB"],
    "BARE_WORKSPACE": ["maybe", "2"],
    "RUNTIME_ENV": ["x", "[]", "5", "{", "[" * 100_000],
    "SECRETS": ["A=B"],
}
