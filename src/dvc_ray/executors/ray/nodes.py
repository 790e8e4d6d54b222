"""The nodes of a cluster: which of them Ray knows, and what they report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from dvc_ray.errors import ClusterError
from dvc_ray.executors.placement import versions
from dvc_ray.executors.ray.messages import last_line
from dvc_ray.executors.ray.task import look
from dvc_ray.ray_api.names import NODE_ID
from dvc_ray.storage.shared_folder import answer, is_answered

_PATIENCE: Final = 30.0
"""Seconds for all nodes to answer."""


def alive() -> list[dict[str, Any]]:
    """All nodes that Ray believes to be alive: it takes about a minute to notice one that lost power (2.60)."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def look_over(head: str) -> str:
    """Compare the Python and the packages of nodes with those of this machine.

    Nodes that join later, or are gone when asked, are not waited for: each attempt compares again on its node.

    Args:
        head: Id of the head node, which is not asked.

    Returns:
        Sentences on differences that usually do not matter and on nodes that did not answer; empty if there are none.

    Raises:
        ClusterError: A node cannot run stages.
    """
    names = _names(head)
    answers, silent = _ask(look, dict.fromkeys(names, ()))
    found: list[versions.Machine] = list(answers.values())
    here = look()
    if text := versions.fatal(here, found):
        raise ClusterError(
            f"nodes do not have what stages need: {text}",
            "Install it there (setup_commands of the cluster, its image), or name it in runtime_env of the stages.",
        )
    said = []
    if text := versions.doubts(here, found):
        said.append(f"Versions differ: {text}.")
    if silent:
        who = ", ".join(names[node] for node in silent)
        said.append(f"No answer from {who} in {_PATIENCE:.0f} s: versions there are compared when a stage comes to it.")
    return " ".join(said)


def lacking(head: str, folder: str, mark: str) -> Mapping[str, str]:
    """Ask nodes whether they see a folder of this machine: each reads what is there, and answers by writing to it.

    Args:
        head: Id of the head node, which is not asked.
        folder: The folder.
        mark: Mark in the folder; empty: the folder only has to exist.

    Returns:
        Names of the nodes that do not see it, or do not answer, and why.

    Raises:
        ClusterError: A node does not run the task that it is given.
    """
    names = _names(head)
    answers, silent = _ask(answer, {node: (folder, mark, node) for node in names})
    found = {node: str(why) or _unheard(folder, mark, node) for node, why in answers.items()}
    found |= dict.fromkeys(silent, f"gives no answer within {_PATIENCE:.0f} s")
    return {names[node]: why for node, why in found.items() if why}


def _unheard(folder: str, mark: str, node: str) -> str:
    return "" if is_answered(folder, mark, node) else "writes to another folder of that name"


def _names(head: str) -> dict[str, str]:
    """Host names of the nodes on which stages run, by id."""
    return {node["NodeID"]: str(node["NodeManagerHostname"]) for node in alive() if node["NodeID"] != head}


def _ask(what: Callable[..., Any], nodes: Mapping[str, tuple[str, ...]]) -> tuple[dict[str, Any], list[str]]:
    """Call a function on nodes, with arguments for each.

    Returns:
        The answers, and the nodes that do not answer although Ray believes them to be alive.
    """
    import ray

    ask = ray.remote(max_retries=0, num_cpus=0)(what)
    asked = {node: ask.options(label_selector={NODE_ID: node}).remote(*given) for node, given in nodes.items()}
    deadline = time.monotonic() + _PATIENCE
    found, silent = {}, []
    for node, reply in asked.items():
        try:
            found[node] = ray.get(reply, timeout=max(0.0, deadline - time.monotonic()))
        except ray.exceptions.GetTimeoutError:
            silent.append(node)
            ray.cancel(reply, force=True)
        except ray.exceptions.RayError as error:
            if node in {other["NodeID"] for other in alive()}:
                raise ClusterError(
                    f"a node of the cluster cannot run a task: {last_line(error)}",
                    "Check it with `ray status` and `ray list nodes`; all nodes need the same Python version.",
                ) from error
    return found, silent
