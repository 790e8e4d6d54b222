"""Pure decisions: who has room beside whom, and who is tried again with what."""

from __future__ import annotations

import pytest

from dvc_ray import retry
from dvc_ray.driver.admission import Claim, Limits, Reserved, has_room, is_full, together
from dvc_ray.executors.placement import fit
from dvc_ray.values.stage import Retries, StageSettings, StageState
from dvc_ray.values.task import Lost, StageResult

MANY = Limits(attempts=100, num_cpus=None, drivers=1)


def claim(group: str = "x", cpus: float = 1, limit: int | None = None, *mutex: str) -> Claim:
    return Claim(group=group, num_cpus=cpus, max_parallel=limit, mutex=mutex)


@pytest.mark.parametrize(
    ("wanted", "beside", "ahead", "limits", "expected"),
    [
        (claim(), [], [], MANY, True),
        (claim(), [claim()] * 9, [], MANY, True),
        (claim(), [claim()], [], Limits(attempts=1, num_cpus=None, drivers=1), False),
        (claim(cpus=2), [claim(cpus=2)], [], Limits(attempts=9, num_cpus=4, drivers=1), True),
        (claim(cpus=3), [claim(cpus=2)], [], Limits(attempts=9, num_cpus=4, drivers=1), False),
        (claim(cpus=9), [], [], Limits(attempts=9, num_cpus=4, drivers=1), True),
        (claim(cpus=0), [claim(cpus=0)], [], MANY, False),
        (claim(cpus=0), [claim(cpus=4)], [], Limits(attempts=9, num_cpus=4, drivers=1), True),
        # a group
        (claim("a", 1, 2), [claim("a", 1, 2)], [], MANY, True),
        (claim("a", 1, 2), [claim("a", 1, 2)] * 2, [], MANY, False),
        (claim("b", 1, 2), [claim("a", 1, 2)] * 2, [], MANY, True),
        (claim("a", 1, 5), [claim("a", 1, 1)], [], MANY, False),
        (claim("a"), [claim("a", 1, 1)], [], MANY, False),
        # names
        (claim("a", 1, None, "db"), [claim("b", 1, None, "db")], [], MANY, False),
        (claim("a", 1, None, "db"), [claim("b", 1, None, "port")], [], MANY, True),
        (claim("a", 1, None, "db"), [claim("b", 1, None, "port", "db")], [], MANY, False),
        # what somebody earlier waits for
        (claim("a", 1, None, "db"), [], [claim("b", 1, None, "db")], MANY, False),
        (claim("a", 1, 2), [claim("a", 1, 2)], [claim("a", 1, 2)], MANY, False),
        (claim("a", 1), [claim("b", 3)], [claim("c", 4)], Limits(attempts=9, num_cpus=4, drivers=1), True),
    ],
)
def test_room(wanted: Claim, beside: list[Claim], ahead: list[Claim], limits: Limits, *, expected: bool) -> None:
    taken = Reserved.by(beside)
    for claimed in ahead:
        taken.reserve(claimed)
    assert has_room(wanted, taken, limits) is expected
    assert not (expected and is_full(taken, limits))


def test_a_stage_that_wants_two_names_is_not_overtaken_for_ever() -> None:
    """Holders of one name and of the other take turns; between them there is never a moment with both free."""
    waiting = [claim("both", 1, None, "a", "b"), *[claim(f"s{n}", 1, None, "ab"[n % 2]) for n in range(6)]]
    running = [claim("first", 1, None, "a"), claim("second", 1, None, "b")]
    order = []
    while waiting or running:
        taken = Reserved.by(running)
        for wanted in list(waiting):
            if has_room(wanted, taken, MANY):
                taken.start(wanted)
                waiting.remove(wanted)
                running.append(wanted)
                order.append(wanted.group)
            else:
                taken.reserve(wanted)
        running.pop(0)
    assert order == ["both", *(f"s{n}" for n in range(6))]


def test_how_many_start_together() -> None:
    assert together([claim("a", 1, 2)] * 5) == 2
    assert (
        together([claim("a", 1, None, "x"), claim("b", 1, None, "x", "y"), claim("c", 1, None, "y"), claim("d")]) == 2
    )


def failed(code: int | None, *, timed_out: bool = False) -> StageResult:
    return StageResult(
        address="s",
        attempt=1,
        state=StageState.FAILED,
        node="",
        seconds=0,
        workspace="",
        exit_code=code,
        timed_out=timed_out,
    )


def lost(*, out_of_memory: bool = False) -> Lost:
    return Lost(address="s", attempt=1, why="", out_of_memory=out_of_memory)


