"""Ours: the engine thread over a context that plays a part: every outcome of a decode, on demand."""

from __future__ import annotations

import itertools
import json
import queue
import threading
from array import array
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Tokens
from typing import Any, cast

import attrs
import numpy as np
import pytest
from llguidance import LLTokenizer
from structlog.testing import capture_logs

from pensieve_core import (
    AnswerProgressed,
    EngineFailedError,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ModelId,
    OverloadedError,
    PensieveError,
    PrefillProgressed,
    RequestId,
    TextProduced,
    Tool,
    ToolCallArguments,
    ToolCallId,
    ToolCallStarted,
)
from pensieve_gguf.constraints import MARKED_HEADER, Constraint, Guide, Plan, Vocabulary
from pensieve_gguf.engine.answer import Answer
from pensieve_gguf.engine.carrying import ON_CPU, Carrying
from pensieve_gguf.engine.checkpoints import Checkpoints
from pensieve_gguf.engine.drafter import Drafter
from pensieve_gguf.engine.drafts import DraftPolicy
from pensieve_gguf.engine.guesser import CaughtUp, Guesser, Guesses
from pensieve_gguf.engine.job import Job
from pensieve_gguf.engine.loop import EngineLoop
from pensieve_gguf.engine.prompts import Remember
from pensieve_gguf.engine.repeats import Repeat, RepeatGuard
from pensieve_gguf.engine.residents import Residents
from pensieve_gguf.engine.scheduler import Scheduler
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.shelf import Shelf
from pensieve_gguf.engine.step_costs import GivenCosts
from pensieve_gguf.llama import ContextShape, DecodeError, DecodeOutcome, Rows, State
from pensieve_gguf.parsers import OutputParser, ParsedEvent, make_parser

END = 256
PATIENCE_S = 20.0


class ByteModel:
    """Tokens 0 to 255 are bytes; 256 ends the turn. `!` is a byte that nobody can read."""

    end_tokens = frozenset({END})

    def is_end(self, token: int) -> bool:
        return token == END

    def piece(self, token: int) -> bytes:
        if token == ord("!"):
            msg = "a bug"
            raise ValueError(msg)
        return bytes([token])


class Flag:
    """Tells that it was raised, instead of stopping anything."""

    def __init__(self) -> None:
        self.raised = threading.Event()

    def raise_flag(self) -> None:
        self.raised.set()

    def clear(self) -> None:
        pass


class ActingContext:
    """A context whose model says what the prompt asks for: the text after the last `=`, then the end.

    Several texts, parted by `|`, are second thoughts: the next one is said when the first token of one is forbidden.

    Args:
        outcomes: What the first decodes answer; an exception is raised. All further ones are done.
        with_drafts: What the first decodes answer that hold drafts, before all else.
        cuts_partially: What `cut` answers about a part of a slot.
        refusals: How many states cannot be restored before one can.
        loses: Whether no slot holds what was computed into it.
        obeys: Whether it says what a mask leaves; if not, it is not to be constrained.
    """

    def __init__(
        self,
        *outcomes: DecodeOutcome | Exception,
        with_drafts: Tokens[DecodeOutcome] = (),
        cells: int = 512,
        cuts_partially: bool = True,
        refusals: int = 0,
        loses: bool = False,
        obeys: bool = False,
    ) -> None:
        self._obeys = obeys
        self._row = np.zeros(257, np.float32)
        self._loses = loses
        self.with_drafts = list(with_drafts)
        self._refusals = refusals
        self.model = ByteModel()
        self.cells = cells
        self.shape = ContextShape(cells=cells, sequences=9, batch_tokens=32, threads=1)
        self.abort = Flag()
        self.closed = threading.Event()
        self.decoding = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self._outcomes = list(outcomes)
        self._cuts_partially = cuts_partially
        self._slots: dict[int, list[int]] = {}
        self._rows: list[tuple[int, int]] = []
        """Batch index → slot, and how many tokens it held up to there."""
        self._forbidden: set[int] = set()

    def decode(self, rows: Tokens[Rows]) -> tuple[DecodeOutcome, list[int]]:
        self.decoding.set()
        assert self.go_on.wait(PATIENCE_S)
        outcome = self._outcomes.pop(0) if self._outcomes else DecodeOutcome.DONE
        if self.with_drafts and any(row.drafted for row in rows):
            outcome = self.with_drafts.pop(0)
        if not isinstance(outcome, DecodeOutcome):
            raise outcome
        for row in rows if outcome is not DecodeOutcome.NO_ROOM else ():
            held = self._slots.setdefault(row.slot, [])
            assert len(held) == row.start, "computed where there is something, or where there is nothing before"
            held.extend(row.tokens)
        self._rows = [(row.slot, row.start + ahead) for row in rows for ahead in range(1, len(row.tokens) + 1)]
        self._forbidden = set()
        self._row[:] = 0
        return outcome, [end - 1 for end in itertools.accumulate(len(row.tokens) for row in rows)]

    def sample(self, sampler: object, index: int) -> int:
        slot, length = self._rows[index]
        held = bytes(self._slots[slot][:length]).decode()
        prompt, _, wish = held.rpartition("=")
        assert prompt
        thoughts, _, said = wish.partition(";")
        for thought in thoughts.split("|"):
            rest: list[int] = [*thought.encode()[len(said) :], END]
            possible = rest[0] not in self._forbidden and np.isfinite(self._row[rest[0]])
            if thought.startswith(said) and possible:
                return rest[0]
        msg = f"nothing is left to say after {said!r} of {thoughts!r}"
        raise AssertionError(msg)

    def forbid(self, index: int, tokens: Tokens[int]) -> None:
        self._forbidden |= set(tokens)

    def logits(self, index: int) -> Any:
        return self._row if self._obeys else np.zeros(257, np.float32)

    def cut(self, slot: int, length: int) -> bool:
        if not self._cuts_partially and length:
            return False
        del self._slots.setdefault(slot, [])[length:]
        return True

    def holds(self, slot: int, length: int) -> bool:
        return len(self._slots.get(slot, [])) == length and not (self._loses and length)

    def clear(self) -> None:
        self._slots.clear()

    def state_bytes(self, slot: int) -> int:
        return len(self._slots[slot])

    def state(self, slot: int) -> State:
        return np.array(self._slots[slot], np.uint8)

    def restore(self, slot: int, state: State) -> bool:
        assert not self._slots.get(slot), "restored onto what is there"
        if self._refusals:
            self._refusals -= 1
            return False
        self._slots[slot] = state.tolist()
        return True

    checkpoint_bytes, checkpoint = state_bytes, state

    def rewind(self, slot: int, checkpoint: State, length: int) -> bool:
        assert len(self._slots[slot]) >= length == len(checkpoint)
        self._slots[slot] = checkpoint.tolist()
        return True

    def share(self, source: int, target: int, length: int, *, start: int = 0) -> None:
        """Of cells it knows their order only, not their positions."""
        held = self._slots.get(target, [])
        if start and held:  # what is put behind them may begin before they end
            source_start = length - len(self._slots[source])
            self._slots[target] = held + self._slots[source][start - source_start :]
        else:
            self._slots[target] = self._slots[source][start:length]

    def close(self) -> None:
        self.closed.set()


