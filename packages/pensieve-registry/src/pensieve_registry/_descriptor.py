"""What a header means: is this a model that can answer, and what is to be known of it?

From a checked `GgufModel` to a `ModelDescriptor`. The keys are those of the format's description
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) and of llama.cpp.
"""

from __future__ import annotations

import re
from collections import Counter

from pensieve_core import ModelCapabilities, ModelDescriptor, ModelId
from pensieve_registry._errors import GgufHeaderError
from pensieve_registry._format import FILE_TYPES
from pensieve_registry._header import GgufHeader, LongText
from pensieve_registry._projectors import is_projector
from pensieve_registry._shards import GgufModel, model_stem

__all__ = ["describe", "model_id", "why_not_a_chat_model"]

_TEMPLATE = "tokenizer.chat_template"
_GUESSED = 1024
"""`LLAMA_FTYPE_GUESSED`, a flag on `general.file_type`."""
_CONTEXT_LIMIT = 2**31 - 1
_TOOLS = re.compile(r"\btools\b")
_THINKING = re.compile(r"</?think|\[THINK\]|\breasoning_content\b|\benable_thinking\b|<\|channel\|>", re.IGNORECASE)
"""Tags and variables by which the templates of reasoning models give themselves away."""
_HEADS = frozenset({"eagle3", "dflash", "gemma4-assistant"})
_NO_GENERATORS = frozenset({"t5encoder", "wavtokenizer-dec"})
_NOT_MODELS = {
    "adapter": "a LoRA adapter, which changes another model",
    "imatrix": "an importance matrix, which helps to quantise another model",
    "mmproj": "a projector of images or sound, which belongs to another model",
}


def why_not_a_chat_model(model: GgufModel) -> str | None:
    """Return what the file is when it is no model that answers; None when it is one."""
    header = model.header
    architecture = header.text("general.architecture")
    kind = _kind(header)
    if kind in _NOT_MODELS:
        return _NOT_MODELS[kind]
    if not model.tensors:
        return "a vocabulary without weights"
    if architecture in _HEADS:
        return "a draft head, which guesses ahead for another model by reading that model's inner state"
    if _only_embeds(header, architecture):
        return "an embedding model, which does not generate text"
    return None


def _kind(header: GgufHeader) -> str:
    if is_projector(header):
        return "mmproj"
    return "adapter" if "adapter.type" in header.metadata else header.text("general.type") or "model"


def _only_embeds(header: GgufHeader, architecture: str | None) -> bool:
    pooled = header.integer(f"{architecture}.pooling_type")
    looks_ahead = header.metadata.get(f"{architecture}.attention.causal") is False
    return bool(pooled) or looks_ahead or architecture in _NO_GENERATORS


def model_id(stem: str) -> ModelId:
    """Return the name of a file as an id: lower case, and nothing that needs quoting in a URL or a shell."""
    slug = re.sub(r"[^a-z0-9._]+", "-", stem.lower()).strip("-._")
    return ModelId(slug or "model")


def describe(model: GgufModel, *, source: str = "", name: str | None = None) -> ModelDescriptor:
    """Return what the headers tell of a model; nothing of other files. Its id is `model_id` of its name.

    `name` is what people call it; None: its file's name.

    Raises:
        GgufHeaderError: something is missing without which no engine can run it.
    """
    header = model.header
    stem = name or model_stem(model.path)
    architecture = _architecture(header)
    return ModelDescriptor(
        id=model_id(stem),
        display_name=stem,
        path=model.path,
        source=source,
        architecture=architecture,
        size_bytes=model.size_bytes,
        context_tokens=_context_tokens(header, architecture),
        created_at=max(header.modified_at for header in model.headers),
        parameters=sum(tensor.weights for tensor in model.tensors),
        quantization=_quantization(model),
        capabilities=_capabilities(header),
        shards=model.paths if len(model.paths) > 1 else (),
    )


def _architecture(header: GgufHeader) -> str:
    architecture = header.text("general.architecture")
    if not architecture:
        msg = "key 'general.architecture' is missing"
        raise GgufHeaderError(msg)
    return architecture


def _context_tokens(header: GgufHeader, architecture: str) -> int:
    key = f"{architecture}.context_length"
    tokens = header.integer(key)
    if tokens is None:
        raise GgufHeaderError(f"key '{key}' is missing")
    if not 0 < tokens <= _CONTEXT_LIMIT:
        raise GgufHeaderError(f"key '{key}': {tokens} is no possible length of a context")
    return tokens


def _quantization(model: GgufModel) -> str:
    """Return the recipe's name; for files that do not say, the type that most of the weights have."""
    recipe = model.header.integer("general.file_type")
    name = None if recipe is None else FILE_TYPES.get(recipe & ~_GUESSED)
    return name or _commonest_type(model)


def _commonest_type(model: GgufModel) -> str:
    weights: Counter[str] = Counter()
    for tensor in model.tensors:
        weights[tensor.type.name] += tensor.weights
    return weights.most_common(1)[0][0]


def _capabilities(header: GgufHeader) -> ModelCapabilities:
    templates = "\n".join(_templates(header))
    return ModelCapabilities(
        tool_template=bool(_TOOLS.search(templates)),
        thinking=bool(_THINKING.search(templates)),
    )


def _templates(header: GgufHeader) -> list[str]:
    """Return all chat templates: some files bring a second one for tools under `tokenizer.chat_template.<name>`."""
    values = {key: value for key, value in header.metadata.items() if key.startswith(_TEMPLATE)}
    for key, value in values.items():
        if isinstance(value, LongText):
            raise GgufHeaderError(f"key '{key}': a template of {value.size_bytes} bytes")
    return [value for value in values.values() if isinstance(value, str)]
