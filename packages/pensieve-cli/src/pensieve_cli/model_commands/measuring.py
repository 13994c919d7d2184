"""One round of a benchmark: a prompt that no cache can know, an answer, and the times of both."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

import attrs

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.model_commands.bench_report import Round
from pensieve_cli.model_commands.engine_thread import EngineThread
from pensieve_core import (
    GenerationFinished,
    GenerationRequest,
    ModelId,
    RequestId,
    Role,
    Sampling,
    TextPart,
    TextProduced,
    ThinkingProduced,
    Turn,
)

__all__ = ["Bench"]

_WORDS = (
    "stone",
    "river",
    "paper",
    "green",
    "window",
    "seven",
    "letter",
    "garden",
    "bread",
    "winter",
    "copper",
    "harbour",
)
_TASK = "\n\nThese words were drawn by lot. Tell a long story in which they appear."


@attrs.frozen(kw_only=True)
class Bench:
    """Measures a loaded engine. `now`: seconds on any clock that never goes back."""

    engine: EngineThread
    model: ModelId
    now: Callable[[], float]

    def words_for(self, prompt_tokens: int) -> int:
        """Return how many words make a prompt of about so many tokens, the template's own included."""
        few, many = (self.engine.count_tokens(self._request(words, 1, seed=0)) for words in (50, 250))
        per_word = max(0.1, (many - few) / 200)
        return max(1, 50 + round((prompt_tokens - few) / per_word))

    def round(self, words: int, answer_tokens: int, *, seed: int) -> Round:
        """Return the times of one prompt and its answer. Another `seed`: other words from the first on.

        Raises:
            CommandError: nothing was generated.
            PensieveError: as the engine.
        """
        began = self.now()
        first_at: float | None = None
        for event in self.engine.answer(self._request(words, answer_tokens, seed=seed)):
            match event:
                case TextProduced() | ThinkingProduced() if first_at is None:
                    first_at = self.now()
                case GenerationFinished():
                    return _round(event, (first_at or self.now()) - began)
                case _:
                    pass
        msg = "the engine ended without an answer"
        raise CommandError(msg, ExitCode.FAILURE)

    def _request(self, words: int, answer_tokens: int, *, seed: int) -> GenerationRequest:
        drawn = random.Random(seed).choices(_WORDS, k=words)  # noqa: S311 - a lot, no secret
        text = f"{seed} {' '.join(drawn)}{_TASK}"
        return GenerationRequest(
            id=RequestId(f"bench_{uuid.uuid4().hex}"),
            model=self.model,
            turns=(Turn(role=Role.USER, parts=(TextPart(text=text),)),),
            sampling=Sampling(temperature=0.0),
            max_tokens=answer_tokens,
        )


def _round(finished: GenerationFinished, first_token_s: float) -> Round:
    usage, timings = finished.usage, finished.timings
    return Round(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        generated_tokens=usage.generated_tokens,
        first_token_s=round(first_token_s, 4),
        prefill_s=round(timings.prefill_s, 4),
        decode_s=round(timings.decode_s, 4),
        prefill_tokens_per_s=round(timings.prefilled_tokens / timings.prefill_s, 1) if timings.prefill_s else 0.0,
        decode_tokens_per_s=round((usage.generated_tokens - 1) / timings.decode_s, 1) if timings.decode_s else None,
    )
