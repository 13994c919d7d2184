"""When an idle prefix is carried from the KV cache to RAM, and how much of it. Values only.

Attention looks at every cell in use, so an idle prefix makes each step beside it slower. Once that has cost about what
it costs to carry it away, it goes; should its conversation go on, it comes back.

Above: the engine chooses by where the layers are; the scheduler and `residents` act on it.
"""

from __future__ import annotations

import attrs

__all__ = ["ON_CPU", "ON_GPU", "Carrying"]


@attrs.frozen(kw_only=True)
class Carrying:
    """What is carried, and when."""

    steps: int
    """So many steps beside a cell justify its way to RAM, whatever the length."""
    prompt_tokens: int = 2
    """So many tokens of a prompt that are computed beside it count as a step."""
    ends: bool = False
    """Whether only what no other slot holds is carried; it is of use while its beginning is in the cache."""


ON_CPU = Carrying(steps=48)
"""Measured: SmolLM2 and the 1.5B coder, 38 steps each, whatever the length; 3,000 prompt tokens beside 3,000 idle cells
lose 0.8 s, as 1,500 steps do (SmolLM2). Copies are cheap beside a prompt's computation: all is carried.
"""

ON_GPU = Carrying(steps=300, prompt_tokens=10, ends=True)
"""Measured on an H200 with the shape of a 7B: copying 12,000 tokens stops all streams for 0.18 s, their last 2,400 for
0.04 s. A cell costs each step 14 ns and each token of prefill 1.4 ns, its way to RAM 13 to 20 µs: even after 1,000
steps, or three requests of an agent. But prefill beside 20,000 idle cells was a fifth slower then; so a prefix
goes after one request: what comes back at once costs 50 ms, and what never does slows the others less.
"""