class TornParser:
    """Cannot end."""

    done = False

    def feed(self, text: str) -> tuple[ParsedEvent, ...]:
        return (TextProduced(text=text),)

    def finish(self) -> tuple[ParsedEvent, ...]:
        msg = "a bug"
        raise ValueError(msg)


class FakeSampler:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


@attrs.define(eq=False)
class Client:
    """A sink, and what it heard."""

    heard: queue.SimpleQueue[GenerationEvent | PensieveError] = attrs.field(factory=queue.SimpleQueue)
    sampler: FakeSampler = attrs.field(factory=FakeSampler)

    def event(self, event: GenerationEvent) -> None:
        self.heard.put(event)

    def failed(self, error: PensieveError) -> None:
        self.heard.put(error)

    def next(self) -> GenerationEvent | PensieveError:
        return self.heard.get(timeout=PATIENCE_S)

    def all(self) -> list[GenerationEvent | PensieveError]:
        """Wait for the end; return everything."""
        heard = [self.next()]
        while not isinstance(heard[-1], GenerationFinished | PensieveError):
            heard.append(self.next())
        assert self.sampler.closed
        assert self.heard.empty()
        return heard


def constraint(text: str) -> Constraint:
    """Return what admits `text` alone."""
    return Vocabulary(LLTokenizer("byte"), {END}).compile(f"start: {json.dumps(text)}")


def text_of(heard: list[Any]) -> str:
    return "".join(event.text for event in heard if isinstance(event, TextProduced))


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    """Every engine made in a test; ended after it."""
    made: list[Engine] = []
    yield made
    for engine in made:
        engine.context.go_on.set()
        engine.loop.close(OverloadedError("the test is over"))
        assert engine.context.closed.is_set()


