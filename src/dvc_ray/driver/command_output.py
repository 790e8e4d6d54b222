"""Why a command has failed, as far as its output tells.

Git, the libraries used instead of it, and Python report these causes only as text for a terminal; nothing but this
module searches for that text. Read in Git 2.39, GitPython 3.2, dulwich 1.2, libgit2 1.9 (pygit2 1.21) and Python 3.11;
`tests/test_command_output.py` makes them print it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final


class Sign(Enum):
    """Why a command has failed, as far as its output tells."""

    WRITES_TO_GIT = "it writes to Git"
    NO_REPOSITORY = "it looks for a Git repository"
    NO_OBJECT = "it asks Git for an object that is not there"
    LINKED_FOLDER = "it removes a folder that is a link"


_NO_GIT: Final = ("not a git repository", "invalidgitrepository", "git repositories", "noscm")
"""What git, GitPython, DVC's command line and its API say where there is no repository; lower case."""
_WRITES: Final = (
    "a stage cannot write to git",  # our hooks
    *(f".git/{name}.lock" for name in ("index", "head", "packed-refs")),  # git, GitPython, dulwich
    *("index is locked", "failed to lock file"),  # libgit2
)
"""What git and these libraries say where they cannot write; lower case."""
_NOT_SENT: Final = re.compile(
    r"bad (tree )?object |not a tree object|not a valid object name|(unable to|cannot) read (tree )?[0-9a-f]{40}"
    r"|invalid object \d+ |[0-9a-f]{40} missing|could not get object info"
)
"""What git and GitPython say about objects that are not there; lower case."""
_NOT_REMOVED: Final = "cannot call rmtree on a symbolic link"
"""What Python says (``shutil``); lower case."""


def signs(tail: Sequence[str]) -> frozenset[Sign]:
    """Find out why a command has failed.

    Args:
        tail: The last lines of its output.
    """
    text = "\n".join(tail).lower()
    found = {
        Sign.WRITES_TO_GIT: any(each in text for each in _WRITES),
        Sign.NO_REPOSITORY: any(each in text for each in _NO_GIT),
        Sign.NO_OBJECT: _NOT_SENT.search(text) is not None,
        Sign.LINKED_FOLDER: _NOT_REMOVED in text,
    }
    return frozenset(sign for sign, there in found.items() if there)
