"""Which settings, variables and files are named like secrets."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Final

_NAMES: Final = re.compile(
    r"token|secret|passw|passphrase|credential|connection_string|auth_header|(access|account|customer|oss|api)_?key"
    r"|ssh_private",
    re.IGNORECASE,
)
_PLACES: Final = re.compile(r"^(ask_|exclude_)|(path|_file)$", re.IGNORECASE)
"""Names that contain a secret's, but stand for a yes or no, or for the path of a file."""
_FILES: Final = (
    ".env",
    ".env.*",
    "*.env",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".pgpass",
    ".git-credentials",
    ".htpasswd",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "*credentials*",
    "*service-account*.json",
    "*service_account*.json",
    "client_secret*.json",
    "secrets.*",
    "kubeconfig*",
    "*.kubeconfig",
)
_EXAMPLES: Final = ("*.example", "*.sample", "*.template", "*.dist", "*.pub", "*.py", "*.pyi", "*.ipynb", "*.md")
"""Files with such names that hold no secret: an example to copy, the public half of a key, code."""
_FOLDERS: Final = frozenset({".aws", ".ssh", ".gnupg", ".kube", ".azure", ".docker"})
"""Folders of a home directory in which programs keep keys."""


def named(key: str) -> bool:
    """Whether a setting or a variable is named like a secret, such as the ``user.password`` that some set."""
    return _NAMES.search(key) is not None and _PLACES.search(key) is None


def named_file(path: str) -> bool:
    """Whether a file is named like those that hold secrets.

    Args:
        path: Relative to a tree, with slashes.
    """
    *folders, name = path.lower().split("/")
    if not _FOLDERS.isdisjoint(folders):
        return True
    matches = any(fnmatchcase(name, pattern) for pattern in _FILES)
    return matches and not any(fnmatchcase(name, pattern) for pattern in _EXAMPLES)
