"""Translates DVC's exceptions into errors of dvc-ray."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import traceback
from collections.abc import Iterator
from typing import Final

from dvc_ray.errors import (
    ConfigError,
    DvcRayError,
    MissingDependencyError,
    NotAProjectError,
    ProjectError,
)
from dvc_ray.redact import public
from dvc_ray.repo.dvc import yaml_errors

_COLOURS: Final = re.compile("\x1b\\[[0-9;]*m")
"""Colours in DVC's messages about templates (``dvc.parsing.interpolate``, 3.67.1)."""
_GIT: Final = ("scmrepo.", "dulwich.", "pygit2.")
"""Modules through which DVC accesses Git."""
_FIX: Final = "Fix it there, or see with -v where this comes from."
_CAUSES: Final = 4
"""How many messages of a chain of exceptions are shown."""
_BAD_OVERRIDE: Final = "OverrideParseException"
"""Hydra's exception, which DVC lets through (3.67.1); by name, so that not every run imports Hydra."""


def refused_by_dvc(error: DvcRayError) -> bool:
    """Whether DVC, too, would have refused to run the command.

    That Git tracks an out does not count: DVC notices it only after the command has ended.
    """
    from dvc.exceptions import DvcException
    from dvc.output import OutputAlreadyTrackedError

    return isinstance(error.__cause__, DvcException) and not isinstance(error.__cause__, OutputAlreadyTrackedError)


def is_of_command(error: ProjectError) -> bool:
    """Whether DVC rejects the result of a stage because one of its commands has failed."""
    from dvc.stage.exceptions import StageCmdFailedError

    return isinstance(error.__cause__, StageCmdFailedError)


def is_of_missing(error: ProjectError) -> bool:
    """Whether DVC rejects the result of a stage because a dep or an out is missing."""
    from dvc.dependency.base import DependencyDoesNotExistError
    from dvc.dependency.param import MissingParamsFile
    from dvc.output import OutputDoesNotExistError

    return isinstance(error.__cause__, (OutputDoesNotExistError, DependencyDoesNotExistError, MissingParamsFile))


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Turn an exception that DVC raises in the block into an error of dvc-ray; the exception becomes its cause.

    Raises:
        NotAProjectError: There is no DVC project here.
        ConfigError: DVC's configuration is wrong.
        MissingDependencyError: A package that DVC needs is missing, or too new for this DVC.
        ProjectError: Anything else that DVC rejects.
    """
    from dvc.config import ConfigError as DvcConfigError
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc_data.hashfile.build import IgnoreInCollectedDirError
    from scmrepo.exceptions import SCMError

    try:
        yield
    except NotDvcRepoError as error:
        raise NotAProjectError(
            "you are not inside of a DVC repository (checked up to the root of the file system)",
            "Run it inside one, or make one here with `dvc init`.",
        ) from error
    except DvcConfigError as error:
        raise ConfigError(
            f"configuration error: {_placed(error)}", "See the configuration: dvc config --list"
        ) from error
    except (DvcException, SCMError) as error:
        raise ProjectError(*_explain(error)) from error
    except (KeyboardInterrupt, DvcRayError):
        raise
    except RecursionError as error:
        raise ProjectError(f"{culprit(error)} is nested too deeply, or refers to itself") from error
    except ImportError as error:
        raise MissingDependencyError(*_not_imported(error)) from error
    except (OSError, IgnoreInCollectedDirError) as error:
        named = isinstance(getattr(error, "filename", None), (str, bytes))
        raise ProjectError(message(error) if named else _placed(error)) from error
    except Exception as error:
        if (found := _of_others(error)) is None:
            raise
        raise found from error


def quiet() -> None:
    """Let DVC print warnings only: no reports and no progress bars, because dvc-ray shows what a run does.

    Call it after DVC has been imported, because the import sets up DVC's loggers. DVC's progress bars
    (``dvc.progress.Tqdm``, ``dvc_data.callbacks.Tqdm``) look at the level of their module's logger.
    """
    logging.getLogger("dvc").setLevel(logging.WARNING)
    for handler in logging.getLogger("dvc").handlers:
        handler.addFilter(_without_passwords)
    for bars in ("dvc.progress", "dvc_data.callbacks"):
        logging.getLogger(bars).setLevel(logging.CRITICAL)
    watch_no_bars()


def watch_no_bars() -> None:
    """Keep DVC's bars, also those that are not drawn, from starting a thread that watches them (``tqdm.TMonitor``).

    A process with threads cannot be forked safely.
    """
    from dvc.progress import Tqdm
    from dvc_data.callbacks import Tqdm as DataTqdm

    Tqdm.monitor_interval = DataTqdm.monitor_interval = 0


def _without_passwords(record: logging.LogRecord) -> bool:
    """Remove passwords from the URLs in DVC's warnings."""
    record.msg, record.args = public(record.getMessage()), None
    return True


