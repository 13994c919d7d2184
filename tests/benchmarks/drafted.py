"""What drafts bring: tokens per step in answers that repeat most of a file, and in prose.

    python tests/benchmarks/drafted.py [--model GGUF] [--step-costs FILE] [--against-none] [--learned] [--prompts DIR]
        [--draft-model GGUF [--guess-cost SHARE]]

Counters first: a step is one decode, and without drafts it brings one token. How long drafts are depends on what a step
costs by its width, t(n); measure that with `step_costs.py` and pass its JSON with --step-costs: then the speed-up is
told, too, which is tokens per step over the mean relative cost of those steps. Without it drafts are as long as pays
where 64 rows cost twice as much as one, and no speed-up is told. With --learned the engine finds the costs out itself,
as it does in use.

--draft-model loads a draft model, too; a step of it is taken to cost --guess-cost of a step with a single row (with
--learned it is measured). Its steps count in the speed-up.

--against-none asks everything of a second engine, too, that drafts nothing, in turns: ratios of tokens per second,
and where the two answers part. Answers are greedy; but sums over batches of other shapes are rounded otherwise, so two
tokens that are all but equally likely may change places.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
from collections import Counter
from pathlib import Path

import attrs

from pensieve_core import (
    DraftModel,
    GenerationFinished,
    GenerationRequest,
    ModelCapabilities,
    ModelDescriptor,
    ModelId,
    RequestId,
    Role,
    Sampling,
    TextPart,
    TextProduced,
    Turn,
)
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.engine.step_costs import GivenCosts, LearnedCosts, StepCosts
from pensieve_inference import SystemClock

_HERE = Path(__file__).parent
_CODER = "qwen2.5-coder-1.5b-instruct.Q4_K_M.gguf"
_AS_IF = {1: 1.0, 64: 2.0}


class CountedSteps:
    """Costs that count the widths of the steps of one sequence.

    Args:
        costs: Decide how long drafts are.
    """

    def __init__(self, costs: StepCosts) -> None:
        self._costs = costs
        self.widths: Counter[int] = Counter()

    @property
    def widest(self) -> int:
        """See `StepCosts`."""
        return self._costs.widest

    def of(self, rows: int) -> float:
        """See `StepCosts`."""
        return self._costs.of(rows)

    def note(self, rows: int, cost: float) -> None:
        """Count, and let the costs learn."""
        self.widths[rows] += 1
        self._costs.note(rows, cost)

    @property
    def guess(self) -> float:
        """See `StepCosts`."""
        return self._costs.guess

    @property
    def catch_up(self) -> float:
        """See `StepCosts`."""
        return self._costs.catch_up

    def note_guess(self, cost: float) -> None:
        """Let the costs learn."""
        self._costs.note_guess(cost)

    def note_catch_up(self, cost: float) -> None:
        """Let the costs learn."""
        self._costs.note_catch_up(cost)


@attrs.frozen(kw_only=True)
class Answered:
    """One answer, and how it was computed."""

    text: str
    tokens: int
    steps: int
    decode_s: float
    widths: Counter[int]
    guess_steps: int
    """Of the draft model."""

    @property
    def tokens_per_s(self) -> float:
        """Tokens after the first, per second."""
        return (self.tokens - 1) / self.decode_s

    def cost(self, costs: StepCosts) -> float:
        """Return how long its steps take together, the draft model's as well; a step without drafts takes 1."""
        own = sum(times * costs.of(width) for width, times in self.widths.items())
        return own + self.guess_steps * costs.guess


@attrs.frozen(kw_only=True)
class Task:
    """A prompt, and its answers with drafts and, where it was asked for, without."""

    name: str
    drafted: tuple[Answered, ...]
    plain: tuple[Answered, ...]


class Asker:
    """An engine, and what it is asked.

    Args:
        model: The GGUF.
        threads: Of a decode.
        costs: What steps cost; None: nothing is drafted.
        draft: Of a draft model, the GGUF.
    """

    def __init__(self, model: Path, threads: int, costs: StepCosts | None, draft: Path | None = None) -> None:
        self.steps = CountedSteps(costs or GivenCosts(_AS_IF))
        settings = GgufSettings(context_tokens=8_192, threads=threads, drafts=costs is not None)
        self.engine = GgufEngine.load(_descriptor(model, draft), settings, SystemClock(), costs=self.steps)

    async def ask(self, prompt: str, max_tokens: int) -> Answered:
        """Return the greedy answer."""
        self.steps.widths.clear()
        guess_steps = self.engine.vitals.guesser.steps
        request = GenerationRequest(
            id=RequestId("req_drafted"),
            model=self.engine.description.model.id,
            turns=(Turn(role=Role.USER, parts=(TextPart(text=prompt),)),),
            max_tokens=max_tokens,
            sampling=Sampling(temperature=0.0),
        )
        events = [event async for event in await self.engine.generate(request)]
        finish = events[-1]
        if not isinstance(finish, GenerationFinished):
            msg = "an answer ends with its end"
            raise TypeError(msg)
        return Answered(
            text="".join(event.text for event in events if isinstance(event, TextProduced)),
            tokens=finish.usage.generated_tokens,
            steps=finish.timings.decode_steps,
            decode_s=finish.timings.decode_s,
            widths=self.steps.widths.copy(),
            guess_steps=self.engine.vitals.guesser.steps - guess_steps,
        )


