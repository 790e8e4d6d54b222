"""All errors that dvc-ray raises.

    DvcRayError                255  the root: catch this one
     ├─ BadArgumentError       254  the command line
     ├─ ConfigError            251  a setting: meta.ray, ray.toml
     ├─ NotAProjectError       253  no DVC project here
     ├─ ProjectError           255  dvc.yaml, targets, graph: what DVC itself rejects
     ├─ UnsupportedError       255  a feature that dvc-ray does not run yet, refused by name
     ├─ MissingDependencyError 255  a package is not installed, or too new for DVC
     ├─ ClusterError           255  Ray cannot be started or reached
     │   └─ RayDiedError       255  Ray has died under a run
     ├─ StorageError           255  a remote refuses, or cannot be used
     │   ├─ DeniedError        255  it does not let these credentials do that
     │   ├─ UnreachableError   255  it cannot be reached, now or from there
     │   ├─ ObjectMissingError 255  an object is not in it
     │   └─ CorruptObjectError 255  an object is not what its name says
     ├─ StageFailedError       255  a stage's command or its result failed
     ├─ RunInterruptedError    252  Ctrl-C, or `dvc-ray job stop`
     └─ LiveError              255  wrong use of the functions for training code

The codes are DVC's own (``dvc.cli``, 3.67.1). Arguments are kept as given and formatted in ``__str__``: an exception
that formats in ``__init__`` does not survive pickling, and these cross processes. But for URLs: what is said of one is
said without its password, wherever the error ends up.
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
"""Where users of the library see more, in a hint; the command line says how it is shown there."""


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
    """The command line asks for something that cannot be."""

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
    """The project uses something that dvc-ray does not run yet."""


class MissingDependencyError(DvcRayError):
    """A package is not installed, or too new for the DVC that is."""


class ClusterError(DvcRayError):
    """Ray cannot be started or reached."""


class RayDiedError(ClusterError):
    """Ray has died under a run: its parts in this process are not to be used any more, not even to end it."""


class StorageError(DvcRayError):
    """A remote refuses, or cannot be used."""


class DeniedError(StorageError):
    """A remote does not let these credentials do something."""


class UnreachableError(StorageError):
    """A remote cannot be reached, now or from here."""


class ObjectMissingError(StorageError):
    """An object is not in a remote."""


class CorruptObjectError(StorageError):
    """An object of a remote is not what its name says."""


class StageFailedError(DvcRayError):
    """One or more stages failed; the message was already shown with each of them."""


class RunInterruptedError(DvcRayError):
    """The user, or another one of the cluster, stopped the run."""

    exit_code = 252


class LiveError(DvcRayError):
    """A function for training code is used where it cannot work."""
