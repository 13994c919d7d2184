"""Which model a name means. Pure: a table built once from a scan, asked at every request.

A name is tried in this order, without regard to case, surrounding blanks, a suffix in brackets (Claude Code appends
`[1m]` for a long context) or an ending `.gguf`:

1. the id of a model;
2. an alias that the user configured;
3. a listed alias, `anthropic-<id>`: Claude Code's model picker keeps ids that contain "claude" or "anthropic", and to
   ids that start with `claude-` it does not apply the context size that it is told, hence this form (design 4);
4. a display name, which is the name of the file;
5. any other name of a model, a plus sign and an adapter of that model (`_adapted`);
6. any `claude…`, any `anthropic…`, and `default`: the default model, whatever Claude Code asks for next year;
7. the beginning of an id, at least three characters, if exactly one model has it.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pensieve_core import ModelDescriptor, ModelId, ModelNotFoundError
from pensieve_registry._adapted import adapted

__all__ = ["NameTable"]

_DEFAULT_NAME = re.compile(r"claude\b.*|anthropic\b.*|default")
_DECORATION = re.compile(r"(\.gguf)?(\[[^\[\]]*\])?$")
_PREFIX_LENGTH = 3


class NameTable:
    """The names of some models.

    Args:
        models: The most preferred first; it is the default unless another one is named.
        aliases: From a user's name to any name of a model. One that leads nowhere is not listed; asking for it fails.
        default: Any name of the default model. When it leads nowhere, asking for the default fails.
    """

    def __init__(self, models: Sequence[ModelDescriptor], *, aliases: Mapping[str, str], default: str | None) -> None:
        self._by_id = {model.id: model for model in models}
        self._by_alias = {f"anthropic-{model.id}": model for model in models}
        self._by_display_name = {_bare(model.display_name): model for model in reversed(models)}
        self._configured = {_bare(alias): target for alias, target in aliases.items()}
        self._wanted_default = default
        self._default = next(iter(models), None) if default is None else self._meant(self._target(default))
        first = () if self._default is None else (self._default,)
        self.models = (*first, *(model for model in models if model is not self._default))
        self.aliases = self._listed(aliases)

    def resolve(self, name: str) -> ModelDescriptor:
        """Return the model that `name` means.

        Raises:
            ModelNotFoundError: none; `known` lists the names that resemble it first.
        """
        target = self._target(name)
        means_default = _DEFAULT_NAME.fullmatch(_bare(target)) is not None
        model = self._exact(target) or adapted(_bare(target), self._named)
        model = model or (self._default if means_default else self._named(target))
        if model is None:
            missing = self._wanted_default if means_default else None
            raise ModelNotFoundError(missing or name, self._known(target))
        return model

    def _target(self, name: str) -> str:
        """Follow a configured alias, once: so aliases cannot go in circles."""
        bare = _bare(name)
        return name if bare in self._by_id else self._configured.get(bare, name)

    def _exact(self, name: str) -> ModelDescriptor | None:
        bare = _bare(name)
        return self._by_id.get(ModelId(bare)) or self._by_alias.get(bare) or self._by_display_name.get(bare)

    def _named(self, name: str) -> ModelDescriptor | None:
        return self._exact(name) or self._by_beginning(_bare(name))

    def _meant(self, name: str) -> ModelDescriptor | None:
        return self._exact(name) or adapted(_bare(name), self._named) or self._by_beginning(_bare(name))

    def _by_beginning(self, bare: str) -> ModelDescriptor | None:
        found = [model for model_id, model in self._by_id.items() if model_id.startswith(bare)]
        return found[0] if len(found) == 1 and len(bare) >= _PREFIX_LENGTH else None

    def _listed(self, configured: Mapping[str, str]) -> Mapping[str, ModelId]:
        listed = {alias: model.id for alias, model in self._by_alias.items()}
        for alias in configured:
            with contextlib.suppress(ModelNotFoundError):
                listed[alias] = self.resolve(alias).id
        return MappingProxyType(listed)

    def _known(self, name: str) -> tuple[str, ...]:
        names = [*(model.id for model in self.models), *self._configured]
        return tuple(dict.fromkeys([*difflib.get_close_matches(_bare(name), names), *names]))


def _bare(name: str) -> str:
    return _DECORATION.sub("", name.strip().lower())