async def compare(askers: list[Asker], prompts: list[Path], rounds: int, max_tokens: int) -> list[Task]:
    """Ask every engine everything, in turns; the one first that was second before."""
    tasks = []
    for prompt in prompts:
        answers: dict[Asker, list[Answered]] = {asker: [] for asker in askers}
        for asker in (askers + askers[::-1]) * ((rounds + 1) // 2) if len(askers) > 1 else askers * rounds:
            answers[asker].append(await asker.ask(prompt.read_text(), max_tokens))
        drafted, *plain = (tuple(answers[asker]) for asker in askers)
        tasks.append(Task(name=prompt.stem, drafted=drafted, plain=plain[0] if plain else ()))
        print(f"  {prompt.stem}: {drafted[0].tokens} tokens, {drafted[0].steps} steps", file=sys.stderr, flush=True)
    for asker in askers:
        await asker.engine.aclose()
    return tasks


def table(tasks: list[Task], costs: StepCosts | None) -> str:
    """Return the figures of each task and of all in Markdown."""
    head = ["task", "tokens", "steps", "tokens per step"]
    head += ["speed-up"] if costs else []
    head += ["tokens/s", "without drafts", "ratio", "same answer"] if tasks[0].plain else []
    lines = [_line(head), _line(["---"] * len(head))]
    lines += [_line(_cells(task, costs)) for task in tasks]
    every = [task.drafted[0] for task in tasks]
    tokens, steps = sum(one.tokens for one in every), sum(one.steps for one in every)
    total = ["all", f"{tokens}", f"{steps}", f"{tokens / steps:.2f}"]
    total += [f"{tokens / sum(one.cost(costs) for one in every):.2f}"] if costs else []
    if tasks[0].plain:
        ratios = [_rate(task.drafted) / _rate(task.plain) for task in tasks]
        same = sum(_parting(task) is None for task in tasks)
        total += ["", "", f"{statistics.geometric_mean(ratios):.2f}", f"{same} of {len(tasks)}"]
    return "\n".join([*lines, _line(total)])


def _cells(task: Task, costs: StepCosts | None) -> list[str]:
    one = task.drafted[0]
    cells = [task.name, f"{one.tokens}", f"{one.steps}", f"{one.tokens / one.steps:.2f}"]
    cells += [f"{one.tokens / one.cost(costs):.2f}"] if costs else []
    if task.plain:
        mine, other, parting = _rate(task.drafted), _rate(task.plain), _parting(task)
        told = "yes" if parting is None else f"up to character {parting}"
        cells += [f"{mine:.1f}", f"{other:.1f}", f"{mine / other:.2f}", told]
    return cells


def _rate(answers: tuple[Answered, ...]) -> float:
    return statistics.median(one.tokens_per_s for one in answers)


def _parting(task: Task) -> int | None:
    """Return where the answers with and without drafts part; None: nowhere."""
    texts = sorted({one.text for one in (*task.drafted, *task.plain)})
    first, last = texts[0], texts[-1]  # of sorted texts these have the least in common
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return None if len(texts) == 1 else len(list(same))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _descriptor(path: Path, draft: Path | None) -> ModelDescriptor:
    return ModelDescriptor(
        id=ModelId(path.stem),
        display_name=path.stem,
        path=path,
        source="the command line",
        architecture="",
        size_bytes=path.stat().st_size,
        context_tokens=0,
        created_at=0,
        capabilities=ModelCapabilities(),
        draft=None if draft is None else _draft(draft),
    )


def _draft(path: Path) -> DraftModel:
    return DraftModel(id=ModelId(path.stem), path=path, size_bytes=path.stat().st_size, parameters=0, named=True)


def _measured(report: Path, guess: float) -> GivenCosts:
    seconds = json.loads(report.read_text())["seconds"]
    return GivenCosts({int(rows): float(one) for rows, one in seconds.items()}, guess=guess)


def _options() -> argparse.Namespace:
    cache = Path(os.environ.get("PENSIEVE_TEST_MODELS", Path.home() / ".cache" / "pensieve-test-models"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=cache / _CODER)
    parser.add_argument("--prompts", type=Path, default=_HERE / "edits", help="a folder of .md files")
    parser.add_argument("--step-costs", type=Path, help="what step_costs.py --json has written")
    parser.add_argument("--draft-model", type=Path, help="a smaller GGUF of the same vocabulary")
    parser.add_argument("--guess-cost", type=float, default=0.1, help="of its steps, relative to a single row")
    parser.add_argument("--learned", action="store_true", help="let the engine find out what steps cost")
    parser.add_argument("--against-none", action="store_true", help="compare with an engine that drafts nothing")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=1_200)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> int:
    """Ask, count, print."""
    options = _options()
    measured = _measured(options.step_costs, options.guess_cost) if options.step_costs else None
    costs: StepCosts = LearnedCosts() if options.learned else measured or GivenCosts(_AS_IF, guess=options.guess_cost)
    askers = [Asker(options.model, options.threads, costs, options.draft_model)]
    askers += [Asker(options.model, options.threads, None)] if options.against_none else []
    prompts = sorted(options.prompts.glob("*.md"))
    print(table(asyncio.run(compare(askers, prompts, options.rounds, options.max_tokens)), measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
