"""A model's draft model: whether it may guess for it, whether there is room for it, and its loading.

Whatever is wrong with it is said once, and costs its guesses alone. Above: `loading`. Below: `draft_fit`, which decides
about memory, and `llama`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import attrs
import structlog

from pensieve_core import DraftModel, ModelDescriptor
from pensieve_gguf.cores import usable_cores
from pensieve_gguf.draft_fit import DRAFT_KV_TYPE, DraftCost, draft_cost
from pensieve_gguf.fit import Fit, ModelSize
from pensieve_gguf.llama import Abort, Context, ContextShape, LoadError, Model, context_bytes, vocabularies_differ
from pensieve_gguf.settings import GgufSettings

__all__ = ["DraftPlan", "LoadedDraft", "open_draft", "plan_draft"]

_log = structlog.get_logger(__name__)
_MOST_SEQUENCES = 256
"""LLAMA_MAX_SEQ."""
_GIB = 1 << 30


@attrs.frozen(kw_only=True)
class DraftPlan:
    """How to load a model, and which draft model beside it."""

    fit: Fit
    alone: Fit
    """How to load it without one, should that one turn out to be of no use."""
    draft: DraftModel | None = None
    note: str | None = None
    """Why there is none, though there might be."""


@attrs.frozen
class LoadedDraft:
    """A draft model that is ready to compute."""

    model: Model
    context: Context

    def close(self) -> None:
        """Free all of it."""
        self.context.close()
        self.model.close()


def plan_draft(
    descriptor: ModelDescriptor,
    dry: Model,
    settings: GgufSettings,
    fit: Fit,
    beside: Callable[[DraftCost], Fit | None],
) -> DraftPlan:
    """Decide whether the draft model of `descriptor` is loaded, too.

    Args:
        descriptor: The model.
        dry: The model, without its weights.
        settings: How it is to be loaded.
        fit: How it would be without a draft model.
        beside: How it would be with one that costs so much; None: there is no room.
    """
    draft = descriptor.draft
    if draft is None or not settings.drafts:
        return DraftPlan(fit=fit, alone=fit)
    try:
        cost = _cost(draft.path, dry, settings, fit)
    except LoadError as error:
        return DraftPlan(fit=fit, alone=fit, note=_refused(descriptor.path, draft.path, str(error)))
    found = beside(cost)
    if found is None:
        size = f"{cost(fit.context) / _GIB:.2f} GiB"
        note = f"No draft model: {draft.path.name} would take {size}, and {descriptor.path.name} needs that itself."
        return DraftPlan(fit=fit, alone=fit, note=note)
    return DraftPlan(fit=found, alone=fit, draft=draft)


def open_draft(
    descriptor: ModelDescriptor, plan: DraftPlan, settings: GgufSettings, *, mapped: bool, abort: Abort
) -> tuple[LoadedDraft | None, str | None]:
    """Load the draft model that was planned, if one was, and return it with a sentence about it. `abort` stops both."""
    if plan.draft is None:
        return None, plan.note
    path, fit = plan.draft.path, plan.fit
    try:
        with contextlib.ExitStack() as undo:
            model = Model(path, gpu_layers=None if fit.gpu_layers else 0, mapped=mapped)
            undo.callback(model.close)
            context = Context(model, _shape(settings, fit, cells=fit.context), abort)
            undo.pop_all()
    except LoadError as error:
        return None, _refused(descriptor.path, path, str(error))
    return LoadedDraft(model, context), f"{path.name} guesses ahead what it will say, where that is found to pay."


def _cost(path: Path, dry: Model, settings: GgufSettings, fit: Fit) -> DraftCost:
    """Return what the draft model in `path` takes.

    Raises:
        LoadError: it cannot be loaded, or cannot guess for the model.
    """
    with contextlib.closing(Model(path, dry=True, gpu_layers=0)) as draft:
        unfit = _unfit(dry, draft)
        if unfit is not None:
            raise LoadError(unfit)
        found = context_bytes(draft, _shape(settings, fit, cells=fit.context)) if not fit.gpu_layers else None
        size = ModelSize(
            weight_bytes=draft.weight_bytes,
            kv_bytes_per_token=draft.kv_bytes_per_token,
            layers=draft.layers,
            trained=draft.trained_context,
        )
    return draft_cost(size) if found is None else lambda _: size.weight_bytes + found.total


def _unfit(dry: Model, draft: Model) -> str | None:
    """Return why one cannot guess for the other; None: it can."""
    if dry.has_state:
        return "what the larger one has computed cannot be taken back"
    if draft.has_state:
        return "what the smaller one has computed cannot be taken back"
    return vocabularies_differ(dry, draft)


def _shape(settings: GgufSettings, fit: Fit, *, cells: int) -> ContextShape:
    return ContextShape(
        cells=cells,
        sequences=min(2 * settings.max_running + 2, _MOST_SEQUENCES),
        batch_tokens=max(fit.batch_tokens, settings.max_running),
        threads=settings.threads or usable_cores(),
        kv_type=DRAFT_KV_TYPE,
        whole_windows=True,
    )


def _refused(model: Path, draft: Path, reason: str) -> str:
    _log.warning("draft_model_unusable", model=str(model), draft_model=str(draft), reason=reason)
    return f"No draft model: {draft.name} cannot guess for {model.name}: {reason}."
