"""The command line: the one place that prints and exits.

Nothing heavy is imported before a command runs: ``dvc-ray --help`` loads neither Ray, DVC nor rich.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence

from dvc_ray.cli.parser import Arguments, make_parser
from dvc_ray.errors import DvcRayError, RunInterruptedError

__all__ = ["main", "run"]

_UNEXPECTED = "What is finished is kept. Run it again with -v to see where this comes from."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: Arguments; default those of the process.

    Returns:
        The exit code; DVC's own where DVC has one.
    """
    arguments = Arguments()
    try:
        make_parser().parse_args(argv, namespace=arguments)
        # Ends like Ctrl-C: commands are stopped, nothing is left behind.
        signal.signal(signal.SIGTERM, _interrupt)
        return run(arguments)
    except DvcRayError as error:
        _show(error, verbose=arguments.verbose)
        return error.exit_code
    except KeyboardInterrupt:
        print("ERROR: interrupted by the user", file=sys.stderr)
        return RunInterruptedError.exit_code
    except BrokenPipeError:
        # Python flushes at exit: give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001  the edge: a disk that is full, a bug
        what = f"unexpected error: {error or type(error).__name__}"
        _show(DvcRayError(what, _UNEXPECTED), verbose=arguments.verbose, cause=error)
        return DvcRayError.exit_code


def run(arguments: Arguments) -> int:
    """Run a parsed command line; raises what `main` turns into a message and an exit code."""
    return arguments.func(arguments)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _show(error: DvcRayError, *, verbose: bool, cause: Exception | None = None) -> None:
    if verbose:
        traceback.print_exception(cause or error)
    print(f"ERROR: {error.what}", file=sys.stderr)
    if error.hint:
        print(error.hint, file=sys.stderr)
