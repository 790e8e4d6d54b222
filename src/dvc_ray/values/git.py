"""The Git state that a stage workspace gets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GitTemplates:
    """Template folders for the ``.git`` of a workspace and of the repositories within it."""

    places: tuple[tuple[str, str], ...] = ()
    """For each repository: its path in the workspace (empty: the root) and its template folder. The folder is empty
    if the repository's state cannot be copied: commands then find no repository there, rather than the next one up."""
    adding: bool = False
    """Whether commands may add files to the index; what they add goes into the experiment."""

    partial: bool = False
    """Whether file contents are left out, because the templates go to machines that do not see the repository."""

    @property
    def answers(self) -> bool:
        """Whether commands find a Git repository in the workspace."""
        return any(folder for _, folder in self.places)
