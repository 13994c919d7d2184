"""What this machine has: memory, processor, GPUs, and what llama.cpp was compiled for. Judges nothing.

llama.cpp is asked in a process of its own, for that loads native code.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import attrs
import psutil

from pensieve_registry import Machine

__all__ = ["NativeEngine", "cpu_flags", "cpu_name", "memory_bytes", "native_engine", "this_machine"]

_QUESTION_S = 20.0
_CPUINFO = Path("/proc/cpuinfo")


@attrs.frozen(kw_only=True)
class NativeEngine:
    """llama.cpp as it was compiled here, and the GPUs that it can use."""

    version: str
    features: tuple[str, ...]
    """Of the CPU, by llama.cpp's names: those that it has code for."""
    gpus: tuple[str, ...]
    gpu_bytes: tuple[int, ...]
    gpu_free_bytes: tuple[int, ...]
    """Of each GPU."""


def native_engine() -> NativeEngine | None:
    """Return what llama.cpp says of itself; None: it cannot be asked. Takes half a second."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pensieve_gguf.machine"], capture_output=True, timeout=_QUESTION_S, check=True
        )
        told = json.loads(done.stdout)
        return NativeEngine(
            version=told["engine"],
            features=tuple(told["used"]),
            gpus=tuple(told["gpus"]),
            gpu_bytes=tuple(told["gpu_bytes"]),
            gpu_free_bytes=tuple(told["gpu_free_bytes"]),
        )
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return None


def this_machine() -> Machine:
    """Return what the choice of a quantisation has to know; takes as long as `native_engine`."""
    engine = native_engine()
    gpu_bytes = () if engine is None else engine.gpu_bytes
    return Machine(memory_bytes=memory_bytes(), gpu_bytes=max(gpu_bytes, default=0))


def memory_bytes() -> int:
    """Return how much RAM there is."""
    return psutil.virtual_memory().total


def cpu_name() -> str:
    """Return what the CPU calls itself; where the system does not tell, its architecture."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """Return Linux's names of what the CPU can; empty elsewhere."""
    return (_cpuinfo("flags") or _cpuinfo("Features") or "").split()


def _cpuinfo(label: str) -> str | None:
    with suppress(OSError):
        lines = _CPUINFO.read_text("utf-8", "replace").splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith(label)), None)
    return None