@pytest.mark.parametrize(
    ("end", "tries", "retries", "expected"),
    [
        (failed(1), retry.Tries(), Retries(), None),
        (failed(1), retry.Tries(), Retries(max=1), 0),
        (failed(1), retry.Tries(failed=1), Retries(max=1), None),
        (failed(None), retry.Tries(), Retries(max=1), None),
        (failed(0), retry.Tries(), Retries(max=1), None),
        (failed(1), retry.Tries(), Retries(max=1, exit_codes=(2, 137)), None),
        (failed(2), retry.Tries(), Retries(max=1, exit_codes=(2, 137)), 0),
        (failed(0), retry.Tries(), Retries(max=1, exit_codes=(1,)), None),
        (failed(-9), retry.Tries(), Retries(max=1, exit_codes=(137,)), 0),
        (failed(137), retry.Tries(), Retries(max=1, exit_codes=(-9,)), 0),
        (failed(-15, timed_out=True), retry.Tries(), Retries(max=1), None),
        (failed(-15, timed_out=True), retry.Tries(), Retries(max=1, exit_codes=(-15,)), None),
        (failed(-15, timed_out=True), retry.Tries(), Retries(max=1, exit_codes=(1,), timeout=True), 0),
        (failed(1), retry.Tries(failed=1), Retries(max=3, delay=10), 10),
        (failed(1), retry.Tries(failed=1), Retries(max=3, delay=10, delay_grows=True), 20),
        (lost(), retry.Tries(), Retries(), 0),
        (lost(), retry.Tries(lost=3), Retries(max=9), None),
        (lost(), retry.Tries(failed=1), Retries(max=3, delay=10), 0),
        (lost(out_of_memory=True), retry.Tries(), Retries(), None),
        (lost(out_of_memory=True), retry.Tries(), Retries(max=1), 0),
        (lost(out_of_memory=True), retry.Tries(), Retries(max=1, exit_codes=(137,)), 0),
        (lost(out_of_memory=True), retry.Tries(), Retries(max=1, exit_codes=(1,)), None),
    ],
)
def test_again(end: StageResult | Lost, tries: retry.Tries, retries: Retries, expected: float | None) -> None:
    assert retry.again(end, tries, StageSettings(retries=retries)) == expected


def test_what_grows() -> None:
    first = StageSettings(num_cpus=2, num_gpus=1, memory=100, grows=("memory", "num_cpus"), retries=Retries(max=2))
    tries = retry.Tries()
    asked = []
    for end in (lost(), failed(1), lost(out_of_memory=True)):
        asked.append(retry.grown(first, tries))
        tries = retry.count(end, tries)
    asked.append(retry.grown(first, tries))
    assert [(each.num_cpus, each.num_gpus, each.memory) for each in asked] == [
        (2, 1, 100),
        (2, 1, 100),
        (4, 1, 200),
        (6, 1, 300),
    ]
    assert retry.largest(first) == asked[-1]


NODE = fit.Node(
    total={"CPU": 4, "memory": 2**31, "accelerator_type:A100": 1, "GPU": 1}, labels={"ray.io/node-id": "n", "zone": "a"}
)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (StageSettings(num_cpus=4, num_gpus=1, memory=2**31, accelerator_type="A100"), ""),
        (StageSettings(label_selector=(("zone", "in(a,b)"), ("x", "!y"))), ""),
        (StageSettings(num_cpus=5), "it asks for 5 CPU, but this machine has 4"),
        (StageSettings(num_gpus=2), "it asks for 2 GPU, but this machine has 1"),
        (StageSettings(resources=(("tpu", 1),)), "it asks for 1 tpu, but this machine has 0"),
        (StageSettings(memory=3 * 2**30), "it asks for 3.0 GiB of memory, but Ray has 2.0 GiB to give on this machine"),
        (
            StageSettings(accelerator_type="H100"),
            "it asks for the accelerator 'H100', but this machine has A100",
        ),
        (
            StageSettings(label_selector=(("zone", "b"),)),
            "it asks for a node with label 'zone': 'b', but this machine is 'a'",
        ),
        (
            StageSettings(label_selector=(("spot", "yes"),)),
            "it asks for a node with label 'spot': 'yes', but this machine has no such label",
        ),
    ],
)
def test_what_a_machine_lacks(wanted: StageSettings, expected: str) -> None:
    found = fit.lack(wanted, NODE)
    assert str(found or "").startswith(expected)
    assert bool(found) is bool(expected)


def test_an_accelerator_that_nobody_knows() -> None:
    known = ["A100", "H100", "GeForce-RTX-5090"]
    assert fit.doubt("H100", known) == ""
    assert fit.doubt("h100", known).endswith("Did you mean 'H100'?")
    assert "Did you mean" not in fit.doubt("quantum", known)
