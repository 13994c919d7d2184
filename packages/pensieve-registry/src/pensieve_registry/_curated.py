"""The curated catalog: a few models that are worth fetching, and which of them suits a machine.

It names what is at the hub; what is on this machine is `LocalCatalog`'s. Pure, but for reading the file that is shipped
with this package; `models/catalog.toml` in the repository is a link to it.
"""

from __future__ import annotations

import difflib
import importlib.resources
import re
import tomllib
from collections.abc import Sequence
from typing import Literal, TypeAlias

import attrs
import cattrs
import cattrs.v

from pensieve_core import ModelNotFoundError, PensieveError
from pensieve_registry._references import HubFile, HubRef, NameRef, checked_file_name, parse_ref

__all__ = [
    "CatalogError",
    "CuratedModel",
    "Machine",
    "Recommendation",
    "curated_model",
    "load_curated",
    "parse_curated",
    "recommend",
]

ToolDialect: TypeAlias = Literal["none", "hermes", "qwen-coder", "mistral-list", "mistral", "harmony", "glm", "gemma"]
"""How a model writes calls, in the words of `pensieve_gguf.parsers`."""

_FILE = "catalog.toml"
_GB = 10**9
_SHARE_OF_MEMORY, _SHARE_OF_GPU = 0.75, 0.92
"""Of a machine's memory, what a model may take beside other programs; of a GPU's, beside the screen."""
_SMALLEST_GPU_GB = 6.0
"""A smaller one holds no model worth having all of on it."""
_ACTIVE_LIMIT_B = 10.0
"""Billions of parameters that a CPU can read for every token and still be followed with patience."""


class CatalogError(PensieveError):
    """The catalog's file is wrong; the message has a line for each fault, with its path."""


