"""All commands and flags, and the typed namespace they are parsed into."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, NoReturn

from dvc_ray._version import __version__
from dvc_ray.errors import BadArgumentError, UnsupportedError

_NOT_YET: Final = {
    "--pull": "Bring missing data first: dvc pull",
    "--allow-missing": "Bring missing data first: dvc pull",
    "--no-commit": "Use dvc repro --no-commit.",
    "--interactive": "Look at the plan first: dvc-ray repro --dry",
    "--force-downstream": "Name the stages after it: dvc-ray repro --force --downstream <stage>",
    "--ignore-errors": "Use --keep-going, which skips only what depends on a failed stage.",
}
"""Flags of ``dvc repro`` that this version refuses by name, with what serves instead."""


class Arguments(argparse.Namespace):
    """A parsed command line."""

    func: Callable[[Arguments], int]
    verbose: bool = False
    json: bool = False
    targets: Sequence[str]
    force: bool
    single_item: bool
    pipeline: bool
    all_pipelines: bool
    recursive: bool
    glob: bool
    downstream: bool
    dry: bool
    keep_going: bool
    no_run_cache: bool
    jobs: int | None
    address: str | None
    directory: str | None


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of ``dvc-ray``."""
    parser = _Parser(
        prog="dvc-ray",
        description="Run the stages of a DVC project on Ray: in parallel, on this machine or on a cluster.",
        epilog="A command's own help: dvc-ray COMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"dvc-ray {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    _add_repro(commands)
    _add_demo(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Raises rather than exits: only `main` exits, with DVC's code for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        raise BadArgumentError(message, f"See: {self.prog} --help")


class _Refused(argparse.Action):
    """A flag that DVC has and this version has not."""

    def __call__(self, _parser: object, _namespace: object, _values: object, option: str | None = None) -> None:
        name = next(flag for flag in self.option_strings if flag.startswith("--"))
        raise UnsupportedError(f"'{option}' of `dvc repro` is not in this version of dvc-ray.", _NOT_YET[name])


def _command(module: str, name: str) -> Callable[[Arguments], int]:
    """A command whose module is imported when it runs."""

    def run(arguments: Arguments) -> int:
        return int(getattr(import_module(f"dvc_ray.cli.{module}"), name)(arguments))

    return run


def _add_repro(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "repro",
        help="Reproduce complete or partial pipelines, independent stages at the same time.",
        description="Reproduce complete or partial pipelines as `dvc repro` does, independent stages at the same time,"
        " each in a workspace of its own. What it leaves is what `dvc repro` leaves.",
    )
    _add_selection(parser)
    _add_running(parser)
    for flag in _NOT_YET:
        short = ["-i"] if flag == "--interactive" else []
        parser.add_argument(*short, flag, action=_Refused, nargs=0, help=argparse.SUPPRESS)
    parser.set_defaults(func=_command("repro", "run"))


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which stages")
    group.add_argument(
        "targets",
        nargs="*",
        help="stages to reproduce, './dvc.yaml' by default: names of stages, paths to a dvc.yaml or .dvc file, or"
        " 'path/dvc.yaml:name'",
    )
    group.add_argument("-s", "--single-item", action="store_true", help="only the targets, without what they depend on")
    group.add_argument("-p", "--pipeline", action="store_true", help="the whole pipelines that the targets belong to")
    group.add_argument("-P", "--all-pipelines", action="store_true", help="all pipelines of the project")
    group.add_argument("-R", "--recursive", action="store_true", help="all stages in the given directories")
    group.add_argument("--glob", action="store_true", help="targets may hold shell-style wildcards")
    group.add_argument("--downstream", action="store_true", help="the targets and what depends on them")


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how")
    group.add_argument("-f", "--force", action="store_true", help="run stages that have not changed, too")
    group.add_argument("--dry", action="store_true", help="only print what would run, why, and what at the same time")
    group.add_argument(
        "-k",
        "--keep-going",
        action="store_true",
        help="after a failure go on with what does not depend on it",
    )
    group.add_argument(
        "--no-run-cache", action="store_true", help="run commands even if the run cache has their results"
    )
    group.add_argument(
        "-j",
        "--jobs",
        type=int,
        metavar="N",
        help="at most N stages at the same time (default: what the cores allow)",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="Ray cluster to run on (default: $RAY_ADDRESS, else a local Ray that is stopped at the end)",
    )
    group.add_argument("--json", action="store_true", help="print one JSON object an event")
    group.add_argument("-v", "--verbose", action="store_true", help="show where an error comes from")


def _add_demo(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="Make an example project and run it: tune and train a small network.",
        description="Make a Git and DVC project from the example of the package (data preparation, hyper-parameter"
        " search with Ray Tune, distributed training with Ray Train, evaluation), run it and show the result.",
    )
    parser.add_argument(
        "directory", nargs="?", metavar="DIR", help="where to make it; kept (default: a new temporary one)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show where an error comes from")
    parser.set_defaults(func=_command("demo", "run"))
