"""What a stage's workspace gets of Git."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GitTemplates:
    """Folders to make the ``.git`` of a workspace of, and of the repositories within it."""

    places: tuple[tuple[str, str], ...] = ()
    """Where each goes, relative to the workspace (empty: its root), and the folder. The folder is empty where there is
    a repository whose state cannot be copied: commands find none there, rather than the next one further up."""
    adding: bool = False
    """Whether commands may add files to the index; what they add goes into the experiment."""

    partial: bool = False
    """Whether contents of files are left out, as it is sent to machines that do not see the repository."""

    @property
    def answers(self) -> bool:
        """Whether Git answers in a workspace."""
        return any(folder for _, folder in self.places)
