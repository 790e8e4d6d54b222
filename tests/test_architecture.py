"""ARCHITECTURE.md, the layers of the linter and the package name the same rooms."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvc_ray import errors
from dvc_ray.values import wire
from dvc_ray.values.stage import StageState
from tests import make_reference

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "dvc_ray"
OF_RAY_TO_USERS = {"RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USAGE_STATS_ENABLED"}
"""Variables of the environment that Ray documents."""
PRIVATE_OF_RAY = re.compile(
    r"ray\.(.+\.)?(_\w+|experimental|core|internal_kv)(\..+)?|ray\.io/.*|node:__.*|RAY_[A-Za-z]\w+"
)
NOT_ROOMS = {"__init__", "__main__", "_version", "example", "py.typed", "__pycache__"}


def rooms() -> set[str]:
    return {path.stem if path.suffix == ".py" else path.name for path in PACKAGE.iterdir()} - NOT_ROOMS


def documented_layers() -> list[set[str]]:
    table = (ROOT / "ARCHITECTURE.md").read_text().split("| room |")[1].split("\n\n")[0]
    return [set(re.findall(r"`(\w+)`", line.split("|")[1])) for line in table.splitlines()[2:]]


def test_the_table_of_rooms_is_the_package() -> None:
    assert set.union(*documented_layers()) == rooms()


def test_the_table_of_rooms_is_what_the_linter_checks() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [set(re.split(r"\s*\|\s*", layer)) for layer in contracts[0]["layers"]]
    assert layers == documented_layers()


def texts_in(tree: ast.Module) -> Iterator[str]:
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def named_in(tree: ast.Module) -> Iterator[str]:
    """What a module names: texts, imports, attributes; if it uses Ray, also the keywords of calls."""
    yield from texts_in(tree)
    uses_ray = "import ray" in ast.unparse(tree) or "from ray" in ast.unparse(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.keyword) and uses_ray and node.arg is not None:
            yield f"ray.{node.arg}"


@pytest.mark.parametrize(
    "code",
    [
        "import ray._private.worker",
        "from ray import _raylet",
        "from ray.experimental.internal_kv import _internal_kv_get",
        "from ray.experimental import internal_kv",
        "from ray.train._internal.session import get_session",
        "from ray.train.v2._internal.constants import is_v2_enabled",
        "from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply",
        "import ray; ray._private.state.jobs()",
        "from ray.util import strategy; strategy(node, _spill_on_unavailable=True)",
        "'ray.train._internal.session' in modules",
        "label = 'ray.io/node-id'",
        "'node:__internal_head__' in resources",
        "pid = environ['RAY_RAYLET_PID']",
    ],
)
def test_what_is_private_of_ray_is_recognized(code: str) -> None:
    assert any(PRIVATE_OF_RAY.fullmatch(name) for name in named_in(ast.parse(code)))


def test_only_ray_api_names_what_is_private_of_ray() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), name)
        for path in PACKAGE.rglob("*.py")
        for name in named_in(ast.parse(path.read_text()))
        if PRIVATE_OF_RAY.fullmatch(name) and name not in OF_RAY_TO_USERS and PACKAGE / "example" not in path.parents
    }
    assert {each for each in found if not each[0].startswith("ray_api/")} == set()
    assert len(found) > 10, "or it finds nothing at all"


def test_no_module_is_named_by_a_text() -> None:
    """The linter would not see it. Only `dvc_ray` does it, for names that it also imports for type checkers."""
    found = {
        (str(path.relative_to(PACKAGE)), name)
        for path in PACKAGE.rglob("*.py")
        for name in texts_in(ast.parse(path.read_text()))
        if re.fullmatch(r"dvc_ray(\.\w+)+", name)
    }
    assert {path for path, _ in found} == {"__init__.py"}


def test_no_module_imports_from_a_package_around_it() -> None:
    """The linter sees circles of modules side by side, not that of a package with one in it."""
    for path in PACKAGE.rglob("*.py"):
        around = {".".join(parent.relative_to(PACKAGE.parent).parts) for parent in path.parents if parent >= PACKAGE}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in around:
                folder = PACKAGE.parent / node.module.replace(".", "/")
                for each in node.names:
                    assert (folder / each.name).is_dir() or (folder / f"{each.name}.py").is_file(), (path, each.name)


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), (document, target)


def test_every_setting_and_flag_is_documented() -> None:
    from dvc_ray.settings import meta_ray

    page = (ROOT / "docs/reference/meta-ray.md").read_text()
    for name in meta_ray._READERS:
        assert f"| `{name}` |" in page, name
    assert make_reference.SETTINGS_PAGE.read_text() == make_reference.settings_text(), "renew it: as the command line's"


def test_every_error_is_documented_with_its_exit_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", (ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE)
    assert rows == [(name, str(getattr(errors, name).exit_code)) for name, _ in rows]
    assert sorted(name for name, _ in rows) == sorted(errors.__all__)


def test_the_index_names_every_page() -> None:
    docs = ROOT / "docs"
    linked = set(re.findall(r"\]\((?!\.\./)([^)#]+\.md)", (docs / "README.md").read_text()))
    assert linked == {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"README.md"}


def test_the_reference_of_the_command_line_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert make_reference.PAGE.read_text() == make_reference.text(), "renew it: python -m tests.make_reference"


def test_every_event_and_state_is_documented() -> None:
    text = (ROOT / "docs/reference/events.md").read_text()
    for name in (*(kind.name for kind in wire.KINDS), "truncated"):
        assert f"| `{name}` |" in text, name
    for state in StageState:
        assert f"`{state.value}`" in text, state


def imported(source: str) -> Iterator[str]:
    """The modules that a module imports, and what it imports from them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_nothing_is_imported_from_a_test_module() -> None:
    """What tests share is in `tests/helpers`: a test module is read, changed and deleted for itself."""
    found = {
        path: set(imported(path.read_text()))
        for path in (*ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/*"))
        if path.suffix == ".py" and "projects" not in path.parts
    }
    assert any("tests.helpers.stock" in names for names in found.values())
    for path, names in found.items():
        parts = {part for name in names if name.startswith("tests") for part in name.split(".")}
        assert not {part for part in parts if part.startswith("test_") or part == "conftest"}, path


LONGEST_MODULE, LONGEST_FUNCTION = 300, 50
LONGER = {
    "repo/run/tasks.py:make": 70,
}
"""What is longer still, and may not grow: lines by module, or by module and function."""


def test_modules_and_functions_are_short() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name, text = str(path.relative_to(PACKAGE)), path.read_text()
        if name.startswith("example/"):
            continue
        if (lines := text.count("\n")) > LONGEST_MODULE:
            found[name] = lines
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                long = (node.end_lineno or 0) - node.lineno + 1
                if long > LONGEST_FUNCTION:
                    found[f"{name}:{node.name}"] = long
    assert {name: lines for name, lines in found.items() if lines > LONGER.get(name, 0)} == {}
    assert LONGER.keys() <= found.keys(), "what has become short is to be taken out of the list"
