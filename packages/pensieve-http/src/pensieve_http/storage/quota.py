"""How much room there is: a machine without a disk.

What is finished and what is on its way count alike, so that uploads side by side cannot exceed together what each of
them may have.
"""

from __future__ import annotations

from pensieve_core import FileTooLargeError, StorageFullError
from pensieve_inference import FileLimits

__all__ = ["Quota"]


class Quota:
    """Counts bytes. Invariant: `kept + sum of all coming <= limits.max_total_bytes` after each `grow`."""

    def __init__(self, limits: FileLimits) -> None:
        self._limits = limits
        self._coming: dict[object, int] = {}
        self.kept = 0
        """Bytes of all finished files, as its owner last saw them."""

    def grow(self, upload: object, size_bytes: int) -> None:
        """Note that `upload` has this size from now on.

        Raises:
            FileTooLargeError, StorageFullError: it may not; then nothing is noted.
        """
        if size_bytes > self._limits.max_file_bytes:
            raise FileTooLargeError(self._limits.max_file_bytes)
        others = sum(size for one, size in self._coming.items() if one is not upload)
        if self.kept + others + size_bytes > self._limits.max_total_bytes:
            raise StorageFullError(f"all files together may have {self._limits.max_total_bytes} bytes")
        self._coming[upload] = size_bytes

    def release(self, upload: object) -> None:
        """Forget `upload`, be it finished or given up. Idempotent."""
        self._coming.pop(upload, None)
