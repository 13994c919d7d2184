"""One C sampler chain per sequence, built from the request and the model's own defaults."""

from __future__ import annotations

import ctypes
import random

import attrs
from llama_cpp import llama_cpp as lib

from pensieve_core import Sampling
from pensieve_gguf.llama.model import Model

__all__ = ["Sampler", "SamplingDefaults"]

_SEED_LIMIT = 2**32 - 1  # that number itself means "any seed" to llama.cpp


@attrs.frozen(kw_only=True)
class SamplingDefaults:
    """What holds when a request does not say. The GGUF's `general.sampling.*` win over these.

    The numbers are llama.cpp's own (common/common.h), save for the temperature: 0.7 is what the makers of the
    coding models recommend, and 0.8 makes small ones stray.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05

    @classmethod
    def of(cls, model: Model) -> SamplingDefaults:
        """Read the defaults from the model's metadata."""

        def given(name: str, otherwise: float) -> float:
            text = model.metadata(f"general.sampling.{name}")
            return otherwise if text is None else float(text)

        plain = cls()
        return cls(
            temperature=given("temp", plain.temperature),
            top_p=given("top_p", plain.top_p),
            top_k=int(given("top_k", plain.top_k)),
            min_p=given("min_p", plain.min_p),
        )


class Sampler:
    """A C sampler chain. Close it: nothing else frees it."""

    def __init__(self, sampling: Sampling, defaults: SamplingDefaults) -> None:
        self.greedy = _temperature(sampling, defaults) <= 0
        """Whether the likeliest token is taken, whatever else the chain would do."""
        params = lib.llama_sampler_chain_default_params()
        params.no_perf = True
        self.handle: ctypes.c_void_p = lib.llama_sampler_chain_init(params)
        """For `Context.sample`; not to be used after `close`."""
        self._closed = False
        for link in _links(sampling, defaults):
            lib.llama_sampler_chain_add(self.handle, link)

    def close(self) -> None:
        """Free the chain and its links."""
        if not self._closed:
            self._closed = True
            lib.llama_sampler_free(self.handle)


def _links(sampling: Sampling, defaults: SamplingDefaults) -> list[ctypes.c_void_p]:
    temperature = _temperature(sampling, defaults)
    if temperature <= 0:
        return [lib.llama_sampler_init_greedy()]
    top_k = defaults.top_k if sampling.top_k is None else sampling.top_k
    top_p = defaults.top_p if sampling.top_p is None else sampling.top_p
    seed = random.randrange(_SEED_LIMIT) if sampling.seed is None else sampling.seed % _SEED_LIMIT  # noqa: S311
    return [
        lib.llama_sampler_init_top_k(top_k),
        lib.llama_sampler_init_top_p(top_p, 1),
        lib.llama_sampler_init_min_p(defaults.min_p, 1),
        lib.llama_sampler_init_temp(temperature),
        lib.llama_sampler_init_dist(seed),
    ]


def _temperature(sampling: Sampling, defaults: SamplingDefaults) -> float:
    return defaults.temperature if sampling.temperature is None else sampling.temperature
