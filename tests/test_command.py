"""One command and all it starts: run to its end, or ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from dvc_ray import forking
from dvc_ray.command import Command, End, Ended, run


@pytest.fixture(autouse=True, params=["forked", "a program"])
def guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to start a command's guard."""
    monkeypatch.setattr(forking, "is_safe", lambda: request.param == "forked")


def sh(tmp_path: Path, script: str, *, stopped=lambda: False, **kwargs: Any) -> tuple[Ended, str]:
    heard: list[str] = []
    ended = run(
        Command(
            argv=["/bin/bash", "-c", script],
            cwd=str(tmp_path),
            env=dict(os.environ),
            log=f"{tmp_path}/log",
            **{"grace": 10, **kwargs},
        ),
        heard=heard.append,
        stopped=stopped,
    )
    return ended, "".join(heard)


def running(tag: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if tag in (process.info["cmdline"] or [])]


@pytest.mark.parametrize(
    ("script", "code"), [("echo hi", 0), ("exit 3", 3), ("kill -9 $$", -9), ("kill -SEGV $$", -11)]
)
def test_returns_what_the_shell_returns(tmp_path: Path, script: str, code: int) -> None:
    ended, _ = sh(tmp_path, script)
    assert ended == Ended(code=code, why=End.EXIT)


def test_output_is_heard_and_logged(tmp_path: Path) -> None:
    _, heard = sh(tmp_path, "echo out; echo err >&2")
    assert heard == "out\nerr\n" == (tmp_path / "log").read_text()


def test_a_missing_shell_is_said(tmp_path: Path) -> None:
    ended = run(
        Command(argv=["/nowhere/sh", "-c", "true"], cwd=str(tmp_path), env={}, log=f"{tmp_path}/log", grace=10),
        heard=lambda _text: None,
        stopped=lambda: False,
    )
    assert ended.code == 127
    assert "No such file" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("leave", ["sleep 7701 &", "setsid sleep 7701 &", "(setsid sh -c 'sleep 7701' &) &"])
def test_nothing_it_starts_outlives_it(tmp_path: Path, leave: str) -> None:
    ended, _ = sh(tmp_path, f"{leave} exit 2")
    assert ended.code == 2
    assert running("7701") == []


def test_time_out(tmp_path: Path) -> None:
    ended, _ = sh(tmp_path, "sleep 7702; true", timeout=0.3)
    assert ended.why is End.TIMEOUT
    assert running("7702") == []


def test_stop_is_sigterm_then_sigkill(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ended, heard = sh(
        tmp_path,
        f"trap 'echo asked' TERM; touch {ready}; while :; do sleep 7703; done",
        stopped=ready.exists,
        grace=0.5,
    )
    assert ended == Ended(code=-signal.SIGKILL, why=End.STOP)
    assert "asked" in heard
    assert running("7703") == []


def test_a_command_that_ends_on_sigterm_is_not_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ended, _ = sh(
        tmp_path, f"trap 'echo bye; exit 7' TERM; touch {ready}; while :; do sleep 0.05; done", stopped=ready.exists
    )
    assert ended == Ended(code=7, why=End.STOP)


def test_dies_with_its_worker(tmp_path: Path) -> None:
    script = (
        "import os, sys; from dvc_ray.command import *\n"
        "run(Command(argv=['bash', '-c', 'echo up; sleep 7704'], cwd='.', env=dict(os.environ),"
        f" log='{tmp_path}/log', grace=10),\n"
        "    heard=lambda text: print(text, flush=True), stopped=lambda: False)"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "up\n"
    victims = running("7704")
    assert victims
    worker.kill()
    worker.wait()
    worker.stdout.close()
    _, alive = psutil.wait_procs(victims, timeout=10)
    assert alive == []


CALLER = """
import os, resource, signal, subprocess, sys
from dvc_ray.command import Command, run
from dvc_ray.command.surroundings import here
show = ["bash", "-c", "grep '^Sig[BI]' /proc/self/status; cat /proc/self/oom_score_adj; ulimit -Sa; ulimit -Ha;"
        " nice; umask; taskset -p $$ | cut -d: -f2; env | grep -v ^_=; ls /proc/self/fd"]
CHANGES
theirs = subprocess.run(show, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
given, env = here(), dict(os.environ)
# What Ray changes, in workers and in the driver
open("/proc/self/oom_score_adj", "w").write("1000")
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGHUP, lambda *_: None)
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
os.umask(0o27)
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ["OMP_NUM_THREADS"] = "1"
heard = []
command = Command(argv=show, cwd=".", env=env, log="log", grace=10, surroundings=given)
run(command, heard=heard.append, stopped=lambda: False)
sys.stdout.write(theirs + "=====" + "".join(heard))
"""


@pytest.mark.parametrize(
    "changes",
    [
        "",
        "for name in ('HUP', 'INT', 'TERM', 'USR1'): signal.signal(getattr(signal, f'SIG{name}'), signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})",
        "open('/proc/self/oom_score_adj', 'w').write('300')",
        "os.nice(3); os.umask(0o77); os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300)); resource.setrlimit(resource.RLIMIT_CORE, (0, 0))",
        "resource.setrlimit(resource.RLIMIT_AS, (2**33, -1))\nresource.setrlimit(resource.RLIMIT_FSIZE, (2**30, -1))",
    ],
)
def test_a_command_is_what_the_caller_is(tmp_path: Path, changes: str) -> None:
    env = {name: text for name, text in os.environ.items() if not name.startswith("LC_")}
    done = subprocess.run(
        [sys.executable, "-c", CALLER.replace("CHANGES", changes)],
        cwd=tmp_path,
        env={**env, "LANG": "C", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs, ours = done.stdout.split("=====")
    assert ours == theirs


def test_a_caller_that_hears_of_no_child_waits_for_the_command_all_the_same(tmp_path: Path) -> None:
    script = (
        "import os, signal; from dvc_ray.command import *\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "print(run(Command(argv=['bash', '-c', 'exit 3'], cwd='.', env=dict(os.environ), log='log', grace=10),"
        " heard=print, stopped=lambda: False).code)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "3\n", done.stderr


def test_signals_are_as_dvc_would_leave_them(tmp_path: Path) -> None:
    """Ray blocks SIGINT in all it starts; a command must not inherit that."""
    show = "grep -E 'Sig(Blk|Ign)' /proc/self/status"
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests by nohup has it ignored
    expected = subprocess.run(["bash", "-c", show], capture_output=True, text=True, check=True).stdout
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGUSR1})
    try:
        _, heard = sh(tmp_path, show)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGHUP, hangup)
    assert heard == expected