class Engine:
    """A loop over an acting context.

    Args:
        engines: The fixture of this name.
        context: Its context.
    """

    def __init__(
        self,
        engines: list[Engine],
        context: ActingContext,
        *,
        forgets_partially: bool = True,
        batch_tokens: int = 32,
        slots: int = 4,
        shelf_bytes: int = 0,
        drafts: bool = False,
        warm_up: Callable[[Callable[[], bool]], None] = lambda _: None,
        carrying: Carrying = ON_CPU,
        guesser: Guesser | None = None,
    ) -> None:
        self.context = context
        self._drafts = drafts
        checkpoints = Checkpoints()
        self.shelf = Shelf(shelf_bytes, forgets_partially=forgets_partially, checkpoints=checkpoints)
        residents = Residents(slots, forgets_partially=forgets_partially, checkpoints=checkpoints)
        self.scheduler = Scheduler(
            residents,
            batch_tokens=batch_tokens,
            max_running=4,
            stretch=3.0,
            shelf=self.shelf,
            carrying=carrying,
            drafts=DraftPolicy(GivenCosts({1: 1.0, 64: 1.0}), longest=context.cells, guesser=guesser),
        )
        self.loop = EngineLoop(cast("Any", context), self.scheduler, self.shelf, warm_up=warm_up)
        self._keys = iter(range(1, 100))
        self.loop.start()
        engines.append(self)

    def ask(
        self,
        prompt: str,
        *,
        max_tokens: int = 100,
        may_be_empty: bool = False,
        answered: frozenset[Repeat] = frozenset(),
        remember: Remember | None = None,
        parser: OutputParser | None = None,
        answers: int = 2,
        demanded: str = "",
        plan: Plan | None = None,
        stop_sequences: tuple[str, ...] = (),
    ) -> tuple[int, Client]:
        """Submit a prompt `…=text;`; return its key, and who hears of it. More than `answers` cannot be started."""
        client = Client()
        tokens = array("i", list(f"{prompt};".encode()))
        key = next(self._keys)
        guards = iter([RepeatGuard(answered), *[RepeatGuard(frozenset())] * (answers - 1)])
        request = GenerationRequest(
            id=RequestId("req_1"),
            model=ModelId("bytes"),
            turns=(),
            tools=(Tool(name="ls", parameters={}),),
            max_tokens=max_tokens,
        )

        def make_answer() -> Answer:
            usual = make_parser("", request, opens_thinking=False, new_call_id=lambda: ToolCallId("toolu_1"))
            held_to = Plan(whole=constraint(demanded)) if demanded else plan
            guide = None if held_to is None else Guide(held_to)
            return Answer(
                self.context.model,
                parser or usual,
                stop_sequences=stop_sequences,
                max_tokens=max_tokens,
                guard=next(guards),
                guide=guide,
            )

        sequence = Sequence(key=key, tokens=tokens, prompt_tokens=len(tokens), max_tokens=max_tokens)
        sequence.drafter = Drafter(tokens, len(tokens)) if self._drafts else None
        job = Job(
            sequence=sequence,
            make_answer=make_answer,
            sampler=cast("Any", client.sampler),
            sink=client,
            may_be_empty=may_be_empty,
            remember=remember,
            marked_tokens=4,
        )
        self.loop.submit(job)
        return key, client

    def hear(self, prompt: str, **knobs: Any) -> list[Any]:
        return self.ask(prompt, **knobs)[1].all()


# -- answers -------------------------------------------------------------------------------------------------------


def test_whoever_asks_while_the_machine_is_measured_ends_that(engines: list[Engine]) -> None:
    """Ours: after a restart the first request comes as soon as the model is there."""
    context, warming, asked = ActingContext(), threading.Event(), threading.Event()

    def warm_up(wanted: Callable[[], bool]) -> None:
        assert wanted()
        warming.set()
        assert context.abort.raised.wait(PATIENCE_S)
        if not wanted():
            asked.set()

    engine = Engine(engines, context, warm_up=warm_up)
    assert warming.wait(PATIENCE_S)
    _, client = engine.ask("Hi=Hello")
    assert text_of(client.all()) == "Hello"
    assert asked.is_set()


def test_a_prompt_is_answered_and_finished(engines: list[Engine]) -> None:
    heard = Engine(engines, ActingContext()).hear("say=hello")
    assert text_of(heard) == "hello"
    finish = heard[-1]
    assert finish.reason is FinishReason.END_OF_TURN
    assert finish.usage.prompt_tokens == len("say=hello;")
    assert finish.usage.generated_tokens == 5
    assert finish.usage.cache_created_tokens == 4
    assert finish.timings.decode_steps == 5
    assert finish.timings.prefilled_tokens == len("say=hello;")


def test_a_long_prompt_tells_its_progress(engines: list[Engine]) -> None:
    prompt = "x" * 90 + "=hi"
    heard = Engine(engines, ActingContext()).hear(prompt)
    progress = [event for event in heard if isinstance(event, PrefillProgressed)]
    assert [event.processed_tokens for event in progress] == [32, 64]
    assert {event.total_tokens for event in progress} == {len(prompt) + 1}


def test_zero_tokens_compute_the_prompt_alone(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext())
    (finish,) = engine.hear("say=hello", max_tokens=0)
    assert finish.reason is FinishReason.MAX_TOKENS
    assert finish.usage.generated_tokens == 0
    assert engine.loop.vitals.tokens_sampled == 0
    assert engine.hear("say=hello")[-1].usage.cached_tokens == len("say=hello;") - 1


def test_an_answer_ends_when_its_context_is_full_with_all_that_was_held_back(engines: list[Engine]) -> None:
    """`<` may open a call: the parser keeps it until it knows."""
    prompt = "say=" + "a" * 19 + "<b>"
    heard = Engine(engines, ActingContext(cells=len(prompt) + 1 + 20)).hear(prompt)
    assert text_of(heard) == "a" * 19 + "<"
    assert heard[-1].reason is FinishReason.CONTEXT_FULL


