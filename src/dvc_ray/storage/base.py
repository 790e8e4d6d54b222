"""What a store is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Objects(Protocol):
    """Objects under the URL of a remote, by key: the path relative to it.

    Writing is atomic: an object is there whole, or not at all. All methods may be called from several threads.
    """

    @property
    def url(self) -> str:
        """What the user knows the store by; no secret in it."""

    def put(self, key: str, path: str, size: int) -> None:
        """Store a file.

        Raises:
            StorageError: The store cannot be reached, or refuses.
            OSError: The file cannot be read.
        """

    def write(self, key: str, data: bytes) -> None:
        """Store some bytes.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def chunks(self, key: str) -> Iterator[bytes | memoryview]:
        """Read an object, in order.

        Raises:
            ObjectMissingError: There is none.
            StorageError: The store cannot be reached, or refuses.
        """

    def bring(self, key: str, path: str, size: int | None = None) -> Iterator[bytes | memoryview]:
        """Write an object into a file.

        Args:
            key: Its key.
            path: The file, which is made or emptied.
            size: Bytes it has, if that is known.

        Yields:
            What has been written, in order; each is valid until the next.

        Raises:
            ObjectMissingError: There is none.
            StorageError: The store cannot be reached, or refuses.
            OSError: The file cannot be written.
        """

    def size(self, key: str) -> int | None:
        """Bytes of an object; None: there is none.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys of the objects in a folder, those in its folders included.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders in a folder; none if there is no such folder.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def newest(self, prefix: str) -> str | None:
        """Key of the object in a folder that was written last; None: there is none.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def delete(self, key: str) -> None:
        """Remove an object, if there is one.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """
