"""ARCHITECTURE.md, the layers of the linter and the package name the same rooms."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "dvc_ray"
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


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), (document, target)


def test_every_setting_and_flag_is_documented() -> None:
    from dvc_ray import settings
    from dvc_ray.config import _TYPES

    text = (ROOT / "docs/reference/meta-ray.md").read_text()
    for name in [*settings._READERS, *_TYPES]:
        assert f"| `{name}` |" in text
