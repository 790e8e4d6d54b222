"""`meta.ray`: what each key takes, and how each wrong value is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from dvc_ray.errors import ConfigError
from dvc_ray.settings import labels, meta_ray
from dvc_ray.values.stage import Retries, StageSettings

NODE = "0123456789abcdef" * 3 + "01234567"


def parse(text: str) -> StageSettings:
    return meta_ray.parse("train", {"ray": yaml.safe_load(text)})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{num_cpus: 2 * attempt}", StageSettings(num_cpus=2, grows=("num_cpus",))),
        ("{num_cpus: 0.5*attempt, num_gpus: 1}", StageSettings(num_cpus=0.5, num_gpus=1, grows=("num_cpus",))),
        ("{memory: 2GiB * attempt}", StageSettings(memory=2 << 30, grows=("memory",))),
        ("{memory: 1000 * attempt}", StageSettings(memory=1000, grows=("memory",))),
        ("{num_gpus: 1 * attempt}", StageSettings(num_gpus=1, grows=("num_gpus",))),
        ("{accelerator_type: A100}", StageSettings(accelerator_type="A100")),
        ("{label_selector: {zone: a}}", StageSettings(label_selector=(("zone", "a"),))),
        ("{label_selector: {zone: 'in(a,  b)'}}", StageSettings(label_selector=(("zone", "in(a,b)"),))),
        ("{label_selector: {a.b/c: '!in( a , b )'}}", StageSettings(label_selector=(("a.b/c", "!in(a,b)"),))),
        ("{label_selector: {zone: ''}}", StageSettings(label_selector=(("zone", ""),))),
        (
            f"{{label_selector: {{ray.io/node-id: '{NODE}'}}}}",
            StageSettings(label_selector=(("ray.io/node-id", NODE),)),
        ),
        ("{max_parallel: 3}", StageSettings(max_parallel=3)),
        ("{mutex: db}", StageSettings(mutex=("db",))),
        ("{mutex: [db, port, db]}", StageSettings(mutex=("db", "port"))),
        ("{pull: true}", StageSettings(pull=True)),
        ("{retries: 3}", StageSettings(retries=Retries(max=3))),
        ("{retries: {max: 1, exit_codes: 137}}", StageSettings(retries=Retries(max=1, exit_codes=(137,)))),
        (
            "{retries: {max: 3, exit_codes: [137, -9, 1], delay: 1m * attempt, timeout: true}}",
            StageSettings(
                retries=Retries(max=3, exit_codes=(137, -9, 1), delay=60, delay_grows=True, timeout=True),
            ),
        ),
    ],
)
def test_what_is_taken(text: str, expected: StageSettings) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{num_cpus: attempt * 2}", "'meta.ray.num_cpus' must be a number of at least 0, or one that grows: 2 * attem"),
        ("{num_cpus: 2 * attempts}", "'meta.ray.num_cpus' must be a number"),
        ("{num_cpus: 2 ** attempt}", "'meta.ray.num_cpus' must be a number"),
        ("{num_cpus: -1 * attempt}", "'meta.ray.num_cpus' must be a number"),
        ("{num_cpus: 2GiB * attempt}", "'meta.ray.num_cpus' must be a number"),
        ("{num_cpus: '2'}", "'meta.ray.num_cpus' must be a number"),
        ("{num_gpus: [1]}", "'meta.ray.num_gpus' must be a number"),
        ("{memory: 2 bananas * attempt}", "'meta.ray.memory' must be a size such as 2GiB"),
        ("{resources: {tpu: 1 * attempt}}", "'meta.ray.resources' must be a mapping of resource names to numbers"),
        ("{accelerator_type: ''}", "'meta.ray.accelerator_type' must be the name of an accelerator such as A100"),
        ("{accelerator_type: 100}", "'meta.ray.accelerator_type' must be the name of an accelerator such as A100"),
        ("{accelerator: A100}", "unknown key 'accelerator' in 'meta.ray'. Did you mean 'accelerator_type'?"),
        ("{label_selector: zone}", "'meta.ray.label_selector' must be a mapping of labels to selectors"),
        ("{label_selector: {zone: 1}}", "'meta.ray.label_selector.zone' cannot be 1"),
        ("{label_selector: {zone: '!'}}", "'meta.ray.label_selector.zone' cannot be '!'"),
        ("{label_selector: {zone: '(a)'}}", "'meta.ray.label_selector.zone' cannot be '(a)'"),
        ("{label_selector: {zone: 'a, b'}}", "'meta.ray.label_selector.zone' cannot be 'a, b'"),
        ("{label_selector: {zone: 'not in(a)'}}", "'meta.ray.label_selector.zone' cannot be 'not in(a)'"),
        ("{label_selector: {-zone: a}}", "'meta.ray.label_selector' has '-zone', which is no label of Ray"),
        ("{label_selector: {ray.io/node-id: head}}", "cannot be 'head': that is no id of a node"),
        ("{max_parallel: 0}", "'meta.ray.max_parallel' must be a whole number of at least 1, not the number 0"),
        ("{max_paralel: 1}", "unknown key 'max_paralel' in 'meta.ray'. Did you mean 'max_parallel'?"),
        ("{mutex: {a: b}}", "'meta.ray.mutex' must be a name or a list of names, not a mapping"),
        ("{mutex: ['']}", "'meta.ray.mutex' must be a name or a list of names"),
        ("{pull: 1}", "'meta.ray.pull' must be true or false, not the number 1"),
        ("{retries: true}", "'meta.ray.retries' must be a whole number of at least 0, or a mapping"),
        ("{retries: {exit_codes: [1]}}", "'meta.ray.retries' needs 'max'"),
        ("{retries: {max: -1}}", "'meta.ray.retries.max' must be a whole number of at least 0, not the number -1"),
        (
            "{retries: {max: 1, exit_code: 1}}",
            "unknown key 'exit_code' in 'meta.ray.retries'. Did you mean 'exit_codes'?",
        ),
        ("{retries: {max: 1, exit_codes: [0]}}", "'meta.ray.retries.exit_codes' must be an exit code (1 to 255"),
        ("{retries: {max: 1, exit_codes: oom}}", "'meta.ray.retries.exit_codes' must be an exit code (1 to 255"),
        ("{retries: {max: 1, exit_codes: []}}", "'meta.ray.retries.exit_codes' must be an exit code (1 to 255"),
        ("{retries: {max: 1, delay: later}}", "'meta.ray.retries.delay' must be a duration such as 10s"),
        *(
            (f"{{timeout: {text}}}", "'meta.ray.timeout' must be a duration")
            for text in ("1h30", "s10s", "5.5.5s", "1h 30")
        ),
        ("{retries: {max: 1, timeout: 10}}", "'meta.ray.retries.timeout' must be true or false"),
    ],
)
def test_what_is_refused(text: str, what: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text)
    assert raised.value.what.startswith("stage 'train': ")
    assert what in raised.value.what
    assert raised.value.hint


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "!a",
        "in(a)",
        "in(a,b)",
        "!in(a, b)",
        "",
        "!",
        "in()",
        "in(a,",
        "!!a",
        "-a",
        "a-",
        "a b",
        "a" * 64,
        "a_b.c-d",
    ],
)
@pytest.mark.parametrize("key", ["zone", "ray.io/zone", "-zone", "zone/", "a" * 64, "a..b/c", "a_/c"])
def test_the_syntax_of_labels_is_rays(key: str, value: str) -> None:
    from ray._private.label_utils import validate_label_selector

    def ours() -> bool:
        try:
            labels.selector({key: value})
        except ValueError:
            return False
        return True

    assert ours() is (validate_label_selector({key: value}) is None)


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ({"zone": "a"}, ""),
        ({"zone": "A"}, "zone"),
        ({"zone": "!a"}, "zone"),
        ({"zone": "in(b,a)"}, ""),
        ({"zone": "!in(b,c)"}, ""),
        ({"zone": "!in(b,a)"}, "zone"),
        ({"zone": ""}, "zone"),
        ({"empty": ""}, ""),
        ({"none": ""}, "none"),
        ({"none": "a"}, "none"),
        ({"none": "!a"}, ""),
        ({"none": "!in(a,b)"}, ""),
        ({"zone": "a", "none": "a", "empty": "b"}, "none"),
    ],
)
def test_labels_match_as_on_a_local_ray(wanted: Mapping[str, Any], first: str) -> None:
    """The table is what tasks with these selectors did on a node with these labels (2.60.0): ran, or waited."""
    assert labels.mismatch(wanted, {"zone": "a", "empty": ""}) == first