def test_the_counters_tell_what_was_done(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext())
    engine.hear("say=hello")
    vitals = engine.loop.vitals
    assert (vitals.decodes, vitals.tokens_prefilled, vitals.tokens_sampled) == (6, 10, 6)
    assert vitals.decoding_since is None


class WatchedGuesser:
    """Follows nobody, and notes what can be seen from outside while it is asked."""

    def __init__(self) -> None:
        self.decoding_since: Callable[[], float | None] = lambda: None
        self.seen: list[float | None] = []

    def behind(self, sequence: Sequence) -> int | None:
        self.seen.append(self.decoding_since())
        return None

    def catch_up(self, sequence: Sequence, most: int) -> CaughtUp:
        raise NotImplementedError

    def guess(self, asked: Mapping[Sequence, int], *, floor: float) -> Guesses:
        raise NotImplementedError

    def release(self, sequence: Sequence) -> None:
        pass


def test_while_a_draft_model_may_compute_a_watchdog_sees_since_when(engines: list[Engine]) -> None:
    """It is asked while a step is scheduled; native code that hangs there hangs for ever."""
    guesser = WatchedGuesser()
    engine = Engine(engines, ActingContext(), drafts=True, guesser=guesser)
    guesser.decoding_since = lambda: engine.loop.vitals.decoding_since
    engine.hear("say=hello there")
    assert guesser.seen
    assert None not in guesser.seen
    assert engine.loop.vitals.decoding_since is None


# -- second thoughts -----------------------------------------------------------------------------------------------


def test_an_empty_turn_is_refused_once(engines: list[Engine]) -> None:
    """Observed: Qwen2.5-Coder-1.5B ends turns with nothing at all (design 7)."""
    engine = Engine(engines, ActingContext())
    assert text_of(engine.hear("say=|hello")) == "hello"
    assert engine.loop.vitals.empty_turns_refused == 1


def test_an_answer_that_is_continued_may_be_complete_already(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext())
    (finish,) = engine.hear("say=|hello", may_be_empty=True)
    assert finish.reason is FinishReason.END_OF_TURN
    assert engine.loop.vitals.empty_turns_refused == 0


CALL = '<tool_call>{"name":"ls","arguments":{}}</tool_call>'
LOOPING = f"say={CALL}|done"
ANSWERED = frozenset({Repeat("ls", "{}")})


@pytest.mark.parametrize("forgets_partially", [True, False], ids=["attention", "recurrent"])
@pytest.mark.parametrize("may_be_empty", [True, False])
def test_an_answer_that_only_repeats_a_call_is_sampled_anew(
    engines: list[Engine], *, forgets_partially: bool, may_be_empty: bool
) -> None:
    context = ActingContext(cuts_partially=forgets_partially)
    engine = Engine(engines, context, forgets_partially=forgets_partially)
    heard = engine.hear(LOOPING, answered=ANSWERED, may_be_empty=may_be_empty)
    assert text_of(heard) == "done"
    assert heard[-1].reason is FinishReason.END_OF_TURN
    assert heard[-1].usage.generated_tokens == 4
    assert engine.loop.vitals.repeated_calls_refused == 1


def test_a_call_that_was_not_answered_goes_through_and_is_remembered(engines: list[Engine]) -> None:
    remembered: list[tuple[str, bytes]] = []

    def remember(words: str, told: Tokens[GenerationEvent], sampled: Tokens[int]) -> None:
        assert any(isinstance(event, ToolCallArguments) for event in told)
        remembered.append((words, bytes(token for token in sampled if token != END)))

    heard = Engine(engines, ActingContext()).hear(LOOPING, remember=remember)
    assert heard[-1].reason is FinishReason.TOOL_CALLS
    assert "".join(event.fragment for event in heard if isinstance(event, ToolCallArguments)) == "{}"
    ((words, sampled),) = remembered
    assert LOOPING.partition("=")[2].partition("|")[0] == words == sampled.decode()


# -- demands -------------------------------------------------------------------------------------------------------


def test_an_answer_that_is_what_was_demanded_ends_without_another_decode(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext())
    heard = engine.hear("say=hello", demanded="hello")
    assert text_of(heard) == "hello"
    assert heard[-1].reason is FinishReason.END_OF_TURN
    assert heard[-1].usage.generated_tokens == engine.loop.vitals.tokens_sampled == 5
    assert engine.loop.vitals.constraints_failed == 0


def test_an_answer_that_is_not_what_was_demanded_is_delivered_and_told(engines: list[Engine]) -> None:
    """A mask that failed must not be silent."""
    engine = Engine(engines, ActingContext())
    with capture_logs() as logs:
        assert text_of(engine.hear("say=hello", demanded="help")) == "hello"
    assert (engine.loop.vitals.tokens_refused, engine.loop.vitals.constraints_failed) == (1, 1)
    (log,) = logs
    assert log["event"] == "constraint_failed"


# -- drafts --------------------------------------------------------------------------------------------------------

