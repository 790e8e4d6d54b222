"""Tasks for what is tried without a run."""

from __future__ import annotations

from typing import Any

from dvc_ray.values.task import Remote, RemoteData, StageTask


def task() -> StageTask:
    """A task with secrets in it."""
    texts = ("run_id", "address", "name", "dvcfile", "tree", "home", "project", "cwd", "workspace")
    more = ("log", "kept", "prefix")
    known: dict[str, Any] = dict.fromkeys((*texts, *more), "x")
    known |= dict.fromkeys(("code", "links", "deps", "copies", "outs"), ("a", "b"))
    known |= {
        "attempt": 2,
        "grace": 10.0,
        "definition": {"cmd": "c"},
        "config": {"core": {}},
        "env": (("TOKEN", "secret-value"),),
    }
    remote = Remote(name="r", url="s3://b", options=(("key", "secret-value"),))
    return StageTask(**known, data=RemoteData(remotes=(remote,), deps=(), bring=("a",), signing_key="secret-value"))
