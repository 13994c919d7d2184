"""Which saved prefixes are worth a look for a prompt, and which of them is worth reading.

A prefix need not be the prompt's own: where a model's cells can be cut back, what only begins like the prompt serves as
far as it does. The index tells to the chunk which these are, the files to the token; the prompts thread asks the one, a
reader the others. Above: `anchoring`. Below: `pensieve_gguf.anchors`, which verifies all that it gives away.
"""

from __future__ import annotations

from array import array

import attrs

from pensieve_gguf.anchors import Anchor, AnchorStore, State, chunk_digests, shared_at_most
from pensieve_gguf.engine.tree import common_prefix

__all__ = ["IN_VAIN_ON_CPU", "IN_VAIN_ON_GPU", "Candidates", "Loaded", "candidates_for", "load_best"]

_NEIGHBOURS = 4
IN_VAIN_ON_GPU = 8
"""So many tokens that are read and then cut off cost as much as one that is computed."""
IN_VAIN_ON_CPU = 80
"""The same on two cores."""


@attrs.frozen(kw_only=True)
class Candidates:
    """Anchors that begin as a prompt does, as far as the index knows."""

    anchors: tuple[Anchor, ...] = attrs.field(repr=lambda held: f"<{len(held)}>")
    at_most: int
    """Tokens of the prompt that one of them can spare."""


@attrs.frozen(kw_only=True)
class Loaded:
    """A state, and the tokens after which it was taken: all of them, whatever part of them a prompt begins with."""

    tokens: array[int] = attrs.field(repr=lambda held: f"<{len(held)}>")
    state: State = attrs.field(repr=lambda held: f"<{len(held)}>")


@attrs.frozen
class _Choice:
    anchor: Anchor
    tokens: array[int]
    shared: int
    worth: float
    """In tokens that need not be computed."""


def candidates_for(store: AnchorStore, prompt: array[int], *, longest: int, in_part: bool) -> Candidates | None:
    """Return what the index has for `prompt`; one token is always left to compute.

    Args:
        store: Where to look.
        prompt: Token ids.
        longest: Tokens that there is room for.
        in_part: Whether a state can be cut back.
    """
    wanted = prompt[:-1]
    whole = store.longest(wanted)
    reach = {} if whole is None else {whole: whole.length}
    if in_part:
        chunks = chunk_digests(wanted)
        for anchor in store.akin(chunks, _NEIGHBOURS):
            reach.setdefault(anchor, min(anchor.length, len(wanted), shared_at_most(anchor.chunks, chunks)))
    reach = {anchor: tokens for anchor, tokens in reach.items() if tokens and anchor.length <= longest}
    return Candidates(anchors=tuple(reach), at_most=max(reach.values())) if reach else None


def load_best(
    store: AnchorStore, candidates: Candidates, prompt: array[int], *, at_least: int, in_part: bool, in_vain: int
) -> Loaded | None:
    """Read the state that spares the most; reads files, at the disk's speed. None: none spares `at_least` tokens.

    `in_vain`: tokens that are read and cut off for the cost of computing one, `IN_VAIN_ON_CPU` or `IN_VAIN_ON_GPU`.
    """
    looked_at = (_choice(store, anchor, prompt, in_vain) for anchor in candidates.anchors)
    choices = [choice for choice in looked_at if choice is not None]
    usable = [one for one in choices if one.worth >= at_least and (in_part or one.shared == one.anchor.length)]
    for choice in sorted(usable, key=lambda one: one.worth, reverse=True):
        state = store.load(choice.anchor, choice.tokens)
        if state is not None:
            return Loaded(tokens=choice.tokens, state=state)
    return None


def _choice(store: AnchorStore, anchor: Anchor, prompt: array[int], in_vain: int) -> _Choice | None:
    tokens = store.tokens_of(anchor)
    if tokens is None:
        return None
    shared = min(common_prefix(tokens, prompt), len(prompt) - 1)
    return _Choice(anchor, tokens, shared, worth=shared - (anchor.length - shared) / in_vain)
