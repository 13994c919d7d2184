"""What a header tells, for people: `model_facts` gathers it, `facts_in_words` says it.

Knows the keys of the format's description and of llama.cpp. Decides nothing; what the engines need is in `_descriptor`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import attrs

from pensieve_registry._header import GgufArray, GgufHeader
from pensieve_registry._shards import GgufModel

__all__ = ["ModelFacts", "TemplateFacts", "facts_in_words", "model_facts", "short_count"]

_TEMPLATE = "tokenizer.chat_template"
_SUMMED_SHARE = 0.01
"""Types with less of the weights are not worth a word: norms and biases."""
_UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))
_BASES_LIMIT = 8

_FEATURES = {
    "tools": re.compile(r"\btools\b"),
    "tool results": re.compile(r"['\"](tool|ipython|function)['\"]"),
    "reasoning": re.compile(r"</?think|\[THINK\]|\breasoning_content\b|<\|channel\|>", re.IGNORECASE),
    "reasoning on demand": re.compile(r"\benable_thinking\b|\breasoning_effort\b"),
    "images": re.compile(r"['\"]image(_url)?['\"]"),
    "system text": re.compile(r"['\"]system['\"]"),
}
"""By which words a template shows what it has a form for."""


@attrs.frozen(kw_only=True)
class TemplateFacts:
    """A chat template, by what it has a form for."""

    characters: int
    features: tuple[str, ...]
    """"tools", "reasoning"…, in a fixed order."""
    variants: tuple[str, ...] = ()
    """Further templates beside the usual one, by name."""


@attrs.frozen(kw_only=True)
class ModelFacts:
    """A model, as its headers describe it. None: they do not say."""

    name: str | None
    makers: str | None
    """An organisation, or an author."""
    base_models: tuple[str, ...]
    """Which it was made from."""
    licence: str | None
    licence_link: str | None
    architecture: str
    weights: int
    """All that are in the files: more than `size_label` where the same matrix is there twice."""
    size_label: str | None
    """How its makers count its parameters: "1.5B"."""
    experts: int | None
    experts_used: int | None
    """Of `experts`, for each token."""
    layers: int | None
    width: int | None
    """Of its embeddings."""
    context_tokens: int | None
    stretched_from: int | None
    """What it was trained for before its context was stretched (`rope.scaling`)."""
    window_tokens: int | None
    """How far back its layers with a window see."""
    vocabulary_tokens: int | None
    tokenizer: str | None
    """Its kind, and how it splits text before: "gpt2/qwen2"."""
    packings: tuple[tuple[str, float], ...]
    """Tensor types and their share of the weights, the commonest first."""
    files: int
    template: TemplateFacts | None


def model_facts(model: GgufModel) -> ModelFacts:
    """Return what the headers of a model tell."""
    header = model.header
    architecture = header.text("general.architecture") or ""

    def number(key: str) -> int | None:
        return header.integer(f"{architecture}.{key}")

    return ModelFacts(
        name=header.text("general.name"),
        makers=header.text("general.organization") or header.text("general.author"),
        base_models=tuple(_base_models(header)),
        licence=header.text("general.license.name") or header.text("general.license"),
        licence_link=header.text("general.license.link"),
        architecture=architecture,
        weights=sum(tensor.weights for tensor in model.tensors),
        size_label=header.text("general.size_label"),
        experts=number("expert_count") or None,
        experts_used=number("expert_used_count") or None,
        layers=number("block_count"),
        width=number("embedding_length"),
        context_tokens=number("context_length"),
        stretched_from=number("rope.scaling.original_context_length"),
        window_tokens=number("attention.sliding_window") or None,
        vocabulary_tokens=_count(header, "tokenizer.ggml.tokens"),
        tokenizer=_tokenizer(header),
        packings=tuple(_packings(model)),
        files=len(model.paths),
        template=_template(header),
    )


def facts_in_words(facts: ModelFacts) -> Iterator[tuple[str, str]]:
    """Yield a label and a text for each thing that is known; texts are as the file has them, and may be markup."""
    yield from _if_known("name", facts.name)
    yield from _if_known("made by", facts.makers)
    yield from _if_known("made from", ", ".join(facts.base_models))
    yield from _if_known("licence", _with(facts.licence, facts.licence_link))
    yield "architecture", facts.architecture
    yield "parameters", _size(facts)
    yield "packed as", ", ".join(f"{name} {share:.0%}" for name, share in facts.packings)
    yield from _if_known("layers", _layers(facts))
    yield from _if_known("context", _context(facts))
    yield from _if_known("vocabulary", _vocabulary(facts))
    yield "template", _template_in_words(facts.template)
    yield from _if_known("files", f"{facts.files} shards" if facts.files > 1 else "")


def short_count(count: int) -> str:
    """Return "135M", "1.5B", "30.5B": three digits at most, as models are labelled."""
    for size, unit in _UNITS:
        if count >= size:
            amount = count / size
            return f"{amount:.0f}{unit}" if amount >= 99.5 or unit in "KM" else f"{amount:.1f}{unit}"  # noqa: PLR2004 - rounds to 100
    return str(count)


def _base_models(header: GgufHeader) -> Iterator[str]:
    for number in range(min(header.integer("general.base_model.count") or 0, _BASES_LIMIT)):
        name = header.text(f"general.base_model.{number}.name")
        if name:
            yield name


def _count(header: GgufHeader, key: str) -> int | None:
    value = header.metadata.get(key)
    return value.count if isinstance(value, GgufArray) else None


def _tokenizer(header: GgufHeader) -> str | None:
    kinds = header.text("tokenizer.ggml.model"), header.text("tokenizer.ggml.pre")
    return "/".join(kind for kind in kinds if kind) or None


def _packings(model: GgufModel) -> Iterator[tuple[str, float]]:
    weights: Counter[str] = Counter()
    for tensor in model.tensors:
        weights[tensor.type.name] += tensor.weights
    whole = weights.total()
    for name, count in weights.most_common():
        if count / whole >= _SUMMED_SHARE:
            yield name, count / whole


def _template(header: GgufHeader) -> TemplateFacts | None:
    templates = {
        key: header.text(key) for key in header.metadata if key == _TEMPLATE or key.startswith(f"{_TEMPLATE}.")
    }
    source = "\n".join(text for text in templates.values() if text)
    if not source:
        return None
    return TemplateFacts(
        characters=len(source),
        features=tuple(name for name, sign in _FEATURES.items() if sign.search(source)),
        variants=tuple(sorted(key.removeprefix(f"{_TEMPLATE}.") for key in templates if key != _TEMPLATE)),
    )


def _if_known(label: str, text: str | None) -> Iterator[tuple[str, str]]:
    if text:
        yield label, text


def _with(text: str | None, more: str | None) -> str | None:
    return f"{text} ({more})" if text and more else text


def _size(facts: ModelFacts) -> str:
    label, count = facts.size_label, short_count(facts.weights)
    size = count if label in (None, count) else f"{label} ({count} weights in the files)"
    if facts.experts is None:
        return size
    return f"{size}; {facts.experts_used or '?'} of {facts.experts} experts for each token"


def _layers(facts: ModelFacts) -> str | None:
    return f"{facts.layers} of width {facts.width:,}" if facts.layers and facts.width else None


def _context(facts: ModelFacts) -> str | None:
    if not facts.context_tokens:
        return None
    stretched = f", stretched from {facts.stretched_from:,}" if facts.stretched_from else ""
    window = f", in part a window of {facts.window_tokens:,}" if facts.window_tokens else ""
    return f"{facts.context_tokens:,} tokens{stretched}{window}"


def _vocabulary(facts: ModelFacts) -> str | None:
    return _with(f"{facts.vocabulary_tokens:,} tokens", facts.tokenizer) if facts.vocabulary_tokens else None


def _template_in_words(template: TemplateFacts | None) -> str:
    if template is None:
        return "none: the engine's usual one is used"
    features = ", ".join(template.features) or "plain turns"
    variants = f"; variants: {', '.join(template.variants)}" if template.variants else ""
    return f"{features}; {template.characters:,} characters{variants}"
