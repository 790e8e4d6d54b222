"""The command line: the one place that prints and exits.

Nothing heavy is imported before a command runs: ``dvc-ray --help`` loads neither Ray, DVC nor rich.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from dvc_ray.cli.parser import Arguments, make_parser
from dvc_ray.errors import IN_CAUSE, DvcRayError, RayDiedError, RunInterruptedError

__all__ = ["main", "run"]

_UNEXPECTED = "Run it again with -v to see where this comes from."


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
        # These end like Ctrl-C, and so does a terminal that is closed: commands are stopped, nothing is left behind.
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, _interrupt)
        return run(arguments)
    except RayDiedError as error:
        code = _end(error, arguments)
        # Ray's threads in this process would end it with a segmentation fault when Python takes it down (2.60.0).
        sys.stdout.flush()
        os._exit(code)
    except DvcRayError as error:
        return _end(error, arguments)
    except KeyboardInterrupt:
        return _end(RunInterruptedError("interrupted by the user"), arguments)
    except BrokenPipeError:
        # Python flushes at exit: give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001  the edge: a disk that is full, a bug
        if isinstance(error, OSError) and error.errno == errno.EIO:  # a terminal that was closed
            return RunInterruptedError.exit_code
        what = f"unexpected error: {error or type(error).__name__}"
        return _end(DvcRayError(what, _UNEXPECTED), arguments, cause=error)


def run(arguments: Arguments) -> int:
    """Run a parsed command line; raises what `main` turns into a message and an exit code."""
    return arguments.func(arguments)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _end(error: DvcRayError, arguments: Arguments, cause: Exception | None = None) -> int:
    """Say what ended the command, on a terminal that may be gone; the exit code."""
    hint = error.hint.replace(IN_CAUSE, f"with `{arguments.prog} -v`")
    with contextlib.suppress(OSError):
        if arguments.verbose and not isinstance(error, RunInterruptedError):
            traceback.print_exception(cause or error)
        print("\n".join(filter(None, [f"ERROR: {error.what}", hint])), file=sys.stderr)
    if arguments.json:
        from dvc_ray.cli.output import events

        with contextlib.suppress(OSError):
            print(events.error(error, hint), flush=True)
    return error.exit_code
