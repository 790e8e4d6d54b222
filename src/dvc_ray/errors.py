"""All errors that dvc-ray raises.

    DvcRayError                255  the root: catch this one
     ├─ BadArgumentError       254  the command line
     ├─ ConfigError            251  a setting: meta.ray, ray.toml
     ├─ NotAProjectError       253  no DVC project here
     ├─ ProjectError           255  dvc.yaml, targets, graph: what DVC itself rejects
     ├─ UnsupportedError       255  a feature that dvc-ray does not support yet; the message names it
     ├─ MissingDependencyError 255  a package is not installed, or too new for DVC
     ├─ ClusterError           255  Ray cannot be started or reached
     │   └─ RayDiedError       255  Ray died during a run
     ├─ StorageError           255  a remote refuses, or cannot be used
     │   ├─ DeniedError        255  the credentials lack a permission
     │   ├─ UnreachableError   255  it cannot be reached, now or from that machine
     │   ├─ ObjectMissingError 255  it lacks an object
     │   └─ CorruptObjectError 255  the content of an object does not match its name
     ├─ StageFailedError       255  a stage's command or its result failed
     ├─ RunInterruptedError    252  Ctrl-C, or `dvc-ray job stop`
     └─ LiveError              255  wrong use of the functions for training code

The codes are DVC's own (``dvc.cli``, 3.67.1). Arguments are kept as given and formatted in ``__str__``: an exception
that formats in ``__init__`` does not survive pickling, and these cross processes. Only passwords in URLs are removed
at once, so that none is shown wherever the error ends up.
"""

from __future__ import annotations

from typing import ClassVar, Final

from dvc_ray.redact import public

__all__ = [
    "BadArgumentError",
    "ClusterError",
    "ConfigError",
    "CorruptObjectError",
    "DeniedError",
    "DvcRayError",
    "LiveError",
    "MissingDependencyError",
    "NotAProjectError",
    "ObjectMissingError",
    "ProjectError",
    "RayDiedError",
    "RunInterruptedError",
    "StageFailedError",
    "StorageError",
    "UnreachableError",
    "UnsupportedError",
]


IN_CAUSE: Final = "in the `__cause__` of this error"
"""Part of a hint: where users of the library find more. The command line replaces it with what to run instead."""


class DvcRayError(Exception):
    """An error with what happened and why, and what to run next.

    Args:
        what: What happened and why, one or more lines.
        hint: What to run or change next; printed on a line of its own.
    """

    exit_code: ClassVar[int] = 255

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(public(what), public(hint))

    @property
    def what(self) -> str:
        """What happened and why."""
        return str(self.args[0])

    @property
    def hint(self) -> str:
        """What to run or change next; may be empty."""
        return str(self.args[1])

    def __str__(self) -> str:
        """Both parts, for logs and library users."""
        return f"{self.what}\n{self.hint}" if self.hint else self.what


class BadArgumentError(DvcRayError):
    """The command line asks for something impossible."""

    exit_code = 254


class ConfigError(DvcRayError):
    """A setting is unknown or has the wrong type."""

    exit_code = 251


class NotAProjectError(DvcRayError):
    """There is no DVC project here."""

    exit_code = 253


class ProjectError(DvcRayError):
    """DVC rejects the project: dvc.yaml, a target, the graph, missing data."""


class UnsupportedError(DvcRayError):
    """The project uses a feature that dvc-ray does not support yet."""


class MissingDependencyError(DvcRayError):
    """A package is not installed, or too new for the DVC that is."""


class ClusterError(DvcRayError):
    """Ray cannot be started or reached."""


class RayDiedError(ClusterError):
    """Ray died during a run: this process must not call Ray any more, not even to shut it down."""


class StorageError(DvcRayError):
    """A remote refuses, or cannot be used."""


class DeniedError(StorageError):
    """The credentials for a remote lack a permission."""


class UnreachableError(StorageError):
    """A remote cannot be reached, now or from here."""


class ObjectMissingError(StorageError):
    """An object is not in a remote."""


class CorruptObjectError(StorageError):
    """The content of an object in a remote does not match its name."""


class StageFailedError(DvcRayError):
    """One or more stages failed; the message of each has been shown already."""


class RunInterruptedError(DvcRayError):
    """The user, or another user of the cluster, stopped the run."""

    exit_code = 252


class LiveError(DvcRayError):
    """A function for training code is used where it cannot work."""
