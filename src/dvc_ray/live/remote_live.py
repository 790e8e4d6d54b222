"""DVCLive on another node than the stage: it writes here, and its files are copied to the stage's node.

They are copied after each step, or within a second if a copy was made less than a second ago, and at the end, before
`end` returns. So the stage has what was logged up to a checkpoint when that is reported.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Final

from dvc_ray import env
from dvc_ray.files import Stamp, walk_files
from dvc_ray.live import session
from dvc_ray.live.remote import Place
from dvc_ray.live.stage_live import StageLive

_EVERY: Final = 1.0
"""Seconds from one transfer to the next while it logs."""


class Mirror:
    """A folder of this node whose changes are copied to the stage's node.

    Args:
        live_dir: DVCLive's directory, relative to the stage's.
    """

    def __init__(self, live_dir: str) -> None:
        self._place = Place.here("live")
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._due = 0.0
        cwd = self._place.inside(str(session.stage_dir()))
        project = self._place.inside(os.environ[env.DVC_ROOT])
        self.stage_dir = str(self._place.root / cwd)
        Path(self.stage_dir).mkdir(parents=True, exist_ok=True)
        # DVCLive may read its own files, if it resumes, the dvc.yaml that it rewrites, and DVC's configuration.
        read = (os.path.join(cwd, live_dir), os.path.join(cwd, "dvc.yaml"), os.path.join(project, ".dvc/config.local"))
        self._place.take([os.path.normpath(path) for path in read])
        self._known = self._look()

    def changed(self) -> None:
        """Copy changes, now or within a second."""
        if time.monotonic() >= self._due:
            self.flush()
        elif self._timer is None:
            self._timer = threading.Timer(_EVERY, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Copy all changes.

        Raises:
            LiveError: The stage's node does not answer.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            found = self._look()
            changed = [path for path, stamp in found.items() if self._known.get(path) != stamp]
            deleted = [path for path in self._known if path not in found]
            if changed or deleted:
                self._place.give(changed, deleted)
            self._known = found
            self._due = time.monotonic() + _EVERY

    def _look(self) -> dict[str, Stamp]:
        root = str(self._place.root)
        paths = [path for path in walk_files(root, skip={".dvc"}) if not os.path.isdir(os.path.join(root, path))]
        stamps = {path: Stamp.at(os.path.join(root, path)) for path in paths}
        return {path: stamp for path, stamp in stamps.items() if stamp is not None}  # None: the file has just gone


class AwayLive(StageLive):
    """DVCLive for a stage on another node.

    Args:
        *args: As for DVCLive.
        **kwargs: As for DVCLive.

    Raises:
        LiveError: The stage's node does not answer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        folder = os.fspath(args[0] if args else kwargs.pop("dir", "dvclive"))
        if os.path.isabs(folder):  # a path on the stage's node: use the corresponding one here
            folder = os.path.relpath(folder, session.stage_dir())
        self._mirror = Mirror(folder)
        super().__init__(self._mirror.stage_dir, folder, *args[1:], **kwargs)

    def next_step(self) -> None:
        """End a step."""
        super().next_step()
        self._mirror.changed()

    def end(self) -> None:
        """Write the last files, and copy them to the stage's node."""
        super().end()
        if not self._inside_with:
            self._mirror.flush()
