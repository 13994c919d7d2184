"""A sequence: the tokens that are known, and how many of them are computed."""

from __future__ import annotations

from array import array
from collections.abc import Hashable

import attrs

from pensieve_core import ImagePart, Priority
from pensieve_gguf.engine.drafter import Drafter

__all__ = ["ImageSpan", "Sequence"]

_ANSWER_CELLS = 256
"""How long answers get is not known before (clients ask for 64,000 and take 222); so much is kept free for each."""


@attrs.frozen(kw_only=True)
class ImageSpan:
    """Tokens of a prompt that stand for a part of an image: embeddings are computed in their place."""

    start: int
    """The position of the first one."""
    stop: int
    image: ImagePart = attrs.field(repr=False)
    digest: bytes = attrs.field(repr=False)
    """Of the image's type and data."""
    piece: int
    """Which part."""


@attrs.define(kw_only=True, eq=False)
class Sequence:
    """One generation as the scheduler sees it.

    Invariant: `0 <= computed < len(tokens)` while it runs. There is no prefill phase and no decode phase: `computed`
    catches up with the known tokens, and whenever it has, one more token is sampled and known.
    """

    key: int
    tokens: array[int]
    """Known token ids, prompt first. Shared with the resident that holds them."""
    prompt_tokens: int
    max_tokens: int
    priority: Priority = Priority.MAIN
    session: Hashable = None
    """Among these the machine is shared; None when that is not known."""
    conversation: Hashable = None
    """Who speaks, session and agent; None when that is not known."""
    marks: tuple[int, ...] = ()
    """Lengths up to which the prompt is expected to come again: where cache marks stand."""
    arrived: float = 0.0
    """Seconds on the engine's clock."""
    images: tuple[ImageSpan, ...] = ()
    """In their order; nearly always none."""
    slot: int | None = None
    """The llama.cpp sequence id while it runs."""
    computed: int = 0
    cached: int = 0
    """Prompt tokens that were found in the cache when it was first placed."""
    placed_at: float | None = None
    answered_at: float | None = None
    """When its first token was sampled."""
    checkpoints: list[int] = attrs.field(factory=list)
    """Lengths at which a checkpoint is still to be made, the last one first; each is more than `computed`."""
    gave_way: bool = False
    """Whether it was interrupted for the sake of somebody more urgent; nobody is twice."""
    astray: int = 0
    """How often its cells were not where they should have been; it began anew each time."""
    drafter: Drafter | None = None
    """Guesses what comes next; None: nobody does."""
    steps: int = 0
    """Batches in which it decoded."""
    prefilled: int = 0
    """Tokens computed that were not sampled here; more than `prompt_tokens - cached` after a preemption."""

    @property
    def pending(self) -> int:
        """Known tokens that are not computed yet; at least 1 while it runs."""
        return len(self.tokens) - self.computed

    @property
    def ahead(self) -> int:
        """Known tokens that one row may hold: up to the next checkpoint, and to where an image begins or ends."""
        edges = [edge for image in self.images for edge in (image.start, image.stop) if edge > self.computed]
        return min([*edges, *self.checkpoints[-1:]], default=len(self.tokens)) - self.computed

    @property
    def place(self) -> int:
        """Its slot; only a running sequence has one."""
        if self.slot is None:
            msg = "only a running sequence has a slot"
            raise AssertionError(msg)
        return self.slot

    @property
    def to_come(self) -> int:
        """Cells that it will take yet, as far as that can be foreseen."""
        return self.pending + min(_ANSWER_CELLS, max(0, self.max_tokens - self.generated))

    def will_save(self, length: int) -> bool:
        """Let a checkpoint be made at `length`, for the sake of another sequence. False: it is too late for that."""
        if self.computed >= length:
            return False
        self.checkpoints = sorted({*self.checkpoints, length}, reverse=True)
        return True

    def image_at(self, position: int) -> ImageSpan | None:
        """Return the part of an image that the token at `position` stands for."""
        return next((image for image in self.images if image.start <= position < image.stop), None)

    @property
    def generated(self) -> int:
        """Tokens sampled so far."""
        return len(self.tokens) - self.prompt_tokens

    @property
    def answering(self) -> bool:
        """Whether the next row computes a token that was sampled: its client is being streamed to."""
        return self.generated > 0 and self.pending == 1
