"""Names of labels and resources of Ray's nodes, for which Ray has no public constants (2.54.0 to 2.60.0)."""

from __future__ import annotations

from typing import Final

NODE_ID: Final = "ray.io/node-id"
"""Label of every node, its value the node's id (``RAY_NODE_ID_KEY`` in ``ray._raylet``, not in 2.54.0).

If Ray used another name, a task that is bound to a node by it would wait for ever.
"""
HEAD: Final = "node:__internal_head__"
"""Resource that only the head node has (``HEAD_NODE_RESOURCE_NAME`` in ``ray._common.constants``).

If Ray used another name, stages of a cluster would run on its head, too.
"""
ACCELERATOR: Final = "accelerator_type:"
"""Prefix of an accelerator's name in the name of the resource that stands for it (``RESOURCE_CONSTRAINT_PREFIX`` in
``ray._common.utils``).

If Ray used another name, a local Ray would be said to lack each accelerator.
"""


def accelerators() -> list[str]:
    """List the accelerators that Ray knows, as ``accelerator_type`` names them.

    The module ``ray.util.accelerators.accelerators`` (2.54.0, 2.60.0); the public package above it lacks some, such as
    ``H200``. Without it, a misspelt accelerator is not noticed on a cluster, and is waited for.
    """
    from ray.util.accelerators import accelerators as known

    return [name for key, name in vars(known).items() if key[0].isupper() and isinstance(name, str)]
