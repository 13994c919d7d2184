"""The curated catalog: a few models that are worth fetching.

It names what is at the hub; what is on this machine is `LocalCatalog`'s, and which of them suits it is said in
`_recommendation`. Pure, but for reading the file that is shipped with this package; `models/catalog.toml` in the
repository is a link to it.
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
    "curated_model",
    "load_curated",
    "parse_curated",
]

ToolDialect: TypeAlias = Literal["none", "hermes", "qwen-coder", "mistral-list", "mistral", "harmony", "glm", "gemma"]
"""How a model writes calls, in the words of `pensieve_gguf.parsers`."""

_FILE = "catalog.toml"


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
    """One entry. Sizes are bytes."""

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
    layers: int = attrs.field(validator=attrs.validators.gt(0))
    kv_heads: int = attrs.field(validator=attrs.validators.gt(0))
    head_size: int = attrs.field(validator=attrs.validators.gt(0))
    """Of a key, and of a value."""
    vocabulary: int = attrs.field(validator=attrs.validators.gt(0))
    """Words."""
    tools: ToolDialect
    licence: str
    note: str
    revision: str | None = attrs.field(default=None, validator=_commit)
    """The commit that it is pinned to; None: the main branch."""
    sha256: str | None = attrs.field(default=None, validator=_sha256)
    """Of `file`; None: what the hub says counts."""
    recommended: bool = False
    cached_layers: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    """Those that keep keys and values of every token; None: all do."""
    state_bytes: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    """What each sequence takes in the other layers: a state, or a window of tokens."""

    @property
    def ref(self) -> HubRef:
        """Return what is fetched."""
        owner, _, name = self.repository.partition("/")
        return HubRef(owner=owner, name=name, revision=self.revision, file=HubFile(self.file))


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
