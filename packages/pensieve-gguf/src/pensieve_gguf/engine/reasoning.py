"""How long an answer may reason: its tokens are counted, and when the budget is used up, the end is put there.

A model does not know its budget. So the tokens of the mark that ends reasoning are taken instead of what its sampler
would draw, as soon as there is just enough of the budget left for them; the answer goes on from there as if the model
had written them. The mark counts, as it does in Anthropic's `thinking_tokens`.

A pure machine, one per answer. Above: `Answer` tells it of every token, `Chooser` asks what must come. Beside: the
parser knows where reasoning begins and ends.
"""

from __future__ import annotations

from typing import Protocol

from pensieve_gguf.llama import TokenIds
from pensieve_gguf.parsers import think_tags

__all__ = ["Reasoning", "Tokenizer", "closing_mark"]


class Tokenizer(Protocol):
    """What is needed of a vocabulary."""

    def tokenize(self, text: str, *, add_bos: bool = True) -> TokenIds:
        """Return the token ids of `text`, shape (n_tokens,); control tokens are parsed."""
        ...


def closing_mark(tokenizer: Tokenizer, template_source: str) -> tuple[int, ...]:
    """Return the tokens with which a model of this template ends its reasoning."""
    tags = think_tags(template_source)
    closer = next((closer for opener, closer in tags.items() if opener in template_source), next(iter(tags.values())))
    return tuple(int(token) for token in tokenizer.tokenize(closer, add_bos=False))


class Reasoning:
    """Invariant: `_due` is a tail of the mark, and not empty only while the answer reasons.

    Args:
        budget: Tokens, the mark included; None: as many as the model likes. Less than the mark has: the mark alone.
        closing: The tokens of the mark.
        begun: The prompt ends within a block of reasoning.
    """

    def __init__(self, budget: int | None = None, closing: tuple[int, ...] = (), *, begun: bool = False) -> None:
        self._budget = budget
        self._closing = closing
        self._due: tuple[int, ...] = ()
        self._reasons = begun
        self._closed = False
        self.tokens = 0
        """Spent so far."""
        self.cut_short = False
        """The mark was put there just now: nothing of the answer itself has been said since."""
        self._end_if_spent()

    @property
    def forced(self) -> int | None:
        """The token that must come next; None: whatever is sampled."""
        return self._due[0] if self._due else None

    def follow(self, token: int, *, reasons: bool) -> None:
        """Note that `token` was taken, after which the parser says that the text `reasons`, or not."""
        if self._due[:1] == (token,):
            self._due = self._due[1:]
            self.tokens += 1
            self._closed = self.cut_short = not self._due
        else:
            self.tokens += (self._reasons or reasons) and not self._closed
            self.cut_short = False
        self._reasons = reasons
        if not reasons:
            self._closed = False
            self._due = ()
        self._end_if_spent()

    def _end_if_spent(self) -> None:
        """Let the mark come next, unless the parser has only not seen yet that it came."""
        if self._budget is None or not self._reasons or self._due or self._closed:
            return
        if self.tokens + len(self._closing) >= self._budget:
            self._due = self._closing