def message(error: BaseException) -> str:
    """The text of an exception and of its causes, as DVC prints them."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(texts) < _CAUSES:
        if text := yaml_errors.explained(cause):  # includes what the causes of `cause` say
            return ": ".join([*texts, text])
        text = _COLOURS.sub("", str(cause)).strip()
        if isinstance(cause, UnicodeEncodeError):  # the text says where a name is not UTF-8, not which name
            text = f"{text}: {cause.object!r}"
        said = any(text in other for other in texts)
        if text and not said and not isinstance(cause, DvcRayError):
            texts.append(text)
        cause = cause.__cause__
    return ": ".join(texts) or type(error).__name__


def _of_others(error: Exception) -> ProjectError | None:
    """Translate another library's exception that DVC lets through; None if the exception is a bug of dvc-ray."""
    if type(error).__name__ == _BAD_OVERRIDE:
        first, _, detail = str(error).partition("\n")
        return ProjectError(f"{first}: {detail.partition(chr(10))[0]}", "Give a param and its value: -S train.lr=0.1")
    if _raised_by_dvc(error):
        return ProjectError(f"DVC cannot process {culprit(error)}: {message(error)}", _FIX)
    return None


def _placed(error: Exception) -> str:
    """The text of an exception, with the file or stage that DVC was processing, if that is known."""
    where = culprit(error, "")
    return f"{where}: {message(error)}" if where else message(error)


def _not_imported(error: ImportError) -> tuple[str, str]:
    if (error.name or "").partition(".")[0] == "pathspec":
        text = f"this DVC does not work with the pathspec that is installed: {error}"
        return text, "DVC before 3.66 needs an older one: pip install 'pathspec<1'"
    # A remote file system that is not installed (dvc_objects.fs.Registry).
    return str(error), "Install it, for example: pip install 'dvc[s3]'"


def _explain(error: Exception) -> tuple[str, str]:
    from dvc.exceptions import CyclicGraphError, OutputDuplicationError, StageNotFoundError
    from dvc.lock import LockError
    from dvc.stage.exceptions import MissingDataSource, StageFileDoesNotExistError, StageNotFound
    from dvc.utils.serialize import YAMLFileCorruptedError
    from dvc.utils.strictyaml import YAMLSyntaxError

    if isinstance(error, YAMLSyntaxError) and not error.hint:
        return message(error), ""  # the message shows the line
    hints: list[tuple[type[Exception], str]] = [
        (MissingDataSource, "Bring it with `dvc pull`, or put it back."),
        (StageNotFound, "See the stages with `dvc stage list --all`."),
        (StageNotFoundError, "See the stages with `dvc stage list --all`."),
        (StageFileDoesNotExistError, "Run the command where it is, or name what there is: `dvc stage list --all`."),
        (CyclicGraphError, "See the graph with `dvc dag`; take one of these deps out in dvc.yaml."),
        (OutputDuplicationError, "Give each out to one stage only in dvc.yaml."),
        (
            YAMLFileCorruptedError,
            "If it has marks of a merge conflict (<<<<<<<), resolve them, and run the same command again.",
        ),
        (LockError, "Another DVC command is at work in this project: run this one again when that has ended."),
    ]
    return message(error), next((hint for kind, hint in hints if isinstance(error, kind)), "")


def culprit(error: BaseException, otherwise: str = "the project") -> str:
    """Name the file or stage that DVC was processing when an exception was raised that is not one of DVC's own.

    The name is read from local variables of the traceback's frames, the innermost first (names as of DVC 3.67.1).
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        if str(frame.f_globals.get("__name__")).startswith(_GIT):
            return "Git's repository, '.git'"
        for name in ("path", "fs_path", "filename", "self", "stage", "dvcfile"):
            if text := _named(frame.f_locals.get(name)):
                return text
    return otherwise


def _named(found: object) -> str:
    """Name a file, a stage, or a dep or out of a stage; empty if the value is none of these."""
    if isinstance(found, str):
        is_file = "\0" not in found and os.path.lexists(found) and not os.path.isdir(found)
        return f"'{os.path.relpath(found)}'" if is_file else ""
    if stage := getattr(found, "stage", None):
        return f"'{found}' of stage '{stage.addressing}'" if hasattr(found, "def_path") else ""
    if address := getattr(found, "addressing", None):
        return f"stage '{address}' of '{os.path.relpath(found.path)}'"  # type: ignore[attr-defined]
    path = getattr(found, "relpath", None)
    return f"'{path}'" if isinstance(path, str) else ""


def _raised_by_dvc(error: BaseException) -> bool:
    """Whether an exception was raised by DVC or a library that it calls, rather than by dvc-ray."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return not str(frame.f_globals.get("__name__", "")).startswith("dvc_ray.")
