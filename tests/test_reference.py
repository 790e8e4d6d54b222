"""docs/reference/dvc-features.md names every key that DVC's schema knows, and a proof for each of its rows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.helpers import stock

TESTS = Path(__file__).parent
TEXT = (TESTS.parent / "docs/reference/dvc-features.md").read_text()


def rows(section: str) -> list[list[str]]:
    part = TEXT.split(f"## {section}\n", 1)[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("| ")
    ][1:]


def documented(section: str) -> set[str]:
    return {found[1] for row in rows(section) if (found := re.fullmatch(r"`(\w+)`", row[0]))}


def keys(*schemas: Iterable[Any]) -> set[str]:
    return {str(key) for schema in schemas for key in schema}


def test_every_key_of_dvcs_schema_is_there() -> None:
    from dvc import schema

    assert documented("Top level of dvc.yaml") == keys(schema.MULTI_STAGE_SCHEMA)
    assert documented("A stage") == keys(schema.STAGE_DEFINITION, schema.FOREACH_IN)
    out = schema.OUT_PSTAGE_DETAILED_SCHEMA[str]
    plots = (schema.PLOT_PROPS_SCHEMA, schema.PLOT_DEFINITION)
    assert documented("An out, metric or plot of a stage") == keys(out, *plots)


def test_every_row_has_a_state_and_a_proof() -> None:
    tests = "".join(path.read_text() for path in TESTS.glob("test_*.py"))
    sections = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    found = [row for section in sections for row in rows(section)]
    assert len(found) > 60
    for what, state, proof in found:
        assert state.startswith(("as DVC", "differs", "refused", "the same")), what
        names = re.findall(r"`(\w+)`", proof)
        assert names, what
        for name in names:
            exists = (
                f"def {name}(" in tests if name.startswith("test_") else (stock.PROJECTS / name / "dvc.yaml").exists()
            )
            assert exists, (what, name)
