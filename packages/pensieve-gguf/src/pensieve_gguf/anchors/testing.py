"""A real folder in which any step can be made to go wrong: for tests of what a store does then."""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO
from pathlib import Path

from pensieve_gguf.anchors.folder import PrivateFolder

__all__ = ["FaultyFolder"]


class FaultyFolder(PrivateFolder):
    """`PrivateFolder` that calls `before` with the name of each step, which may raise, or end the process.

    A write that is to go wrong does so half done.
    """

    def __init__(self, path: Path, handle: int) -> None:
        super().__init__(path, handle)
        self.before: Callable[[str], None] = lambda _step: None

    def read(self, name: str) -> FileIO:
        """As the real one."""
        self.before("read")
        return super().read(name)

    def create(self) -> tuple[str, int]:
        """As the real one."""
        self.before("create")
        return super().create()

    def lock(self, handle: int) -> None:
        """As the real one."""
        self.before("lock")
        super().lock(handle)

    def write(self, handle: int, data: memoryview) -> None:
        """As the real one, in two halves."""
        half = len(data) // 2
        super().write(handle, data[:half])
        self.before("write")
        super().write(handle, data[half:])

    def seal(self, handle: int) -> None:
        """As the real one."""
        self.before("seal")
        super().seal(handle)

    def publish(self, draft: str, name: str) -> None:
        """As the real one."""
        self.before("publish")
        super().publish(draft, name)

    def settle(self) -> None:
        """As the real one."""
        self.before("settle")
        super().settle()

    def touch(self, name: str, used_at: float) -> None:
        """As the real one."""
        self.before("touch")
        super().touch(name, used_at)

    def remove(self, name: str) -> None:
        """As the real one."""
        self.before("remove")
        super().remove(name)
