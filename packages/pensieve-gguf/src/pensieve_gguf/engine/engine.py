"""The engine in this process: asyncio on one side, the engine thread on the other.

Used as a library, and by the worker host, which serves it over a socket. Rendering and tokenising run in a thread of
their own: they take milliseconds on long prompts, and neither the event loop nor the engine thread may wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import secrets
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import attrs

from pensieve_core import (
    Clock,
    GenerationRequest,
    ModelDescriptor,
    Origin,
    OverloadedError,
    PensieveError,
    PromptTooLongError,
    PromptUsage,
    RequestRefusedError,
    Role,
    ToolCallId,
)
from pensieve_gguf.constraints import Grammarian, Guide, Plan
from pensieve_gguf.engine.anchoring import open_anchoring, open_turn_journal
from pensieve_gguf.engine.answer import Answer
from pensieve_gguf.engine.calibration import calibrate
from pensieve_gguf.engine.candidates import Candidates
from pensieve_gguf.engine.carrying import ON_CPU, ON_GPU
from pensieve_gguf.engine.courier import Courier
from pensieve_gguf.engine.disk_tier import LAST_SAVES_S
from pensieve_gguf.engine.draft_model import DraftModel
from pensieve_gguf.engine.drafter import Drafter
from pensieve_gguf.engine.drafts import DraftPolicy
from pensieve_gguf.engine.generation import GenerationItem, GgufGeneration
from pensieve_gguf.engine.job import Job
from pensieve_gguf.engine.last_prompts import LastPrompts
from pensieve_gguf.engine.loading import Loaded, load, open_cache
from pensieve_gguf.engine.loop import EngineLoop, Vitals
from pensieve_gguf.engine.own_turns import OwnTurns
from pensieve_gguf.engine.pictures import Pictures
from pensieve_gguf.engine.prompts import Prompt, Prompts
from pensieve_gguf.engine.reasoning import Reasoning, closing_mark
from pensieve_gguf.engine.repeats import Repeat, RepeatGuard, answered_calls
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.single_calls import paced
from pensieve_gguf.engine.step_costs import LearnedCosts, StepCosts
from pensieve_gguf.engine.vitals import GuessFigures
from pensieve_gguf.llama import Context, Model, Sampler, SamplingDefaults
from pensieve_gguf.parsers import make_parser
from pensieve_gguf.settings import GgufSettings, KvType
from pensieve_gguf.templates import ChatTemplate

__all__ = ["GgufEngine"]

_Made = TypeVar("_Made")

_REFUSALS = 4
"""So many answers that only repeat a call are taken back; small models know four ways to begin one."""


@attrs.frozen(kw_only=True)
class _Planned:
    prompt: Prompt
    plan: Plan | None
    """What the answer is held to."""
    on_disk: Candidates | None
    """What the disk has of the prompt."""


@attrs.define
class _Guidance:
    """What the constraints of a generation force, whichever of its answers is being sampled."""

    guide: Guide | None = None
    """That of the answer that was started last."""

    def forced(self) -> list[int]:
        return [] if self.guide is None else self.guide.forced()


class GgufEngine:
    """`InferenceEngine` over one GGUF, computed in this process.

    Build it with `load`, inside a running event loop or before one; close it with `aclose`.
    """

    def __init__(self, loaded: Loaded, settings: GgufSettings, clock: Clock, *, costs: StepCosts | None = None) -> None:
        model, context = loaded.model, loaded.context
        self.description = description = loaded.description
        self.kv_type: KvType = "q8_0" if context.shape.kv_type == "q8_0" else "f16"
        self.gpu_bytes = loaded.gpu_bytes
        self._model = model
        self._settings = settings
        self._clock = clock
        self._template = _template(model, description.model.architecture)
        self._grammarian = Grammarian(
            functools.partial(loaded.vocabulary.of, model),
            self._template.source,
            renders_tools=self._template.renders_tools,
            soon=self._in_prompts_thread,
            ready=lambda: loaded.vocabulary.ready,
        )
        self._defaults = SamplingDefaults.of(model)
        figures, self._draft = GuessFigures(), loaded.draft
        guesser = _guesser(loaded, figures, clock)
        policy = _draft_policy(loaded, costs, guesser)
        residents, shelf = open_cache(context, loaded.outside.kept)
        scheduler = Scheduler(
            residents,
            batch_tokens=context.batch_tokens,
            max_running=settings.max_running,
            stretch=settings.stretch,
            shelf=shelf,
            carrying=ON_GPU if description.gpu_layers > model.layers else ON_CPU,
            drafts=policy,
        )
        # What a model cannot forget must not be computed on a guess.
        self._drafts = settings.drafts and not model.has_state
        self._answers_kept = open_turn_journal(description, settings)
        self._own_turns = OwnTurns() if self._answers_kept is None else OwnTurns(noted=self._answers_kept.note)
        self._closing = closing_mark(model, self._template.source)
        self._pictures = Pictures(loaded.projector)
        self._prompts = Prompts(model, self._template, self._own_turns, self._pictures)
        self._anchors = open_anchoring(context, description, settings, clock, loaded.outside.copied)
        self._loop = EngineLoop(
            context,
            scheduler,
            shelf,
            clock.monotonic,
            longest=description.context_tokens,
            anchors=self._anchors,
            warm_up=functools.partial(_calibrate, context, scheduler, policy, guesser=guesser, clock=clock),
            pictures=self._pictures,
        )
        self._loop.vitals.guesser = figures
        self._last_prompts = LastPrompts()
        self._keys = itertools.count(1)
        self._running: set[GgufGeneration] = set()
        self._couriers: tuple[asyncio.AbstractEventLoop, Courier[GenerationItem]] | None = None
        self._closed = False
        self._texts = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prompts")
        if self._answers_kept is not None:
            self._texts.submit(self._answers_kept.recall_into, self._own_turns)
        loaded.vocabulary.when_ready(functools.partial(self._in_prompts_thread, self._grammarian.get_ready))
        self._loop.start()

    @classmethod
    def load(
        cls,
        descriptor: ModelDescriptor,
        settings: GgufSettings,
        clock: Clock,
        on_progress: Callable[[float], bool] | None = None,
        costs: StepCosts | None = None,
    ) -> GgufEngine:
        """Load the model; blocks for as long as that takes.

        Args:
            descriptor: Which model.
            settings: How to run it.
            clock: The time.
            on_progress: Called with 0…1; returning False gives up.
            costs: What steps cost, where that is not to be learned.

        Raises:
            pensieve_gguf.llama.LoadError: llama.cpp refused the file or there is too little memory.
        """
        loaded = load(descriptor, settings, on_progress)
        try:
            return cls(loaded, settings, clock, costs=costs)
        except BaseException:
            loaded.close()
            raise

    @property
    def ended(self) -> PensieveError | None:
        """Why the engine thread computes no more: closed, or failed for good. None while it does."""
        return self._loop.ended

    @property
    def vitals(self) -> Vitals:
        """Counters of the engine thread."""
        return self._loop.vitals

    async def generate(self, request: GenerationRequest) -> GgufGeneration:
        """Admit `request`; see `InferenceEngine.generate`."""
        self._check_room()
        request = paced(request, self.description.model.parameters)
        planned = await self._prepare(request, self._prompt_and_plan)
        prompt = planned.prompt
        self._check_length(len(prompt.tokens))
        self._check_room()
        generation = GgufGeneration(
            PromptUsage(
                prompt_tokens=len(prompt.tokens),
                differs_at=self._last_prompts.differs_at(_conversation(request.origin), prompt.tokens),
            ),
            next(self._keys),
            self._loop,
            self._courier(),
            self._running.discard,
        )
        self._running.add(generation)
        self._loop.submit(self._job(request, planned, generation))
        return generation

    async def count_tokens(self, request: GenerationRequest) -> int:
        """Count the prompt by the path that `generate` takes."""
        return len((await self._prepare(request, self._prompts.prepare)).tokens)

    async def aclose(self, *, save_s: float = LAST_SAVES_S) -> None:
        """End running generations, save for `save_s` at most what is not saved yet, and free the model."""
        if self._closed:
            return
        self._closed = True
        self._texts.shutdown()
        await asyncio.to_thread(self._loop.close, OverloadedError("the engine is closing"), save_s)
        if self._answers_kept is not None:
            self._answers_kept.close()
        self._pictures.close()
        if self._draft is not None:
            self._draft.close()
        self._model.close()

    def _in_prompts_thread(self, do: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._texts.submit(do)

    def _courier(self) -> Courier[GenerationItem]:
        """Return the way to the running event loop; one for all generations, so that they share its wake-ups."""
        loop = asyncio.get_running_loop()
        if self._couriers is None or self._couriers[0] is not loop:
            self._couriers = (loop, Courier(loop))
        return self._couriers[1]

    def _check_room(self) -> None:
        if self._closed:
            msg = "the engine is closing"
            raise OverloadedError(msg)
        if len(self._running) >= self._settings.max_running + self._settings.max_queued:
            msg = f"{len(self._running)} requests are running or waiting; try again in a moment"
            raise OverloadedError(msg)

    def _check_length(self, prompt_tokens: int) -> None:
        if prompt_tokens == 0:
            msg = "the prompt is empty"
            raise RequestRefusedError(msg)
        limit = self.description.context_tokens
        if prompt_tokens >= limit:
            raise PromptTooLongError(prompt_tokens, limit - 1)

    async def _prepare(self, request: GenerationRequest, make: Callable[[GenerationRequest], _Made]) -> _Made:
        if self._closed:
            self._check_room()
        return await asyncio.get_running_loop().run_in_executor(self._texts, make, request)

    def _prompt_and_plan(self, request: GenerationRequest) -> _Planned:
        prompt = self._prompts.prepare(request)
        plan = self._grammarian.plan(request, opens_thinking=prompt.rendered.opens_thinking)
        on_disk = None if self._anchors is None else self._anchors.find(prompt.tokens)
        return _Planned(prompt=prompt, plan=plan, on_disk=on_disk)

    def _job(self, request: GenerationRequest, planned: _Planned, generation: GgufGeneration) -> Job:
        prompt, guidance = planned.prompt, _Guidance()
        sequence = Sequence(
            key=generation.key,
            tokens=prompt.tokens,
            prompt_tokens=len(prompt.tokens),
            max_tokens=request.max_tokens,
            priority=request.origin.priority,
            session=request.origin.session,
            conversation=_conversation(request.origin),
            marks=prompt.marks,
            arrived=self._clock.monotonic(),
            images=prompt.images,
            drafter=self._drafter(prompt, guidance) if self._drafts else None,
        )
        return Job(
            sequence=sequence,
            make_answer=self._answers(request, planned, guidance),
            sampler=Sampler(request.sampling, self._defaults),
            sink=generation,
            marked_tokens=prompt.marked_tokens,
            head_tokens=prompt.head_tokens,
            opens=all(turn.role is not Role.ASSISTANT for turn in request.turns),
            on_disk=planned.on_disk,
            may_be_empty=prompt.rendered.continues_assistant,
            remember=self._prompts.remembering(prompt),
        )

    def _drafter(self, prompt: Prompt, guidance: _Guidance) -> Drafter:
        since = prompt.images[-1].stop if prompt.images else 0
        return Drafter(prompt.tokens, len(prompt.tokens), guidance, since=since)

    def _answers(self, request: GenerationRequest, planned: _Planned, guidance: _Guidance) -> Callable[[], Answer]:
        """Return what starts an answer. Each one after a refusal lets more repeats through: at last, all.

        Where the whole answer is constrained, no repeat is refused: it may be all that is left to say.
        """
        plan, rendered = planned.plan, planned.prompt.rendered
        demanded = plan is not None and plan.whole is not None
        answered = frozenset[Repeat]() if demanded else answered_calls(request, self._own_turns.spelling)
        patience = iter([answered] * _REFUSALS)

        def start() -> Answer:
            guidance.guide = None if plan is None else Guide(plan)
            parser = make_parser(
                self._template.source, request, opens_thinking=rendered.opens_thinking, new_call_id=_new_call_id
            )
            return Answer(
                self._model,
                parser,
                stop_sequences=request.stop_sequences,
                max_tokens=request.max_tokens,
                turn_ends=rendered.stops,
                guard=RepeatGuard(next(patience, frozenset())),
                guide=guidance.guide,
                reasoning=Reasoning(request.thinking.budget_tokens, self._closing, begun=rendered.opens_thinking),
            )

        return start


def _template(model: Model, architecture: str) -> ChatTemplate:
    return ChatTemplate(
        model.chat_template or "", bos_token=model.bos_text, eos_token=model.eos_text, architecture=architecture
    )


def _guesser(loaded: Loaded, figures: GuessFigures, clock: Clock) -> DraftModel | None:
    if loaded.draft is None:
        return None
    return DraftModel(loaded.draft.context, figures, clock.monotonic, vocabulary=loaded.model.vocabulary_size)


def _draft_policy(loaded: Loaded, costs: StepCosts | None, guesser: DraftModel | None) -> DraftPolicy:
    longest, most, draft = loaded.description.context_tokens, loaded.context.shape.drafted, loaded.draft
    share = 1.0 if draft is None else draft.model.weight_bytes / loaded.model.weight_bytes
    return DraftPolicy(costs or LearnedCosts(share), longest=longest, most=most, guesser=guesser)


def _calibrate(
    context: Context,
    scheduler: Scheduler,
    policy: DraftPolicy,
    wanted: Callable[[], bool],
    *,
    guesser: DraftModel | None,
    clock: Clock,
) -> None:
    for time in calibrate(context, clock.monotonic, wanted):
        scheduler.pace.note(streaming=time.streaming, prefilled=time.prefilled, elapsed_s=time.elapsed_s)
        if time.streaming == 1:
            policy.note_several(1, time.elapsed_s)
    for time in () if guesser is None else guesser.calibrate(wanted):
        policy.note_draft_model(rows=time.streaming + time.prefilled, elapsed_s=time.elapsed_s)


def _conversation(origin: Origin) -> Hashable:
    return None if origin.session is None else (origin.session, origin.agent, origin.priority)


def _new_call_id() -> ToolCallId:
    return ToolCallId(f"toolu_{secrets.token_hex(12)}")
