"""What CI runs of the slow tests, and how tests are spread over processes."""

from __future__ import annotations

from tests.helpers import spreading

NAMES = [f"tests/test_{file}.py::test_{number}" for file in "abc" for number in range(100)]


def test_three_commits_run_all() -> None:
    thirds = [{name for name in NAMES if spreading.is_chosen(name, chosen, long=False)} for chosen in range(3)]
    assert set.union(*thirds) == set(NAMES)
    assert sum(map(len, thirds)) == len(NAMES), "each once"
    assert all(len(each) > 60 for each in thirds)
    assert spreading.third_of_commit() in range(3)


def test_hosts_are_in_each_third_but_for_the_long_ones() -> None:
    name = "tests/hosts/test_faults.py::test_one"
    assert [spreading.is_chosen(name, chosen, long=False) for chosen in range(3)] == [True] * 3
    assert sum(spreading.is_chosen(name, chosen, long=True) for chosen in range(3)) == 1


def test_what_is_expensive_is_made_in_one_process() -> None:
    assert spreading.scope("tests/hosts/test_a.py::test_b") == spreading.scope("tests/hosts/test_c.py::test_d")
    assert spreading.scope("tests/test_demo.py::test_a") == spreading.scope("tests/test_demo.py::test_b[c]")
    assert spreading.scope("tests/test_run.py::test_a") != spreading.scope("tests/test_run.py::test_b")
    assert all((spreading.ROOT / file).exists() for file in spreading.TOGETHER)
    assert all(list(spreading.ROOT.glob(f"{start}*")) for start in spreading.FIRST)


def test_faults_come_first() -> None:
    names = ["tests/test_run.py::a", "tests/hosts/test_testbed.py::a", "tests/hosts/test_faults.py::a"]
    assert sorted(names, key=spreading.turn) == names[::-1]
