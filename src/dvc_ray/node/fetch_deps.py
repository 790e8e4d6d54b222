"""Bring deps to a node where only a stage's own workers run: ``python -m dvc_ray.node.fetch_deps``.

Reads JSON from its standard input: `root`, the folder to bring them to; `deps`, with path, MD5 and remote of each;
`remotes`. On a failure, the last line of its standard error says why. Run by `dvc_ray.live.remote`, which gets the name
of this module from the attempt (`executors.ray.task`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

from dvc_ray.errors import DvcRayError
from dvc_ray.node.cache import Node
from dvc_ray.node.eviction import Pin
from dvc_ray.paths import node_folder
from dvc_ray.repo.remote.remotes import open_remote
from dvc_ray.values.task import Remote, Stored


def bring(asked: dict[str, Any]) -> None:
    """Bring deps, each whole or not at all.

    Args:
        asked: The input, as described above.

    Raises:
        StorageError: A dep cannot be brought.
        OSError: The disk is full.
    """
    node = Node(node_folder(os.environ))
    deps = [Stored(path=path, oid=oid, remote=remote) for path, oid, remote in asked["deps"]]
    remotes = {
        each["name"]: Remote(**{**each, "options": tuple(map(tuple, each["options"]))}) for each in asked["remotes"]
    }
    with contextlib.closing(Pin(node.root)) as pin:
        node.fetch(deps, {dep.remote: open_remote(remotes[dep.remote]) for dep in deps}, pin.add)
        for dep in deps:
            _place(node, dep, Path(asked["root"]))


def _place(node: Node, dep: Stored, root: Path) -> None:
    made = root / f".{uuid.uuid4().hex}"
    for _ in node.link(dep, str(made)):
        pass
    (root / dep.path).parent.mkdir(parents=True, exist_ok=True)
    (made / dep.path).replace(root / dep.path)
    shutil.rmtree(made)


def main() -> int:
    """Bring what is asked for; returns the exit code."""
    try:
        bring(json.load(sys.stdin))
    except (DvcRayError, OSError) as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
