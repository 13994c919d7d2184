"""What a file is, on a card: all that listing and pairing need of a header, and none of its thousand tensors.

Knows files one by one, and remembers those that have not changed. Which belong together is said in `_pairing`. A header
says what its file is; the name is asked only for what no header tells.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import attrs

from pensieve_core import LoraAdapter, ModelDescriptor
from pensieve_registry._descriptor import describe, model_id, why_not_a_chat_model
from pensieve_registry._errors import GgufHeaderError
from pensieve_registry._header import GgufHeader
from pensieve_registry._projectors import is_projector, reads_positions_in_two_dimensions, shows_images
from pensieve_registry._shards import GgufModel, model_stem, read_gguf_model, shard_paths

__all__ = [
    "AdapterCard",
    "Card",
    "KnownFiles",
    "ModelCard",
    "OtherCard",
    "ProjectorCard",
    "RefusedCard",
    "Shape",
    "names_a_quantization",
]

Shape: TypeAlias = tuple[int, ...]

_NOISE = re.compile(
    r"mmproj|model|vision|projector|lora|adapters?|draft|gguf|imat(rix)?|unsloth|bnb|\d+bit"
    r"|ud|b?f(p)?(16|32)|i?q\d.*|(mx|nv)fp4.*|[0-9]+x[0-9.]+b"
)
"""Words that tell the form of a file, not what it is about."""
_STATES = ("ssm", "wkv", "shortconv", "kda")
"""Groups of keys that tell of layers with a state (gguf-py/gguf/constants.py): Mamba, RWKV, LFM2, Kimi Linear."""
_LORA_A, _LORA_B = ".lora_a", ".lora_b"


@attrs.frozen(kw_only=True)
class ModelCard:
    """A model that answers."""

    descriptor: ModelDescriptor
    """As far as its own files tell: no companions yet."""
    words: frozenset[str]
    """What its names say that it is: of the file, and in the header."""
    file_words: frozenset[str]
    """Those of the file's name alone."""
    width: int | None
    """Of its embeddings."""
    vocabulary: str | None
    named_draft: bool
    holds_state: bool
    """Whether some layers are recurrent: what they have computed cannot be taken back."""
    can_be_shown_images: bool


@attrs.frozen(kw_only=True)
class ProjectorCard:
    """A file that makes embeddings of images or sound."""

    path: Path
    file_words: frozenset[str]
    words: frozenset[str]
    width: int | None
    """Of the embeddings that it makes; None: it does not say."""
    shows_images: bool
    reason: str


@attrs.frozen(kw_only=True)
class AdapterCard:
    """Low-rank changes to a model. `changes`: by the model's tensor, the shapes of the two whose product is added."""

    adapter: LoraAdapter
    architecture: str | None
    bases: tuple[frozenset[str], ...]
    """What each model that it says to be made for is called; usually one."""
    changes: Mapping[str, tuple[Shape, Shape]]
    reason: str


@attrs.frozen(kw_only=True)
class OtherCard:
    """A sound file that is no model to talk to, and belongs to none."""

    reason: str


@attrs.frozen(kw_only=True)
class RefusedCard:
    """A file that must not reach native code."""

    reason: str


Card: TypeAlias = ModelCard | ProjectorCard | AdapterCard | OtherCard | RefusedCard
_Stamp: TypeAlias = tuple[object, ...]


class KnownFiles:
    """Cards of files, each made once for as long as the file stays the same: place, inode, size and time of change.

    Invariant: what `card` returned since the last `forget_others` is remembered, and nothing older than the one before.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Path, str | None], tuple[_Stamp, Card]] = {}
        self._asked: dict[tuple[Path, str | None], tuple[_Stamp, Card]] = {}

    def card(self, path: Path, name: str | None = None) -> Card:
        """Return the card of the file at `path`, the first shard of a split model; `name` overrides the file's name."""
        key, stamp = (path, name), tuple(map(_stamp, shard_paths(path)))
        found = self._asked.get(key) or self._known.get(key)
        if found is None or found[0] != stamp:
            found = stamp, _made(path, name)
        self._asked[key] = found
        return found[1]

    def forget_others(self) -> None:
        """Forget the files that nobody has asked for since this was called last."""
        self._known, self._asked = self._asked, {}


