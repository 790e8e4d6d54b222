"""The command line: help, errors and their exit codes, lines and JSON."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dvc_ray import errors
from tests.helpers.projects import CHAIN, Make, chain, one
from tests.helpers.runs import Cli, Here

HEAVY = (
    "print(sorted({name.split('.')[0] for name in sys.modules} & {'ray', 'dvc', 'dvclive', 'rich', 'torch', 'yaml'}))"
)


@pytest.mark.parametrize("code", ["import dvc_ray", "from dvc_ray.cli.options import make_parser; make_parser()"])
def test_nothing_heavy_is_imported(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; {HEAVY}"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("command", [[], ["repro"], ["demo"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    after = f"import sys, atexit; atexit.register(lambda: {HEAVY})"
    code = f"{after}; from dvc_ray.cli import main; main({[*command, '--help']})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: dvc-ray")
    assert done.stdout.endswith("[]\n")


def test_nothing_to_do_does_not_start_ray(project: Make, repro: Callable[..., object]) -> None:
    root = chain(project)
    repro(root)
    code = f"import sys; from dvc_ray.cli import main; main(['repro']); {HEAVY}"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "Data and pipelines are up to date.\n['dvc']\n"


def test_lines_and_json(project: Make, here: Here) -> None:
    root = project({"dvc.yaml": one("echo hello; printf 'no end'; echo > out.txt"), "in.txt": ""})
    done = here(root, "repro", "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["version"] for event in events} == {1}
    assert events[0]["event"] == "plan"
    assert events[-1]["event"] == "end"
    assert events[-1]["ok"] is True
    assert [event["state"] for event in events if event["event"] == "stage"] == ["waiting", "queued", "running", "done"]
    assert "".join(event["text"] for event in events if event["event"] == "output") == "hello\nno end"
    (root / "in.txt").write_text("new")
    done = here(root, "repro", "--force")
    lines = done.stdout.splitlines()
    assert "one | hello" in lines
    assert "one | no end" in lines
    assert any(line.startswith("one: done in") for line in lines)
    assert lines[-1] == "Use `dvc push` to send your updates to remote storage."


def test_failure_on_the_command_line(project: Make, here: Here) -> None:
    root = project({"dvc.yaml": one("echo about; exit 7"), "in.txt": "in"})
    done = here(root, "repro")
    assert done.returncode == 255
    log = next((root / ".dvc/tmp/ray/runs").glob("*/logs/one.1.log")).relative_to(root)
    assert done.stderr.splitlines() == [
        "ERROR: stage 'one' failed: its command exited with 7",
        "  last lines of its output:",
        "    about",
        f"  full log: {log}",
        "ERROR: failed to reproduce 'one'",
        "Fix it and run the same command again: what is done is kept.",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 254, "required: COMMAND"),
        (["repro", "--nope"], 254, "unrecognized arguments: --nope"),
        (["repro", "--jobs", "0"], 254, "--jobs must be a whole number of at least 1"),
        (["exp", "run", "--run-all"], 255, "'--run-all' of `dvc exp run` is not in this version"),
        (["repro", "-q", "-v"], 254, "not allowed with"),
        (["repro", "--address", "ray://h:1"], 255, "is a Ray Client address"),
        (["repro", "missing"], 255, "'missing'"),
    ],
)
def test_errors(project: Make, here: Here, arguments: list[str], code: int, text: str) -> None:
    done = here(chain(project), *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_system_refuses_is_said_in_one_line(project: Make, here: Here) -> None:
    root = chain(project)
    (root / ".dvc/tmp/ray").mkdir(parents=True)
    (root / ".dvc/tmp/ray/runs").write_text("a file where a folder should be")
    done = here(root, "repro")
    assert done.returncode == 255
    assert done.stderr.startswith("ERROR: File exists: ")
    assert "Traceback" not in done.stderr
    assert "Traceback" in here(root, "repro", "-v").stderr


def test_a_pathspec_that_is_too_new_for_an_older_dvc(project: Make, cli: Cli, tmp_path: Path) -> None:
    """What pip installs with ``dvc<3.66`` today: DVC's own error does not say what to do."""
    (tmp_path / "sitecustomize.py").write_text("from pathspec.patterns.gitignore import spec\ndel spec._DIR_MARK\n")
    root = project({"dvc.yaml": one("echo > out.txt"), "in.txt": ""})
    done = cli(root, "repro", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 255
    assert "pip install 'pathspec<1'" in done.stderr


def test_outside_of_a_project(here: Here, tmp_path: Path) -> None:
    done = here(tmp_path, "repro")
    assert done.returncode == 253
    assert "not inside of a DVC repository" in done.stderr


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        ("{num_cpu: 2}", "stage 'one': unknown key 'num_cpu' in 'meta.ray'. Did you mean 'num_cpus'?"),
        ("{num_cpus: many}", "'meta.ray.num_cpus' must be a number of at least 0, or one that grows: 2 * attempt, not"),
        ("{retries: 1.5}", "'meta.ray.retries' must be a whole number of at least 0"),
        ("{memory: 2 bananas}", "'meta.ray.memory' must be a size such as 2GiB"),
        ("{timeout: soon}", "'meta.ray.timeout' must be a duration such as 90s or 1h30m"),
        ("{env: [A]}", "'meta.ray.env' must be a mapping of variable names to values, not a list"),
        ("[1]", "'meta.ray' must be a mapping, not a list"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(project: Make, here: Here, meta: str, text: str) -> None:
    done = here(project({"dvc.yaml": one("touch ran; echo > out.txt", meta), "in.txt": ""}), "repro")
    assert done.returncode == 251
    assert text in done.stderr
    assert "num_cpus" in done.stderr.splitlines()[-1] or "dvc.yaml" in done.stderr.splitlines()[-1]


def test_bad_settings_files(project: Make, here: Here) -> None:
    root = project({"dvc.yaml": CHAIN, "in.txt": "", "params.yaml": "rows: 1\n"})
    (root / ".dvc/ray.toml").write_text("job = 2\n")
    done = here(root, "repro", "--dry")
    assert done.returncode == 251
    assert "unknown setting 'job'" in done.stderr
    assert "Did you mean 'jobs'?" in done.stderr


def test_every_error_has_a_code_and_survives_pickling() -> None:
    import pickle

    kinds = errors.DvcRayError.__subclasses__()
    found: list[type[errors.DvcRayError]] = [
        errors.DvcRayError,
        *kinds,
        *(sub for kind in kinds for sub in kind.__subclasses__()),
    ]
    assert {kind.__name__ for kind in found} == set(errors.__all__)
    for kind in found:
        error = pickle.loads(pickle.dumps(kind("what", "hint")))  # noqa: S301
        assert (error.what, error.hint, str(error)) == ("what", "hint", "what\nhint")
        assert 251 <= kind.exit_code <= 255
        assert f"{kind.__name__} " in (errors.__doc__ or "")
        assert str(kind.exit_code) in (errors.__doc__ or "")


def test_where_more_is_seen_is_true_for_who_reads_it() -> None:
    error = errors.ClusterError("cannot start Ray on this machine", f"See why {errors.IN_CAUSE}.")
    assert str(error).endswith("\nSee why in the `__cause__` of this error.")
    code = f"""
import sys
from dvc_ray import cli, errors
def fail(_arguments):
    raise errors.ClusterError{error.args}
cli.run = fail
sys.exit(cli.main(["exp", "run"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == error.exit_code
    assert done.stderr == "ERROR: cannot start Ray on this machine\nSee why with `dvc-ray exp run -v`.\n"


def test_a_lock_file_with_marks_of_a_merge(project: Make, here: Here) -> None:
    root = project({"dvc.yaml": "stages: {one: {cmd: echo > out.txt, outs: [out.txt]}}"})
    (root / "dvc.lock").write_text("<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: '2.0'\n>>>>>>> other\n")
    done = here(root, "repro")
    assert done.returncode == 255
    assert "If it has marks of a merge conflict" in done.stderr


def test_a_param_without_a_value(project: Make, here: Here) -> None:
    root = project({"dvc.yaml": "stages: {one: {cmd: echo > out.txt, outs: [out.txt]}}", "params.yaml": "lr: 1\n"})
    done = here(root, "exp", "run", "-S", "lr")
    assert done.returncode == 255, "as dvc"
    assert done.stderr.splitlines()[-2:] == [
        "ERROR: Error parsing override 'lr': missing EQUAL at '<EOF>'",
        "Give a param and its value: -S train.lr=0.1",
    ]


def test_a_caller_of_the_command_line_keeps_its_garbage_collector(here: Here, tmp_path: Path) -> None:
    assert gc.isenabled()
    assert here(tmp_path, "repro").returncode == 253
    assert gc.isenabled()
