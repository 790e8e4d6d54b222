"""The interface of a store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Objects(Protocol):
    """Objects under the URL of a remote, by key: the path relative to the URL.

    Writing is atomic: an object exists whole, or not at all. All methods may be called from several threads.
    """

    @property
    def url(self) -> str:
        """The URL by which the user knows the store, without secrets."""

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
            key: Key of the object.
            path: The file, which is made or emptied.
            size: Size of the object in bytes, if it is known.

        Yields:
            What has been written, in order; each piece is valid until the next.

        Raises:
            ObjectMissingError: There is none.
            StorageError: The store cannot be reached, or refuses.
            OSError: The file cannot be written.
        """

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None: there is no such object.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def keys(self, prefix: str) -> Iterator[str]:
        """List the keys of the objects in a folder and in all folders below it.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def folders(self, prefix: str) -> Iterator[str]:
        """List the names of the folders in a folder; none if there is no such folder.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def newest(self, prefix: str) -> str | None:
        """Return the key of the object in a folder that was written last; None: the folder has no objects.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """

    def delete(self, key: str) -> None:
        """Remove an object, if there is one.

        Raises:
            StorageError: The store cannot be reached, or refuses.
        """
