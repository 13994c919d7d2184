"""What llama.cpp was built for on this machine, as one JSON object: `python -m pensieve_gguf.machine`.

A process of its own, for it loads native code; `pensieve_cli.machine` reads what it prints. llama.cpp names a
CPU feature when it was compiled in.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable

__all__ = ["features_of", "main", "used_features"]

_OF_LINUX = {
    "avx": "AVX",
    "avx2": "AVX2",
    "f16c": "F16C",
    "fma": "FMA",
    "bmi2": "BMI2",
    "avx_vnni": "AVX_VNNI",
    "avx512f": "AVX512",
    "avx512vbmi": "AVX512_VBMI",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "amx_int8": "AMX_INT8",
    "asimd": "NEON",
    "asimddp": "DOTPROD",
    "i8mm": "MATMUL_INT8",
    "sve": "SVE",
}
"""Flags of /proc/cpuinfo, and what llama.cpp calls them: those that it has code for."""


def used_features(system_info: str) -> tuple[str, ...]:
    """Return the names that stand with `= 1` in llama.cpp's own line."""
    return tuple(re.findall(r"(\w+) = 1", system_info))


def features_of(flags: Iterable[str]) -> tuple[str, ...]:
    """Return what llama.cpp could use of a CPU with these flags."""
    return tuple(_OF_LINUX[flag] for flag in flags if flag in _OF_LINUX)


def main() -> int:
    """Print it."""
    from pensieve_gguf.llama import gpus, system_info, version  # noqa: PLC0415 - native code, and only here

    devices = gpus()
    found = {
        "engine": version(),
        "used": used_features(system_info()),
        "gpus": [gpu.name for gpu in devices],
        "gpu_bytes": [gpu.total_bytes for gpu in devices],
        "gpu_free_bytes": [gpu.free_bytes for gpu in devices],
    }
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