VERSE = "row, row, row your boat, gently down the stream"
"""The acting model says what stands in its prompt: all of it can be looked up."""


def test_with_drafts_the_answer_is_the_same_in_fewer_steps(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext(), drafts=True)
    heard = engine.hear(f"say={VERSE}")
    assert text_of(heard) == VERSE
    assert heard[-1].usage.generated_tokens == len(VERSE)
    assert heard[-1].timings.decode_steps < len(VERSE) / 3
    vitals = engine.loop.vitals
    assert vitals.tokens_sampled == len(VERSE) + 1
    assert vitals.decode_steps == heard[-1].timings.decode_steps == vitals.decodes - 2  # its prompt takes two
    assert vitals.drafts_accepted == vitals.tokens_sampled - 1 - vitals.decode_steps
    assert vitals.tokens_drafted > vitals.drafts_accepted, "the end was drafted, too, as something else"


def test_what_was_drafted_in_vain_is_not_in_the_cache(engines: list[Engine]) -> None:
    """The acting context refuses rows that do not follow what it holds."""
    engine = Engine(engines, ActingContext(), drafts=True)
    turning = "so far, so good, so far, so bad"
    assert text_of(engine.hear(f"say={turning}")) == turning
    assert engine.loop.vitals.tokens_drafted > engine.loop.vitals.drafts_accepted > 0


@pytest.mark.parametrize("drafts", [True, False])
@pytest.mark.parametrize(
    ("limits", "text", "reason"),
    [
        ({"max_tokens": 20}, VERSE[:20], FinishReason.MAX_TOKENS),
        ({"stop_sequences": ("gent",)}, VERSE.partition("gent")[0], FinishReason.STOP_SEQUENCE),
    ],
    ids=["limit", "stop"],
)
def test_an_answer_ends_in_the_middle_of_a_draft_as_it_would_without(
    engines: list[Engine], limits: dict[str, Any], text: str, reason: FinishReason, *, drafts: bool
) -> None:
    engine = Engine(engines, ActingContext(), drafts=drafts)
    heard = engine.hear(f"say={VERSE}", **limits)
    assert (text_of(heard), heard[-1].reason) == (text, reason)
    said = len("say=;") + len(VERSE) + heard[-1].usage.generated_tokens
    by_its_text = reason is FinishReason.STOP_SEQUENCE and not drafts  # noticed when its last token is computed, too
    assert [len(held) for held in engine.context._slots.values()] == [said - 1 + by_its_text]


def test_drafts_end_where_the_context_is_full(engines: list[Engine]) -> None:
    prompt = f"say={VERSE}"
    heard = Engine(engines, ActingContext(cells=len(prompt) + 1 + 20), drafts=True).hear(prompt)
    assert text_of(heard) == VERSE[:20]
    assert heard[-1].reason is FinishReason.CONTEXT_FULL


@pytest.mark.parametrize("forgets_partially", [True, False], ids=["attention", "recurrent"])
def test_an_answer_that_is_refused_in_the_middle_of_a_draft_is_sampled_anew(
    engines: list[Engine], *, forgets_partially: bool
) -> None:
    engine = Engine(
        engines,
        ActingContext(cuts_partially=forgets_partially),
        drafts=forgets_partially,
        forgets_partially=forgets_partially,
    )
    heard = engine.hear(f"say={CALL}|{VERSE}", answered=ANSWERED)
    assert text_of(heard) == VERSE
    assert engine.loop.vitals.repeated_calls_refused == 1


@pytest.mark.parametrize("outcome", [DecodeOutcome.NO_ROOM, DecodeOutcome.ABORTED])
def test_drafts_that_find_no_room_or_are_stopped_cost_nobody_anything(
    engines: list[Engine], outcome: DecodeOutcome
) -> None:
    context = ActingContext(with_drafts=(outcome, outcome))
    engine = Engine(engines, context, drafts=True)
    heard = engine.hear(f"say={VERSE}")
    assert text_of(heard) == VERSE
    assert heard[-1].reason is FinishReason.END_OF_TURN
    assert engine.loop.vitals.drafts_accepted > 0
    assert context.with_drafts == []


def test_a_bug_in_the_middle_of_a_draft_ends_its_job_alone(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext(), drafts=True)
    assert isinstance(engine.hear("say=row, row, row !your boat")[-1], EngineFailedError)
    assert text_of(engine.hear("say=hello")) == "hello"
    assert engine.loop.ended is None


# -- no room, and aborts -------------------------------------------------------------------------------------------


def test_an_idle_prefix_makes_room(engines: list[Engine]) -> None:
    context = ActingContext()
    engine = Engine(engines, context)
    engine.hear("one=hello")
    context._outcomes.append(DecodeOutcome.NO_ROOM)
    assert text_of(engine.hear("two=world")) == "world"
    assert engine.loop.vitals.evictions == 1


