"""The llama.cpp library itself: started once per process, its log caught, its version told.

llama_cpp loads a shared library on import, so this package is imported by a worker process, or by who
asks for an engine in-process, and by nobody else.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
from llama_cpp import llama_cpp as lib

__all__ = [
    "heard",
    "last_words",
    "library_folder",
    "log_callback",
    "start_backend",
    "state_version",
    "system_info",
    "version",
]

_WARN = 3  # GGML_LOG_LEVEL_WARN; 4 is ERROR, 5 continues the line before
_last_words: collections.deque[str] = collections.deque(maxlen=20)
_ears = threading.local()


def _log(level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
    if level >= _WARN:
        _last_words.append(text.decode("utf-8", "replace"))
    ear: tuple[bytes, list[str]] | None = getattr(_ears, "ear", None)
    if ear is not None and ear[0] in text:
        ear[1].append(text.decode("utf-8", "replace"))


# A module attribute: ctypes does not keep a callback alive by itself.
log_callback = lib.llama_log_callback(_log)


@functools.cache
def start_backend() -> None:
    """Start llama.cpp and take its log over: otherwise it writes to the process's stderr."""
    lib.llama_log_set(log_callback, ctypes.c_void_p(0))
    lib.llama_backend_init()


@contextlib.contextmanager
def heard(marked: bytes) -> Iterator[list[str]]:
    """Collect the lines with `marked` in them, of any level, that llama.cpp logs in this thread within the block."""
    lines: list[str] = []
    _ears.ear = (marked, lines)
    try:
        yield lines
    finally:
        _ears.ear = None


def library_folder() -> Path:
    """Return where llama.cpp was loaded from: `LLAMA_CPP_LIB_PATH` may say otherwise than the package."""
    return Path(lib._lib._name).parent  # noqa: SLF001 - the bindings tell nobody


def last_words() -> str:
    """Return the newest warnings and errors of llama.cpp: why a load failed."""
    return "".join(_last_words).strip()


def version() -> str:
    """Return the engine's name and version."""
    return f"llama.cpp ({llama_cpp.__version__})"


def system_info() -> str:
    """Return llama.cpp's own line of what it uses of this machine: `AVX2 = 1 | …`."""
    return str(lib.llama_print_system_info().decode("utf-8", "replace"))


def state_version() -> int:
    """Return the version of the form in which states are serialised."""
    return int(lib.LLAMA_STATE_SEQ_VERSION)
