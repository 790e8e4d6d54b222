"""Which stage of a run wrote files that no out declares."""

from __future__ import annotations

from collections.abc import Callable


class Writers:
    """The last writer of each file of the user's workspace, in one run.

    Args:
        place: Place of a stage in the plan.
        warn: Receives a warning about files that two stages wrote.
    """

    def __init__(self, place: Callable[[str], int], warn: Callable[[str], None]) -> None:
        self.place = place
        self.warn = warn
        self._writer: dict[str, str] = {}

    def of(self, path: str) -> str | None:
        """The stage that wrote a file; None: no stage of this run."""
        return self._writer.get(path)

    def note(self, path: str, address: str) -> None:
        """Note that a stage wrote a file."""
        self._writer[path] = address

    def forget(self, address: str) -> None:
        """Forget all that a stage has written, because it has been taken back."""
        self._writer = {path: writer for path, writer in self._writer.items() if writer != address}

    def is_later(self, address: str, path: str, other: str) -> bool:
        """Whether a stage comes later in the plan than another that wrote the same file; warns the user."""
        later = self.place(address) > self.place(other)
        self.warn(
            f"stages '{other}' and '{address}' both wrote '{path}', which no out declares; kept what"
            f" '{address if later else other}' wrote. Declare it as an out of one of them."
        )
        return later
