"""All commands and flags, and the typed namespace they are parsed into."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, NoReturn

from dvc_ray._version import __version__
from dvc_ray.errors import BadArgumentError, UnsupportedError
from dvc_ray.settings.failures import RefusedError
from dvc_ray.settings.schema import SETTINGS, Setting

_NOT_HERE: Final = {
    "--queue": "Queue it with DVC: dvc exp run --queue …",
    "--run-all": "Run the queue with DVC: dvc exp run --run-all",
}
"""Flags of ``dvc exp run`` that this version refuses by name, with what to use instead."""


class Arguments(argparse.Namespace):
    """A parsed command line."""

    command: tuple[str, str]
    """Module and function of the command; `run` imports the module, as that imports this one."""
    prog: str = "dvc-ray"
    """The command as it is called: ``dvc-ray exp run``."""
    verbose: bool = False
    quiet: bool = False
    json: bool = False
    targets: Sequence[str]
    force: bool
    single_item: bool
    pipeline: bool
    all_pipelines: bool
    recursive: bool
    glob: bool = False
    downstream: bool
    dry: bool
    on_error: str
    interactive: bool
    force_downstream: bool
    pull: bool
    allow_missing: bool
    no_run_cache: bool = False
    no_commit: bool = False
    set_param: Sequence[str]
    name: str | None
    message: str | None
    temp: bool
    copy_paths: Sequence[str]
    no_hydra: bool
    address: str | None
    directory: str | None
    run: str


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
    _add_exp(commands)
    _add_job(commands)
    _add_demo(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Raises rather than exits: only `main` exits, with DVC's code for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        raise BadArgumentError(message, f"See: {self.prog} --help")


class _Refused(argparse.Action):
    """A flag that DVC has and this version does not."""

    def __call__(self, _parser: object, _namespace: object, _values: object, option: str | None = None) -> None:
        name = next(flag for flag in self.option_strings if flag.startswith("--"))
        raise UnsupportedError(f"'{option}' of `dvc exp run` is not in this version of dvc-ray", _NOT_HERE[name])


def _add_repro(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "repro",
        help="Reproduce complete or partial pipelines, independent stages at the same time.",
        description="Reproduce complete or partial pipelines as `dvc repro` does, independent stages at the same time,"
        " each in a workspace of its own. What it leaves is what `dvc repro` leaves.",
    )
    group = _add_selection(parser)
    group.add_argument("--glob", action="store_true", help="targets may hold shell-style wildcards")
    group = _add_running(parser)
    group.add_argument(
        "--no-run-cache", action="store_true", help="run commands even if the run cache has their results"
    )
    group.add_argument("--no-commit", action="store_true", help="do not put outs into the cache")
    group.add_argument(
        "--debug",
        metavar="STAGE",
        help="run one stage, changed or not, without Ray, in this process and with this terminal, so that a"
        " 'breakpoint()' in its command stops there",
    )
    _add_common(parser)
    parser.set_defaults(command=("repro", "run"))


def _add_exp(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser("exp", aliases=["experiments"], help="Run experiments.")
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    parser = inner.add_parser(
        "run",
        help="Run an experiment.",
        description="Run an experiment as `dvc exp run` does, independent stages at the same time. It runs apart from"
        " your workspace, is saved as a commit of its own, and is then applied to your workspace if you have not"
        " changed that meanwhile.",
    )
    group = parser.add_argument_group("the experiment")
    group.add_argument("-n", "--name", metavar="NAME", help="its name; if not given, one is made", default=None)
    group.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="[FILE:]PARAM=VALUE",
        help="use this value of a param, in Hydra's override syntax; may be repeated",
    )
    group.add_argument("-m", "--message", metavar="TEXT", help="message of its commit")
    group.add_argument("-M", dest="message", help=argparse.SUPPRESS)
    group.add_argument("--temp", action="store_true", help="leave the workspace as it is")
    group.add_argument(
        "-C",
        "--copy-paths",
        action="append",
        default=[],
        metavar="PATH",
        help="with --temp: an ignored or untracked path that it gets a copy of; may be repeated",
    )
    group.add_argument(
        "--no-hydra", action="store_true", help="do not compose params.yaml with Hydra, though hydra.enabled is set"
    )
    _add_selection(parser)
    _add_running(parser)
    _add_common(parser)
    for flag in _NOT_HERE:
        parser.add_argument(flag, action=_Refused, nargs=0, help=argparse.SUPPRESS)
    parser.set_defaults(command=("exp", "run"))


def _add_selection(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("which stages")
    group.add_argument(
        "targets",
        nargs="*",
        help="stages to reproduce, './dvc.yaml' by default: names of stages, paths to a dvc.yaml or .dvc file, or"
        " 'path/dvc.yaml:name'",
    )
    group.add_argument(
        "-s", "--single-item", action="store_true", help="stages by themselves, without what they depend on"
    )
    group.add_argument("-p", "--pipeline", action="store_true", help="the whole pipelines that the targets belong to")
    group.add_argument("-P", "--all-pipelines", action="store_true", help="all pipelines of the project")
    group.add_argument("-R", "--recursive", action="store_true", help="all stages in the given directories")
    group.add_argument("--downstream", action="store_true", help="the targets and what depends on them")
    return group


def _add_running(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("how")
    group.add_argument("-f", "--force", action="store_true", help="run stages that have not changed, too")
    group.add_argument(
        "--force-downstream", action="store_true", help="run all that depends on a stage that has run, changed or not"
    )
    group.add_argument("-i", "--interactive", action="store_true", help="ask before each stage")
    group.add_argument("--dry", action="store_true", help="only print what would run, why, and what at the same time")
    group.add_argument("--pull", action="store_true", help="bring missing data from the remote")
    group.add_argument(
        "--allow-missing", action="store_true", help="skip stages whose data is missing but that have not changed"
    )
    group.add_argument(
        "-k",
        "--keep-going",
        action="store_const",
        const="keep-going",
        default="fail",
        dest="on_error",
        help="after a failure go on with what does not depend on it",
    )
    group.add_argument(
        "--ignore-errors",
        action="store_const",
        const="ignore",
        dest="on_error",
        help="after a failure go on with all, and end as if there was none",
    )
    return group


def _add_common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("on Ray")
    for setting in SETTINGS.values():
        if setting.flags:
            _add_setting(group, setting, setting.help)
    group.add_argument("--json", action="store_true", help="print one JSON object an event")
    much = group.add_mutually_exclusive_group()
    much.add_argument("-q", "--quiet", action="store_true", help="print only what goes wrong")
    much.add_argument("-v", "--verbose", action="store_true", help="show where an error comes from")
    parser.set_defaults(prog=parser.prog)


def _add_setting(group: argparse._ActionsContainer, setting: Setting, text: str) -> None:
    """Add the flag of a setting; if it is left out, its value is None and other sources decide."""

    def read(value: str) -> object:
        try:
            return setting.read(value)
        except RefusedError as error:
            raise BadArgumentError(f"{setting.flags[-1]} {error.what}", error.hint) from None

    group.add_argument(*setting.flags, dest=setting.name, type=read, metavar=setting.metavar, help=text)


def _add_job(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser("job", help="See and stop the runs on a cluster.")
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    listing = inner.add_parser(
        "list",
        help="List the runs on a cluster.",
        description="List the runs of dvc-ray on a cluster, everybody's.",
    )
    listing.set_defaults(command=("job", "show"))
    stopping = inner.add_parser(
        "stop",
        help="Stop a run on a cluster.",
        description="Stop a run on a cluster as Ctrl-C does where it was started: its commands are ended, what is"
        " finished is kept. If it is another user's, you are asked.",
    )
    stopping.add_argument("run", metavar="RUN", help="its id, as `dvc-ray job list` has it")
    stopping.add_argument("-f", "--force", action="store_true", help="do not ask")
    stopping.set_defaults(command=("job", "stop"))
    for each in (listing, stopping):
        _add_setting(each, SETTINGS["address"], "the Ray cluster (default: $RAY_ADDRESS)")
        each.add_argument("--json", action="store_true", help="print JSON")
        each.add_argument("-v", "--verbose", action="store_true", help="show where an error comes from")


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
    parser.set_defaults(command=("demo", "run"))