def test_the_youngest_makes_room_and_is_answered_later(engines: list[Engine]) -> None:
    context = ActingContext()
    context.go_on.clear()
    engine = Engine(engines, context)
    _, elder = engine.ask("one=hello")
    assert context.decoding.wait(PATIENCE_S)
    _, younger = engine.ask("two=world")
    context._outcomes += [DecodeOutcome.DONE, DecodeOutcome.NO_ROOM]
    context.go_on.set()
    assert text_of(elder.all()) == "hello"
    assert text_of(younger.all()) == "world"
    assert engine.loop.vitals.preemptions == 1


def test_what_was_evicted_comes_back_from_the_shelf(engines: list[Engine]) -> None:
    context = ActingContext(*[DecodeOutcome.DONE] * 4, DecodeOutcome.NO_ROOM)
    engine = Engine(engines, context, shelf_bytes=100)
    engine.hear("one=abc")
    engine.hear("two=xyz")
    assert len(engine.shelf) == 1
    heard = engine.hear("one=abc;abc, then=more")
    assert text_of(heard) == "more"
    assert heard[-1].usage.cached_tokens == len("one=abc;abc")
    assert (engine.loop.vitals.shelved, engine.loop.vitals.restored) == (1, 1)


def test_what_was_preempted_comes_back_from_the_shelf(engines: list[Engine]) -> None:
    context = ActingContext(DecodeOutcome.DONE, DecodeOutcome.DONE, DecodeOutcome.NO_ROOM)
    context.go_on.clear()
    engine = Engine(engines, context, shelf_bytes=100)
    clients = [engine.ask(f"{number}=answer")[1] for number in range(2)]
    context.go_on.set()
    assert [text_of(client.all()) for client in clients] == ["answer"] * 2
    assert (engine.loop.vitals.preemptions, engine.loop.vitals.restored) == (1, 1)
    assert engine.loop.vitals.tokens_prefilled == 2 * len("0=answer;")


def test_a_state_that_finds_no_room_pushes_idle_prefixes_out(engines: list[Engine]) -> None:
    context = ActingContext(*[DecodeOutcome.DONE] * 4, DecodeOutcome.NO_ROOM, refusals=1)
    engine = Engine(engines, context, shelf_bytes=100)
    engine.hear("one=abc")
    engine.hear("two=xyz")
    assert engine.hear("one=abc;abc, then=more")[-1].usage.cached_tokens == len("one=abc;abc")
    assert engine.loop.vitals.evictions == 2


def test_a_state_that_cannot_be_restored_is_forgotten_and_its_prompt_computed(engines: list[Engine]) -> None:
    context = ActingContext(*[DecodeOutcome.DONE] * 4, DecodeOutcome.NO_ROOM, refusals=2)
    engine = Engine(engines, context, shelf_bytes=100)
    engine.hear("one=abc")
    engine.hear("two=xyz")
    assert text_of(engine.hear("one=abc;abc, then=more")) == "more"
    assert engine.loop.vitals.restored == 0


@pytest.mark.parametrize("shelf_bytes", [0, 100])
def test_an_idle_prefix_leaves_the_cache_when_others_decode_for_long(engines: list[Engine], shelf_bytes: int) -> None:
    """It slows every step; where the shelf has no room for it, it stays."""
    engine = Engine(engines, ActingContext(), shelf_bytes=shelf_bytes)
    engine.hear("one=abc")
    engine.hear("two=" + "x" * 60)
    assert len(engine.shelf) == (shelf_bytes > 0)
    assert engine.hear("one=abc;abc, then=more")[-1].usage.cached_tokens == len("one=abc;abc")
    assert engine.loop.vitals.restored == (shelf_bytes > 0)


@pytest.mark.parametrize("refusals", [0, 1])
def test_of_an_idle_prefix_only_the_end_leaves_and_comes_back_behind_what_stayed(
    engines: list[Engine], refusals: int
) -> None:
    """Where copies are dear: what others hold, too, is not copied. One that finds no room pushes its beginning out."""
    engine = Engine(engines, ActingContext(refusals=refusals), shelf_bytes=100, carrying=Carrying(steps=8, ends=True))
    engine.hear("head, one=abc")
    engine.hear("head, two=" + "x" * 60)
    assert engine.shelf.bytes_used == len("one=abc;abc")
    heard = engine.hear("head, one=abc;abc, then=more")
    assert text_of(heard) == "more"
    assert engine.loop.vitals.restored == 1 - refusals
    assert heard[-1].usage.cached_tokens == len("head, one=abc;abc")


def test_a_sequence_that_fills_the_cache_alone_ends(engines: list[Engine]) -> None:
    heard = Engine(engines, ActingContext(DecodeOutcome.DONE, DecodeOutcome.NO_ROOM)).hear("say=hello")
    assert text_of(heard) == "h"
    assert heard[-1].reason is FinishReason.CONTEXT_FULL


