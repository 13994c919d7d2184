"""`pensieve-server show`: reads the header of one model again, and says how it would fit this machine now.

Loads nothing; which GPUs there are is asked in a process of its own. What people are shown of it is in `model_report`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

import attrs

from pensieve_cli.aliases import AliasFile
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.logs import configure_logs
from pensieve_cli.model_commands.chosen import catalog_for, chosen_model
from pensieve_cli.model_commands.commands import ShowModel
from pensieve_cli.model_commands.forecast import free_memory, wishes_of
from pensieve_cli.model_commands.model_report import Detail, FitReport, ModelFile, ModelReport, model_lines
from pensieve_cli.printing import print_json, print_lines
from pensieve_cli.settings import Settings
from pensieve_core import DraftModel, ModelDescriptor
from pensieve_gguf.draft_fit import DraftCost, draft_cost, fit_with_draft
from pensieve_gguf.fit import Memory, ModelSize, fit_model, shortage
from pensieve_gguf.memory_sum import total_bytes
from pensieve_gguf.parsers import dialect_of
from pensieve_registry import (
    GgufArray,
    GgufHeader,
    GgufHeaderError,
    LocalCatalog,
    facts_in_words,
    model_facts,
    read_gguf_model,
)

__all__ = ["describe", "run"]

_TEMPLATE, _TOKENS = "tokenizer.chat_template", "tokenizer.ggml.tokens"


def run(command: ShowModel, output: TextIO) -> ExitCode:
    """Print what is known of a model.

    Raises:
        ModelNotFoundError, CommandError: there is none.
        GgufHeaderError: its file went bad meanwhile.
    """
    settings = command.settings
    configure_logs(attrs.evolve(settings.log, log_level="error"))
    catalog = catalog_for(settings, command.model)
    report = describe(chosen_model(catalog), settings, AliasFile().read(), free_memory(settings))
    report = attrs.evolve(report, default=_is_default(report, command, catalog))
    print_json(report, output) if command.json else print_lines(model_lines(report), output)
    return ExitCode.OK


def describe(model: ModelDescriptor, settings: Settings, aliases: Mapping[str, str], memory: Memory) -> ModelReport:
    """Return what there is to say of `model`.

    Args:
        model: As the catalog knows it.
        settings: How it would be loaded.
        aliases: From alias to model id.
        memory: What is free.
    """
    gguf = read_gguf_model(model.path)
    header = gguf.header
    return ModelReport(
        id=model.id,
        default=False,
        display_name=model.display_name,
        title=header.text("general.name"),
        aliases=tuple(alias for alias, target in sorted(aliases.items()) if target == model.id),
        source=model.source,
        architecture=model.architecture,
        parameters=model.parameters,
        quantization=model.quantization,
        size_bytes=model.size_bytes,
        context_tokens=model.context_tokens,
        license=header.text("general.license"),
        tools=model.capabilities.tool_template,
        tool_dialect=dialect_of(header.text(_TEMPLATE) or "").name.lower().replace("_", "-"),
        thinking=model.capabilities.thinking,
        images=model.capabilities.images,
        created_at=model.created_at,
        files=tuple(_files(model)),
        details=tuple(Detail(label=label, text=text) for label, text in facts_in_words(model_facts(gguf))),
        fit=_fit(model, header, settings, memory),
    )


def _is_default(report: ModelReport, command: ShowModel, catalog: LocalCatalog) -> bool:
    if command.model is None:
        return True
    usual = catalog_for(command.settings, None).models()
    return bool(usual) and usual[0].path == catalog.models()[0].path and usual[0].id == report.id


def _files(model: ModelDescriptor) -> Iterator[ModelFile]:
    yield from (_file("weights", path) for path in model.shards or (model.path,))
    if model.projector is not None:
        yield _file("projector", model.projector)
    for adapter in model.adapters:
        yield ModelFile(role="adapter", path=str(adapter.path), size_bytes=adapter.size_bytes)
    if model.draft is not None:
        yield ModelFile(role="draft", path=str(model.draft.path), size_bytes=model.draft.size_bytes)


def _file(role: str, path: Path) -> ModelFile:
    return ModelFile(role=role, path=str(path), size_bytes=path.stat().st_size)


def _size(model: ModelDescriptor, header: GgufHeader) -> ModelSize:
    projector_bytes = 0 if model.projector is None else model.projector.stat().st_size
    return attrs.evolve(_bare_size(header, model.size_bytes), projector_bytes=projector_bytes)


def _bare_size(header: GgufHeader, weight_bytes: int) -> ModelSize:
    """Return what a model takes: keys and values as llama.cpp keeps them, an upper bound where layers differ."""

    def number(name: str) -> int:
        return header.integer(f"{header.text('general.architecture')}.{name}") or 0

    heads, layers = number("attention.head_count") or 1, number("block_count")
    usual = number("embedding_length") // heads
    width = (number("attention.key_length") or usual) + (number("attention.value_length") or usual)
    vocabulary = header.metadata.get(_TOKENS)
    return ModelSize(
        weight_bytes=weight_bytes,
        kv_bytes_per_token=2 * width * (number("attention.head_count_kv") or heads) * layers,
        layers=layers,
        trained=number("context_length"),
        vocabulary=vocabulary.count if isinstance(vocabulary, GgufArray) else 0,
    )


def _fit(model: ModelDescriptor, header: GgufHeader, settings: Settings, memory: Memory) -> FitReport:
    wishes, size = wishes_of(settings), _size(model, header)
    fit = fit_model(size, memory, wishes)
    draft = None if settings.engine.no_drafts else model.draft
    cost = None if draft is None else _draft_cost(draft)
    if draft is not None and cost is not None:
        fit = fit_with_draft(fit, size, memory, wishes, None, draft=cost, named=draft.named) or fit
    return FitReport(
        fits=total_bytes(fit.terms) <= memory.ram,
        context_tokens=fit.context,
        kv_type=fit.kv_type,
        memory_bytes=total_bytes(fit.terms),
        available_bytes=memory.ram,
        gpu_layers=fit.gpu_layers,
        note=shortage(fit, memory, wishes) or fit.note,
    )


def _draft_cost(draft: DraftModel) -> DraftCost | None:
    """Return what the draft model takes; None: its file went bad meanwhile."""
    try:
        return draft_cost(_bare_size(read_gguf_model(draft.path).header, draft.size_bytes))
    except GgufHeaderError:
        return None
