"""What a release and the site say of the project agrees with the project. Needs no network and builds nothing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import coverage_table, release_check, site_pages

from dvc_ray import __version__

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCS = ROOT / "docs"


def test_each_fragment_of_the_changelog_has_a_name_and_a_type_that_towncrier_reads() -> None:
    types = "|".join(PYPROJECT["tool"]["towncrier"]["fragment"])
    for name in release_check.fragments():
        assert re.fullmatch(rf"[a-z0-9-]+\.({types})\.md", name), name


def test_each_fragment_is_one_entry_of_a_list() -> None:
    for name in release_check.fragments():
        text = (ROOT / "changelog.d" / name).read_text()
        assert text.strip(), name
        assert not re.search(r"^([*-] |#|$)", text.rstrip("\n"), re.MULTILINE), f"{name}: one paragraph, no list"
        assert text[0].isupper() or text[0] in "`-", name
        assert text.endswith(".\n"), f"{name}: ends with a full stop"


def test_links_of_the_changelog_lead_somewhere() -> None:
    """They stand in CHANGELOG.md later, at the root."""
    for name in release_check.fragments():
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "changelog.d" / name).read_text()):
            assert (ROOT / target).exists(), (name, target)


def pythons() -> list[str]:
    found = [re.fullmatch(r"Programming Language :: Python :: (\d\.\d+)", line) for line in classifiers()]
    return [match[1] for match in found if match]


def classifiers() -> list[str]:
    return list(PYPROJECT["project"]["classifiers"])


def test_the_pythons_that_are_named_are_the_same_everywhere() -> None:
    oldest, newest = pythons()[0], pythons()[-1]
    assert PYPROJECT["project"]["requires-python"] == f">={oldest}"
    assert pythons() == [f"3.{minor}" for minor in range(int(oldest[2:]), int(newest[2:]) + 1)], "none is left out"
    assert f"| Python | {oldest} | {newest} |" in (DOCS / "compatibility.md").read_text()
    assert f"Python {oldest} to {newest}" in (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    assert f"command -v python{oldest}" in makefile
    assert f"tools/find-python {newest} " in makefile


def test_what_is_published_leaves_a_choice_of_versions() -> None:
    """An exact version in a published extra fits into no other environment; tests/constraints.txt has those of CI."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    for required in (line for extra in [PYPROJECT["project"]["dependencies"], *extras.values()] for line in extra):
        assert "==" not in required, required


def pages(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages(value)


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    nav = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    inside = {f"docs/{path.relative_to(DOCS)}" for path in DOCS.rglob("*.md")}
    outside = {path.name for path in ROOT.glob("*.md")}
    missing = (inside | outside) - set(site_pages.PAGES)
    assert sorted(nav) == sorted([*(path.removeprefix("docs/") for path in missing), *site_pages.PAGES.values()])


@pytest.mark.parametrize(
    ("site", "link", "expected"),
    [
        ("index.md", "docs/tutorial.md", "tutorial.md"),
        ("index.md", "ARCHITECTURE.md#layout", "architecture.md#layout"),
        ("contents.md", "../ARCHITECTURE.md", "architecture.md"),
        ("contents.md", "how-to/gpu.md", "how-to/gpu.md"),
        ("architecture.md", "docs/decisions", "decisions/README.md"),
        ("how-to/remote.md", "../reference/config.md", "../reference/config.md"),
        ("how-to/shared-file-system.md", "../../SECURITY.md", "../security.md"),
        ("contributing.md", "tests/testbed/README.md", "testbed.md"),
        ("tutorial.md", "https://www.ray.io", "https://www.ray.io"),
        ("tutorial.md", "#see-what-would-run", "#see-what-would-run"),
    ],
)
def test_links_that_github_follows_lead_to_the_same_page_on_the_site(site: str, link: str, expected: str) -> None:
    assert site_pages.rewritten(f"see [it]({link}).", site) == f"see [it]({expected})."


RELEASED = "# Changelog\n\n## 0.2.0 (2026-12-01)\n"


def test_a_tag_agrees_with_the_version_and_the_changelog() -> None:
    assert release_check.version() == __version__
    assert release_check.tag_problems("0.2.0", ["v0.2.0"], RELEASED, []) == []
    assert release_check.tag_problems("0.2.0", [], "# Changelog\n", ["x.fixed.md"]) == [], "no release, nothing to say"
    assert release_check.tag_problems("0.2.0", ["v0.3.0"], RELEASED, []) == ["the tag is v0.3.0, the version 0.2.0"]
    left = release_check.tag_problems("0.3.0", ["v0.3.0"], RELEASED, ["x.fixed.md"])
    assert [problem.split(":")[0] for problem in left] == [
        "CHANGELOG.md has no section for 0.3.0",
        "changelog.d has 1 fragments that are in no section",
    ]


def test_what_is_in_the_wheel_is_what_is_in_git() -> None:
    same = ["dvc_ray/__init__.py", "dvc_ray-0.1.0.dist-info/METADATA"]
    assert release_check.content_problems(same, ["dvc_ray/__init__.py"]) == []
    assert release_check.content_problems([*same, "dvc_ray/notes.txt"], ["dvc_ray/__init__.py", "dvc_ray/api.py"]) == [
        "dvc_ray/notes.txt is in the wheel, not in Git",
        "dvc_ray/api.py is in Git, not in the wheel",
    ]


def test_coverage_is_added_up_by_room() -> None:
    def told(*numbers: int) -> dict[str, dict[str, int]]:
        names = ("num_statements", "covered_lines", "num_branches", "covered_branches")
        return {"summary": dict(zip(names, numbers, strict=True))}

    rooms = coverage_table.by_room(
        {
            "src/dvc_ray/repo/git/worktree.py": told(30, 20, 10, 4),
            "src/dvc_ray/planning.py": told(8, 8, 2, 2),
            "src/dvc_ray/repo/write/lockfile.py": told(10, 10, 0, 0),
        }
    )
    assert coverage_table.table(rooms).splitlines() == [
        "room                   lines      branches   both",
        "planning                 8/8           2/2 100.0%",
        "repo                   30/40          4/10  68.0%",
        "total                  38/48          6/12  73.3%",
    ]
