"""Which folders of this machine all machines of a cluster see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dvc_ray.executors.base import Cluster
from dvc_ray.storage.shared_folder import Reach, Seen, is_there, marked


@contextlib.contextmanager
def seeing(cluster: Cluster) -> Iterator[Reach]:
    """Ask machines whether they see folders of this one; marks that this leaves in them are removed afterwards.

    Yields:
        The function that asks.
    """
    with contextlib.ExitStack() as stack:

        def reach(folder: str, write: bool) -> Seen:  # noqa: FBT001  a `Reach`
            if not write and not is_there(folder):
                return Seen()  # nobody can say whether it would be made where all see it
            mark = stack.enter_context(marked(folder)) if write else ""
            return Seen(mark=mark, lacking=cluster.lacking(folder, mark))

        yield reach
