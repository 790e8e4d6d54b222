"""Which parts of a text may be shown, and which names are those of secrets: one answer for all rooms."""

from __future__ import annotations

from dvc_ray.redact.mask import SHORTEST, Mask, Masked
from dvc_ray.redact.names import named, named_file
from dvc_ray.redact.urls import bare, public

__all__ = ["SHORTEST", "Mask", "Masked", "bare", "named", "named_file", "public"]
