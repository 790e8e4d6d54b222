"""The command line: the one place that prints and exits.

Nothing heavy is imported before a command runs: ``dvc-ray --help`` loads neither Ray, DVC nor rich.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module

from dvc_ray.cli import streams
from dvc_ray.cli.options import Arguments, make_parser
from dvc_ray.errors import IN_CAUSE, DvcRayError, RayDiedError, RunInterruptedError
from dvc_ray.redact import public

__all__ = ["main", "run"]

_OF_OUTPUT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF}
"""System errors that are about the output if they name no file."""
_IN_PLACE = "Fix that, or move away what is in its place; with -v it is said where this comes from."
_UNEXPECTED = "Run it again with -v to see where this comes from."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: Arguments; default those of the process.

    Returns:
        The exit code; DVC's own where DVC has one.
    """
    atexit.register(gc.freeze)  # Python need not look for garbage when it ends: a tenth of a second
    with _collected_late():
        return _main(argv)


@contextlib.contextmanager
def _collected_late() -> Iterator[None]:
    """Look for no garbage until there is a plan (`choose`): what is loaded so far is none. As much time again."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # all of it is old now: the next look is a short one
        if before:
            gc.enable()


def _main(argv: Sequence[str] | None) -> int:
    arguments = Arguments()
    streams.open_all()
    try:
        make_parser().parse_args(argv, namespace=arguments)
        # These signals, the second from a closed terminal, act like Ctrl-C: commands are stopped, nothing is left over.
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, _interrupt)
        _check_directory()
        return run(arguments)
    except RayDiedError as error:
        code = _end(error, arguments)
        # Ray's threads would end this process with a segmentation fault while Python shuts down (2.60.0).
        sys.stdout.flush()
        os._exit(code)
    except DvcRayError as error:
        return _end(error, arguments)
    except KeyboardInterrupt:
        return _end(RunInterruptedError("interrupted by the user"), arguments)
    except BrokenPipeError:
        streams.flush_nowhere(sys.stdout)
        return 128 + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001  the edge: a disk that is full, a bug
        return _end_otherwise(error, arguments)


def run(arguments: Arguments) -> int:
    """Run a parsed command line; raises what `main` turns into a message and an exit code."""
    module, name = arguments.command
    return int(getattr(import_module(f"dvc_ray.cli.commands.{module}"), name)(arguments))


def _end_otherwise(error: Exception, arguments: Arguments) -> int:
    """Report an error that is not dvc-ray's own; return the exit code."""
    if not isinstance(error, OSError):
        what = f"unexpected error: {error or type(error).__name__}"
        return _end(DvcRayError(what, _UNEXPECTED), arguments, cause=error)
    if error.errno == errno.EIO:  # a terminal that was closed
        return RunInterruptedError.exit_code
    code = _end(DvcRayError(_of_system(error), _IN_PLACE), arguments, cause=error)
    if error.filename is None and error.errno in _OF_OUTPUT:
        streams.flush_nowhere(sys.stdout)
    return code


def _check_directory() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise DvcRayError("the working directory does not exist any more", "Change to one that does.") from None


def _of_system(error: OSError) -> str:
    """Describe a system error: with its file, or as one of the output."""
    why = error.strerror or str(error)
    if error.filename is not None:
        return f"{why}: {os.fsdecode(error.filename)!r}"
    return f"cannot write its output: {why}" if error.errno in _OF_OUTPUT else why


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _end(error: DvcRayError, arguments: Arguments, cause: Exception | None = None) -> int:
    """Report the error that ended the command, on a terminal that may be gone; return the exit code."""
    from dvc_ray.cli.output import plain

    hint = error.hint.replace(IN_CAUSE, f"with `{arguments.prog} -v`")
    with contextlib.suppress(OSError):
        if arguments.verbose and not isinstance(error, RunInterruptedError):
            text = public("".join(traceback.format_exception(cause or error)))
            print(plain.lines(text), end="", file=sys.stderr)
        print("\n".join(filter(None, [plain.lines(f"ERROR: {error.what}"), plain.lines(hint)])), file=sys.stderr)
    if arguments.json:
        from dvc_ray.values import report, wire

        event = report.RunError(kind=type(error).__name__, what=error.what, hint=hint, exit_code=error.exit_code)
        with contextlib.suppress(OSError):
            print(plain.dumps(wire.encode_event(event)), flush=True)
    return error.exit_code
