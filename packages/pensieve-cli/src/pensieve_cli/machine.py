"""What this machine has, as far as it matters to which model suits it.

The GPUs are those that llama.cpp was built for and found; asking it loads native code, so a process of its own does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from pensieve_registry import Machine

__all__ = ["memory_bytes", "this_machine"]

_QUESTION_S = 20.0


def this_machine() -> Machine:
    """Return what is known of it. Takes half a second."""
    gpus = _gpus()
    name, size = max(gpus, key=lambda gpu: gpu[1], default=(None, 0))
    return Machine(memory_bytes=memory_bytes(), gpu=name, gpu_bytes=size)


def memory_bytes() -> int | None:
    """Return how much memory there is; None: the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not every system has these
        return None


def _gpus() -> list[tuple[str, int]]:
    """Return names and bytes; none when llama.cpp cannot be asked."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pensieve_gguf.machine"], capture_output=True, timeout=_QUESTION_S, check=True
        )
        told = json.loads(done.stdout)
        return list(zip(told["gpus"], told["gpu_bytes"], strict=True))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return []
