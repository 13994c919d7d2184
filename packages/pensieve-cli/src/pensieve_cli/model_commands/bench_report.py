"""What `pensieve-server bench` prints: rounds, their medians, and what they were measured on. Values, sums and text."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

import attrs
from rich.console import RenderableType
from rich.markup import escape

from pensieve_cli.printing import table
from pensieve_cli.wording import counted, megabytes
from pensieve_core import EngineDescription, ModelDescriptor

__all__ = ["BenchReport", "Machine", "Round", "bench_lines", "bench_report"]


@attrs.frozen(kw_only=True)
class Machine:
    """Where it was measured."""

    cpu: str
    cores: int
    """That this process may use."""
    memory_bytes: int
    system: str
    python: str
    pensieve: str


@attrs.frozen(kw_only=True)
class Round:
    """One prompt that nobody had seen, and its answer. Rates are tokens a second."""

    prompt_tokens: int
    cached_tokens: int
    """Of the prompt, known before: the head that all prompts of a chat template share."""
    generated_tokens: int
    first_token_s: float
    """From the request to the first text, by the clock of who asked."""
    prefill_s: float
    decode_s: float
    """Both by the engine's own clock."""
    prefill_tokens_per_s: float
    decode_tokens_per_s: float | None
    """null: there was no second token."""


@attrs.frozen(kw_only=True)
class BenchReport:
    """All that is printed; the rates are the medians of the rounds."""

    model: str
    quantization: str | None
    size_bytes: int
    engine: str
    """Name and version."""
    context_tokens: int
    threads: int
    gpu_layers: int
    drafts: bool
    """Tokens may have been computed ahead, where that paid."""
    machine: Machine
    load_s: float
    peak_memory_bytes: int
    """The most that the engine's process held in RAM at any time, mapped pages of the model's file included."""
    prefill_tokens_per_s: float
    decode_tokens_per_s: float | None
    first_token_s: float
    rounds: tuple[Round, ...]
    notes: tuple[str, ...]
    """What else there is to know before these figures are believed."""


def bench_report(
    model: ModelDescriptor,
    loaded: EngineDescription,
    rounds: Sequence[Round],
    *,
    machine: Machine,
    drafts: bool,
    load_s: float,
) -> BenchReport:
    """Return the report of at least one round; peak memory and notes are for whoever waits for the engine's end."""
    return BenchReport(
        model=model.id,
        quantization=model.quantization,
        size_bytes=model.size_bytes,
        engine=loaded.engine,
        context_tokens=loaded.context_tokens,
        threads=loaded.threads,
        gpu_layers=loaded.gpu_layers,
        drafts=drafts,
        machine=machine,
        load_s=round(load_s, 2),
        peak_memory_bytes=0,
        prefill_tokens_per_s=_median(rounds, lambda one: one.prefill_tokens_per_s) or 0.0,
        decode_tokens_per_s=_median(rounds, lambda one: one.decode_tokens_per_s),
        first_token_s=_median(rounds, lambda one: one.first_token_s, digits=3) or 0.0,
        rounds=tuple(rounds),
        notes=(),
    )


def bench_lines(report: BenchReport) -> Iterator[RenderableType]:
    """Yield what was measured, each round, and on what."""
    size = ", ".join(filter(None, (report.quantization, megabytes(report.size_bytes))))
    yield f"[bold]{escape(report.model)}[/bold] ({escape(size)}), {escape(report.engine)}"
    for label, text in _facts(report):
        yield f"  [dim]{label:<14}[/dim]{escape(text)}"
    columns = ("ROUND", "PROMPT", "CACHED", "ANSWER", "FIRST TOKEN", "PREFILL", "DECODE")
    yield table(columns, (_row(number, one) for number, one in enumerate(report.rounds, start=1)), right=columns)


def _facts(report: BenchReport) -> Iterator[tuple[str, str]]:
    machine = report.machine
    where = "the CPU alone" if report.gpu_layers == 0 else f"{counted(report.gpu_layers, 'layer')} on the GPU"
    yield "prefill", f"{report.prefill_tokens_per_s:,.1f} tokens/s"
    yield "decode", f"{_rate(report.decode_tokens_per_s)} tokens/s, drafts {'on' if report.drafts else 'off'}"
    yield "first token", f"{report.first_token_s:.2f} s after a prompt of {report.rounds[0].prompt_tokens:,} tokens"
    yield (
        "memory",
        f"{megabytes(report.peak_memory_bytes)} at its peak, for {report.context_tokens:,} tokens of context",
    )
    yield "load", f"{report.load_s:.1f} s"
    yield "compute", f"{counted(report.threads, 'thread')}, {where}"
    yield "machine", f"{machine.cpu}, {counted(machine.cores, 'core')}, {megabytes(machine.memory_bytes)}"
    yield "software", f"Pensieve {machine.pensieve}, Python {machine.python}, {machine.system}"
    yield from (("note", note) for note in report.notes)


def _row(number: int, one: Round) -> tuple[str, ...]:
    return (
        str(number),
        f"{one.prompt_tokens:,}",
        f"{one.cached_tokens:,}",
        f"{one.generated_tokens:,}",
        f"{one.first_token_s:.2f} s",
        f"{one.prefill_tokens_per_s:,.1f}/s",
        f"{_rate(one.decode_tokens_per_s)}/s",
    )


def _rate(rate: float | None) -> str:
    return "?" if rate is None else f"{rate:,.1f}"


def _median(rounds: Sequence[Round], of: Callable[[Round], float | None], *, digits: int = 1) -> float | None:
    figures = [figure for one in rounds if (figure := of(one)) is not None]
    return round(statistics.median(figures), digits) if figures else None
