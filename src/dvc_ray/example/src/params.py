"""The parameters of one stage."""

from pathlib import Path
from typing import Any

import yaml


def load_params(stage: str) -> dict[str, Any]:
    return yaml.safe_load(Path("params.yaml").read_text())[stage]