def _commit(_: object, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    _digits(attribute.name, value, 40)


def _sha256(_: object, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    _digits(attribute.name, value, 64)


def _digits(name: str, value: str | None, count: int) -> None:
    if value is not None and not re.fullmatch(rf"[0-9a-f]{{{count}}}", value):
        raise ValueError(f"{name} has {count} hexadecimal digits")


def _name(_: object, __: object, value: str) -> None:
    if parse_ref(value) != NameRef(name=value):
        raise ValueError(f"name: {value!r} is none")


def _repository(_: object, __: object, value: str) -> None:
    reference = parse_ref(value)
    if not isinstance(reference, HubRef) or reference.repository != value:
        raise ValueError(f"repository: {value!r} is none of the hub")


def _file(_: object, __: object, value: str) -> None:
    try:
        checked_file_name(value)
    except PensieveError as error:
        raise ValueError(f"file: {error.message}") from error


@attrs.frozen(kw_only=True)
class CuratedModel:
    """One entry. Sizes are bytes; GB are decimal."""

    name: str = attrs.field(validator=_name)
    repository: str = attrs.field(validator=_repository)
    file: str = attrs.field(validator=_file)
    """In the repository; of a split model, the first shard."""
    quantization: str
    size_bytes: int = attrs.field(validator=attrs.validators.gt(0))
    """All shards."""
    parameters_b: float = attrs.field(validator=attrs.validators.gt(0))
    active_b: float = attrs.field(validator=attrs.validators.gt(0))
    """Billions that one token reads: of a mixture of experts, far fewer than all."""
    context_tokens: int = attrs.field(validator=attrs.validators.gt(0))
    """What it was trained for."""
    tools: ToolDialect
    licence: str
    memory_gb: float = attrs.field(validator=attrs.validators.gt(0))
    """What it takes with 32k tokens of context, an estimate."""
    note: str
    revision: str | None = attrs.field(default=None, validator=_commit)
    """The commit that it is pinned to; None: the main branch."""
    sha256: str | None = attrs.field(default=None, validator=_sha256)
    """Of `file`; None: what the hub says counts."""
    recommended: bool = False

    @property
    def ref(self) -> HubRef:
        """Return what is fetched."""
        owner, _, name = self.repository.partition("/")
        return HubRef(owner=owner, name=name, revision=self.revision, file=HubFile(self.file))


@attrs.frozen(kw_only=True)
class Machine:
    """What a recommendation has to know."""

    memory_bytes: int | None
    """None: it could not be found out."""
    gpu: str | None = None
    gpu_bytes: int = 0
    """Of the largest GPU that the engine can use."""

    @property
    def computes_on_gpu(self) -> bool:
        """Return whether the GPU is what a model has to fit into."""
        return self.gpu_bytes >= _SMALLEST_GPU_GB * _GB

    @property
    def room_bytes(self) -> int | None:
        """Return what a model may take, weights and context."""
        if self.computes_on_gpu:
            return int(self.gpu_bytes * _SHARE_OF_GPU)
        return None if self.memory_bytes is None else int(self.memory_bytes * _SHARE_OF_MEMORY)

    def __str__(self) -> str:
        if self.computes_on_gpu:
            return f"{self.gpu} with {self.gpu_bytes / _GB:.0f} GB"
        memory = "unknown memory" if self.memory_bytes is None else f"{self.memory_bytes / _GB:.0f} GB of memory"
        return f"{memory} and no GPU that the engine could use"


@attrs.frozen(kw_only=True)
class Recommendation:
    """A model, and the sentence that says why."""

    model: CuratedModel
    reason: str


@attrs.frozen
class _Catalog:
    model: tuple[CuratedModel, ...]


def load_curated() -> tuple[CuratedModel, ...]:
    """Return the entries of the shipped file."""
    return parse_curated((importlib.resources.files("pensieve_registry") / _FILE).read_text(encoding="utf-8"))


def parse_curated(text: str) -> tuple[CuratedModel, ...]:
    """Return the entries of a TOML text, as they stand.

    Raises:
        CatalogError: it is no TOML, has fields that nobody knows, lacks some, or has wrong ones.
    """
    try:
        catalog = _converter().structure(tomllib.loads(text), _Catalog)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{_FILE}: {error}") from error
    except cattrs.BaseValidationError as error:
        faults = cattrs.transform_error(error, format_exception=_explained)
        raise CatalogError("\n".join(f"{_FILE}: {fault}" for fault in faults)) from error
    names = [model.name for model in catalog.model]
    if len(set(names)) < len(names):
        raise CatalogError(f"{_FILE}: a name occurs twice")
    return catalog.model


def _converter() -> cattrs.Converter:
    """Return one that takes no text for a number, as cattrs itself would."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook(float, _number)
    return converter


def _exactly(value: object, kind: type[object]) -> object:
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, not {value!r}")
    return value


def _number(value: object, _: type[float]) -> float:
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise TypeError(f"expected a number, not {value!r}")
    return float(value)


def _explained(error: BaseException, kind: type | None) -> str:
    if isinstance(error, TypeError | ValueError | PensieveError):
        return str(error)
    return cattrs.v.format_exception(error, kind)


def curated_model(ref: NameRef, models: Sequence[CuratedModel]) -> CuratedModel:
    """Return the entry of a name, without regard to case.

    Raises:
        ModelNotFoundError: there is none; `known` begins with those that resemble it.
    """
    by_name = {model.name: model for model in models}
    wanted = ref.name.lower()
    if wanted not in by_name:
        raise ModelNotFoundError(
            ref.name, tuple(dict.fromkeys([*difflib.get_close_matches(wanted, by_name), *by_name]))
        )
    return by_name[wanted]


def recommend(machine: Machine, models: Sequence[CuratedModel]) -> Recommendation:
    """Return the largest recommended model that the machine holds; without a GPU, one that is quick enough there.

    When nothing fits, or nobody knows the memory, it is the smallest of them.
    """
    room = machine.room_bytes or 0
    quick = [model for model in models if model.recommended and _is_quick(model, machine)]
    fitting = [model for model in quick if model.memory_gb * _GB <= room]
    chosen = max(fitting, key=lambda model: model.memory_gb, default=min(quick, key=lambda model: model.memory_gb))
    return Recommendation(model=chosen, reason=_why(chosen, machine, fits=chosen in fitting))


def _is_quick(model: CuratedModel, machine: Machine) -> bool:
    return machine.computes_on_gpu or model.active_b <= _ACTIVE_LIMIT_B


def _why(model: CuratedModel, machine: Machine, *, fits: bool) -> str:
    if machine.room_bytes is None:
        return f"how much memory this machine has could not be found out, and {model.name} takes the least"
    room = machine.room_bytes / _GB
    if not fits:
        return f"this machine has {machine}; no model fits into {room:.1f} GB of it, and {model.name} takes the least"
    return (
        f"this machine has {machine}; of the {room:.1f} GB that a model may take there, "
        f"{model.name} takes about {model.memory_gb:.1f} with 32k tokens of context"
    )