def _stamp(path: Path) -> object:
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _made(path: Path, name: str | None) -> Card:
    try:
        return _card(read_gguf_model(path), name)
    except GgufHeaderError as error:
        return RefusedCard(reason=error.message)


def _card(model: GgufModel, name: str | None) -> Card:
    reason = why_not_a_chat_model(model)
    if reason is None:
        return _model(model, name)
    if is_projector(model.header):
        return _projector(model, reason)
    if _changes(model):
        return _adapter(model, reason)
    return OtherCard(reason=reason)


def _model(model: GgufModel, name: str | None) -> ModelCard:
    header, descriptor = model.header, describe(model, name=name)
    stem = descriptor.display_name
    return ModelCard(
        descriptor=descriptor,
        words=_words(stem) | _words_in(header),
        file_words=_words(stem),
        width=header.integer(f"{descriptor.architecture}.embedding_length"),
        vocabulary=header.vocabulary,
        named_draft="draft" in re.split(r"[^a-z]+", stem.lower()),
        holds_state=_holds_state(header, descriptor.architecture),
        can_be_shown_images=not reads_positions_in_two_dimensions(header),
    )


def _holds_state(header: GgufHeader, architecture: str) -> bool:
    groups = tuple(f"{architecture}.{group}." for group in _STATES)
    return any(key.startswith(groups) for key in header.metadata)


def _projector(model: GgufModel, reason: str) -> ProjectorCard:
    header = model.header
    return ProjectorCard(
        path=model.path,
        file_words=_words(model.path.stem),
        words=_words_in(header),
        width=header.integer("clip.vision.projection_dim"),
        shows_images=shows_images(header),
        reason=reason,
    )


def _adapter(model: GgufModel, reason: str) -> AdapterCard:
    header, stem = model.header, model_stem(model.path)
    return AdapterCard(
        adapter=LoraAdapter(name=model_id(stem), path=model.path, size_bytes=model.size_bytes),
        architecture=header.text("general.architecture"),
        bases=_bases(header),
        changes=MappingProxyType(_changes(model)),
        reason=reason,
    )


def _changes(model: GgufModel) -> dict[str, tuple[Shape, Shape]]:
    """Return the pairs of an adapter's tensors. llama.cpp asks for `x.lora_a` and `x.lora_b` for each changed `x`."""
    shapes = {tensor.name: tensor.shape for tensor in model.tensors}
    changed = [name.removesuffix(_LORA_A) for name in shapes if name.endswith(_LORA_A)]
    return {name: (shapes[name + _LORA_A], shapes.get(name + _LORA_B, ())) for name in changed}


def _bases(header: GgufHeader) -> tuple[frozenset[str], ...]:
    count = min(header.integer("general.base_model.count") or 0, 8)
    named = [
        header.text(f"general.base_model.{number}.name") or header.text(f"general.base_model.{number}.repo_url")
        for number in range(count)
    ]
    return tuple(_words(name.rstrip("/").rpartition("/")[2]) for name in named if name)


def _words_in(header: GgufHeader) -> frozenset[str]:
    named = [header.text(f"general.{key}") for key in ("name", "basename", "finetune", "size_label", "version")]
    return _words("-".join(name for name in named if name))


def names_a_quantization(folder: str) -> bool:
    """Return whether the name says a quantisation and nothing else: `UD-Q4_K_XL`, `BF16`."""
    return bool(re.search(r"\d", folder)) and not _words(folder)


def _words(name: str) -> frozenset[str]:
    words = re.split(r"[-\s.:/]+", name.lower())
    return frozenset(word for word in words if word and not _NOISE.fullmatch(word))