@pytest.mark.parametrize("forgets_partially", [True, False], ids=["attention", "recurrent"])
def test_an_aborted_decode_is_done_again(engines: list[Engine], *, forgets_partially: bool) -> None:
    outcomes = [DecodeOutcome.DONE, DecodeOutcome.ABORTED, DecodeOutcome.DONE, DecodeOutcome.ABORTED]
    context = ActingContext(*outcomes, cuts_partially=forgets_partially)
    engine = Engine(engines, context, forgets_partially=forgets_partially)
    heard = engine.hear("x" * 40 + "=hello")
    assert text_of(heard) == "hello"
    told = [event.processed_tokens for event in heard if isinstance(event, PrefillProgressed)]
    assert told == [32]


# -- bugs of one job -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["say=ab!c", "say="], ids=["answer", "sampler"])
def test_a_bug_in_one_answer_ends_it_and_no_other(engines: list[Engine], prompt: str) -> None:
    context = ActingContext()
    context.go_on.clear()
    engine = Engine(engines, context)
    _, broken = engine.ask(prompt)
    assert context.decoding.wait(PATIENCE_S)
    _, bystander = engine.ask("one=hello")
    context.go_on.set()
    error = broken.all()[-1]
    assert isinstance(error, EngineFailedError)
    assert "the engine cannot answer this request" in error.message
    assert text_of(bystander.all()) == "hello"
    assert engine.loop.ended is None


def test_after_a_bug_in_an_answer_its_prompt_is_still_cached(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext())
    engine.hear("say=ab!c")
    finish = engine.hear("say=ab!c", max_tokens=0)[-1]
    assert finish.usage.cached_tokens == finish.usage.prompt_tokens - 1
    assert engine.scheduler.idle


@pytest.mark.parametrize("limits", [{"max_tokens": 2}, {"max_tokens": 0}, {}], ids=["some", "none", "end"])
def test_a_parser_that_cannot_end_ends_its_own_job_alone(engines: list[Engine], limits: dict[str, int]) -> None:
    engine = Engine(engines, ActingContext())
    assert isinstance(engine.hear("say=hello", parser=TornParser(), **limits)[-1], EngineFailedError)
    assert text_of(engine.hear("say=hello")) == "hello"


def test_a_parser_that_cannot_end_when_the_cache_is_full_ends_its_own_job_alone(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext(DecodeOutcome.DONE, DecodeOutcome.NO_ROOM))
    assert isinstance(engine.hear("say=hello", parser=TornParser())[-1], EngineFailedError)
    assert text_of(engine.hear("say=hello")) == "hello"


def test_a_second_answer_that_cannot_be_started_ends_its_own_job_alone(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext())
    assert isinstance(engine.hear(LOOPING, answered=ANSWERED, answers=1)[-1], EngineFailedError)
    assert text_of(engine.hear("say=hello")) == "hello"


# -- leaving -------------------------------------------------------------------------------------------------------


def test_a_job_that_is_cancelled_in_the_middle_of_a_decode_stops_it(engines: list[Engine]) -> None:
    context = ActingContext()
    context.go_on.clear()
    engine = Engine(engines, context)
    key, left = engine.ask("one=hello")
    assert context.decoding.wait(PATIENCE_S)
    engine.loop.cancel(key)
    assert context.abort.raised.is_set()
    context._outcomes.append(DecodeOutcome.ABORTED)
    context.go_on.set()
    assert text_of(engine.hear("two=world")) == "world"
    assert left.heard.empty()
    assert left.sampler.closed


def test_a_job_that_waits_is_cancelled_without_stopping_anyone(engines: list[Engine]) -> None:
    context = ActingContext()
    context.go_on.clear()
    engine = Engine(engines, context)
    _, stays = engine.ask("one=hello")
    assert context.decoding.wait(PATIENCE_S)
    key, left = engine.ask("two=world")
    engine.loop.cancel(key)
    engine.loop.cancel(99)
    assert not context.abort.raised.is_set()
    context.go_on.set()
    assert text_of(stays.all()) == "hello"
    assert left.heard.empty()
    assert left.sampler.closed


def test_closing_ends_what_runs_and_what_waits_and_what_comes(engines: list[Engine]) -> None:
    context = ActingContext()
    context.go_on.clear()
    engine = Engine(engines, context)
    clients = [engine.ask("one=hello")[1]]
    assert context.decoding.wait(PATIENCE_S)
    clients.append(engine.ask("two=world")[1])
    closing = threading.Thread(target=engine.loop.close, args=(OverloadedError("closing"),))
    closing.start()
    assert context.abort.raised.wait(PATIENCE_S)
    context.go_on.set()
    closing.join(PATIENCE_S)
    clients.append(engine.ask("three=late")[1])
    for client in clients:
        assert isinstance(client.all()[-1], OverloadedError)
    assert engine.loop.ended is not None


