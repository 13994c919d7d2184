"""A model's vocabulary, and grammars compiled for it: the one place that calls llguidance.

A `Constraint` is a grammar at one place of a text. Checking a token takes 1 to 4 µs, a mask 6 to 60 µs and its
application as much again (measured on vocabularies of 49k and 152k), so a token is checked first and a mask made only
when it is refused.

Above: `_grammarian` compiles, `_guide` follows. Below: `pensieve_gguf.llama`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

from pensieve_gguf.llama import Logits, Model, begin_lltokenizer, make_lltokenizer

__all__ = ["Constraint", "Vocabulary"]

# At 1 to 2 kB a state (llguidance); what was asked for in earnest needs some hundreds.
_LIMITS = LLParserLimits(max_lexer_states=50_000)


class Vocabulary:
    """Tokens as llguidance sees them.

    Args:
        tokenizer: llguidance's own, for this vocabulary.
        ends: The tokens that end a turn.
    """

    def __init__(self, tokenizer: LLTokenizer, ends: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = np.array(sorted(ends), np.int64)

    @classmethod
    def of(cls, model: Model) -> Vocabulary:
        """Return the vocabulary of `model`, which must not be closed as long as it is used. Takes 0.3 to 1.5 s."""
        return cls(make_lltokenizer(model), model.end_tokens)

    @classmethod
    def begin(cls, path: Path) -> Callable[[Model], Vocabulary]:
        """Read the vocabulary of the model in `path`, which need not be loaded yet.

        Returns:
            What is `of` that model, at once, when it is.

        Raises:
            pensieve_gguf.llama.LoadError: llama.cpp could not load it.
        """
        complete = begin_lltokenizer(path)
        return lambda model: cls(complete(model), model.end_tokens)

    def special(self, text: str) -> int | None:
        """Return the token that stands for `text` and is no ordinary text; None when there is none."""
        tokens = self._tokenizer.tokenize_str(text, parse_special=True)
        return tokens[0] if len(tokens) == 1 and self._tokenizer.is_special_token(tokens[0]) else None

    def fault(self, grammar: str) -> str:
        """Return what is wrong with a grammar in llguidance's Lark; empty when nothing is. No matcher is built."""
        lark = LLMatcher.grammar_from_lark(grammar)
        failed, messages = LLMatcher.validate_grammar_with_warnings(lark, self._tokenizer, limits=_LIMITS)
        return messages[0] if failed else ""

    def compile(self, grammar: str) -> Constraint:
        """Return the constraint at the beginning of a text; one that has `failed` when the grammar is at fault."""
        matcher = LLMatcher(self._tokenizer, LLMatcher.grammar_from_lark(grammar), log_level=0, limits=_LIMITS)
        return Constraint(self, matcher)

    def tokens(self, text: str) -> list[int]:
        """Return some tokens that spell `text`; not always those that the model would use."""
        return self._tokenizer.tokenize_str(text, parse_special=True)

    @property
    def ends(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """The tokens that end a turn, ascending."""
        return self._ends


class Constraint:
    """What may come next in one text. One thread at a time.

    Once it has `failed` (a limit of the matcher was hit, or a refused token was accepted) it admits nothing.
    """

    def __init__(self, vocabulary: Vocabulary, matcher: LLMatcher) -> None:
        self._vocabulary = vocabulary
        self._matcher = matcher

    def begun(self, text: str = "") -> Constraint | None:
        """Return a constraint of its own after `text`; None when the grammar refuses that. This one stays."""
        matcher = self._matcher.deep_copy()
        tokens = self._vocabulary.tokens(text) if text else []
        taken = matcher.try_consume_tokens(tokens)
        return Constraint(self._vocabulary, matcher) if taken == len(tokens) and not matcher.is_error() else None

    @property
    def satisfied(self) -> bool:
        """Whether the text may end here: only then are the tokens admitted that end a turn."""
        return self._matcher.is_accepting()

    @property
    def ended(self) -> bool:
        """Whether nothing more may come, because the text is complete or the constraint has failed."""
        return self._matcher.is_stopped()

    @property
    def failed(self) -> str:
        """Why it cannot go on; empty while it can."""
        return self._matcher.get_error()

    @property
    def approximations(self) -> list[str]:
        """What the grammar admits although it should not: `oneOf` is read as `anyOf`."""
        return self._matcher.get_grammar_warnings()

    def admits(self, token: int) -> bool:
        """Whether `token` may come next."""
        if token in self._vocabulary.ends:
            return self.satisfied
        return self._matcher.validate_tokens([token]) == 1

    def mask(self, logits: Logits) -> None:
        """Make impossible what may not come next. `logits`: (vocabulary,), mutated."""
        bits = allocate_token_bitmask(1, len(logits))
        if not self.ended:
            fill_next_token_bitmask(self._matcher, bits)
        else:
            bits[:] = 0
        admitted = np.unpackbits(bits[0].view(np.uint8), count=len(logits), bitorder="little")
        admitted[self._vocabulary.ends] = self.satisfied
        np.copyto(logits, -np.inf, where=admitted == 0)

    def accept(self, token: int) -> bool:
        """Go on after `token`, which does not end the turn. False: it was not admitted, and this has failed."""
        return self._matcher.consume_token(token)

    def rollback(self, tokens: int) -> None:
        """Go back by as many tokens as were accepted."""
        self._matcher.rollback(tokens)

    def forced(self) -> list[int]:
        """Return the tokens that must come next, as far as only one continuation is admitted."""
        return self._matcher.compute_ff_tokens()
