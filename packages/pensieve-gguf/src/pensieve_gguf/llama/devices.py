"""The GPUs that llama.cpp was built for and found, with their memory. The bindings do not reach this far."""

from __future__ import annotations

import ctypes
import functools

import attrs

from pensieve_gguf.llama.library import library_folder, start_backend

__all__ = ["Gpu", "gpus"]

_CPU, _ACCELERATOR = 0, 3  # ggml_backend_dev_type; in between: GPUs, with a memory of their own or not


@attrs.frozen(kw_only=True)
class Gpu:
    """One device."""

    name: str
    free_bytes: int
    total_bytes: int


def gpus() -> tuple[Gpu, ...]:
    """Return what is there now; empty where llama.cpp computes on the CPU alone."""
    start_backend()
    registry, base = _libraries()
    devices = [ctypes.c_void_p(registry.ggml_backend_dev_get(i)) for i in range(registry.ggml_backend_dev_count())]
    return tuple(_gpu(base, device) for device in devices if _CPU < base.ggml_backend_dev_type(device) < _ACCELERATOR)


def _gpu(base: ctypes.CDLL, device: ctypes.c_void_p) -> Gpu:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    base.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    return Gpu(
        name=base.ggml_backend_dev_description(device).decode("utf-8", "replace"),
        free_bytes=free.value,
        total_bytes=total.value,
    )


@functools.cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    registry, base = _library("ggml"), _library("ggml-base")
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_dev_get.restype = ctypes.c_void_p
    registry.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    base.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_description.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_description.restype = ctypes.c_char_p
    base.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    base.ggml_backend_dev_memory.restype = None
    return registry, base


def _library(name: str) -> ctypes.CDLL:
    """Open one that `llama_cpp` has loaded already: the system knows it by its file."""
    files = sorted(library_folder().iterdir())
    return ctypes.CDLL(str(next(path for path in files if path.stem.split(".")[0] == f"lib{name}")))