def test_what_is_cancelled_while_the_engine_closes_is_not_missed(engines: list[Engine]) -> None:
    context = ActingContext()
    context.go_on.clear()
    engine = Engine(engines, context)
    key, running = engine.ask("one=hello")
    assert context.decoding.wait(PATIENCE_S)
    context._outcomes.append(RuntimeError("a bug"))
    engine.loop.cancel(key)  # is never read: the decode fails
    context.go_on.set()
    assert isinstance(running.all()[-1], EngineFailedError)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (DecodeError("llama_decode answered -3"), "llama_decode answered -3"),
        (RuntimeError("a bug"), "the engine stopped: RuntimeError"),
    ],
)
def test_a_failure_ends_all_that_run_and_all_that_come(engines: list[Engine], failure: Exception, words: str) -> None:
    engine = Engine(engines, ActingContext(failure))
    for _ in range(2):
        (error,) = engine.hear("one=hello")
        assert isinstance(error, EngineFailedError)
        assert words in error.message
    assert engine.context.closed.is_set()


def test_a_prompt_whose_cells_are_never_where_they_should_be_fails_in_the_end(engines: list[Engine]) -> None:
    """Its second chunk cannot be computed upon the first: that is tried three times, and not for ever."""
    engine = Engine(engines, ActingContext(loses=True))
    with capture_logs() as logs:
        _, client = engine.ask("x" * 50 + "=Hello")
        *_, error = client.all()
    assert isinstance(error, EngineFailedError)
    assert "lost its prompt 3 times" in error.message
    assert [log["event"] for log in logs] == ["cells_astray"] * 3
    assert engine.loop.vitals.astray == 3
    _, client = engine.ask("Hi=Hello")
    assert text_of(client.all()) == "Hello", "what fits into one chunk is not looked for"


def test_a_cache_that_contradicts_itself_is_forgotten_once_the_engine_is_idle(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext(), shelf_bytes=1_000)
    _, client = engine.ask("Hi=Hello")
    assert text_of(client.all()) == "Hello"
    with capture_logs() as logs:
        engine.scheduler._residents._free.insert(0, 0)  # the slot is held
        _, client = engine.ask("Who=Me")
        assert text_of(client.all()) == "Me"
        _, client = engine.ask("Hi=Hello")
        answered = client.all()
    assert text_of(answered) == "Hello"
    assert engine.loop.vitals.resets == 1
    assert [log["event"] for log in logs] == ["cache_contradicted"]
    assert isinstance(answered[-1], GenerationFinished)
    assert answered[-1].usage.cached_tokens == 0


BROKEN = 'So:\n{"name": "ls", "arguments": [1]}'
MENDED = 'So:\n<tool_call>\n{"name": "ls", "arguments": {}}\n</tool_call>'


def mending() -> Plan:
    """Return what demands a call of `ls` where one has broken."""
    header = Vocabulary(LLTokenizer("byte"), {END}).compile(
        'start: "<tool_call>\\n{\\"name\\": \\"ls\\", \\"arguments\\": {" /(?s:.*)/'
    )
    return Plan(calls={MARKED_HEADER: header})


@pytest.mark.parametrize("cuts_partially", [True, False])
def test_a_call_that_breaks_is_taken_back_and_demanded_before_anyone_has_seen_it(
    engines: list[Engine], *, cuts_partially: bool
) -> None:
    """Ours: design 2, "A broken tool call is rolled back to its start and decoded again"."""
    context = ActingContext(obeys=True, cuts_partially=cuts_partially)
    engine = Engine(engines, context, forgets_partially=cuts_partially)
    remembered: list[tuple[str, Any, list[int]]] = []
    _, client = engine.ask(
        f"Hi={BROKEN}|{MENDED}",
        plan=mending(),
        remember=lambda words, told, ids: remembered.append((words, told, list(ids))),
    )
    heard = client.all()
    assert text_of(heard) == "So:"
    assert [event.name for event in heard if isinstance(event, ToolCallStarted)] == ["ls"]
    assert "".join(event.fragment for event in heard if isinstance(event, ToolCallArguments)) == "{}"
    assert isinstance(heard[-1], GenerationFinished)
    assert heard[-1].reason is FinishReason.TOOL_CALLS
    assert heard[-1].usage.generated_tokens == len(MENDED)
    assert engine.loop.vitals.broken_calls_refused == 1
    ((words, told, ids),) = remembered
    assert (words, bytes(ids[: len(MENDED)]).decode()) == (MENDED, MENDED)
    unseen = GenerationFinished | PrefillProgressed | AnswerProgressed
    assert told == [event for event in heard if not isinstance(event, unseen)]


def test_a_call_that_breaks_twice_is_text_the_second_time(engines: list[Engine]) -> None:
    engine = Engine(engines, ActingContext(obeys=True))
    again = f'{MENDED}\n{{"name": "ls", "arguments": [2]}}'
    _, client = engine.ask(f"Hi={BROKEN}|{again}", plan=mending())
    assert text_of(client.all()) == 'So:{"name": "ls", "arguments": [2]}'
    assert engine.loop.vitals.broken_calls_refused == 1


def test_a_call_that_breaks_where_none_can_be_demanded_is_text(engines: list[Engine]) -> None:
    for plan in (None, Plan()):
        engine = Engine(engines, ActingContext())
        _, client = engine.ask(f"Hi={BROKEN}", plan=plan)
        assert text_of(client.all()) == BROKEN
        assert engine.loop.vitals.broken_calls_refused == 0
