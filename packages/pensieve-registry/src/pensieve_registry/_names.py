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
7. the beginning of an id, at least three characters, if exactly one model has it;
8. a repository of the hub, or a name with a quantisation, as `pull` takes them, if they mean one model here (`_meant`).
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from pensieve_core import ModelDescriptor, ModelId, ModelNotFoundError, PensieveError
from pensieve_registry._adapted import adapted
from pensieve_registry._meant import PREFIX_LENGTH, meant_by

__all__ = ["NameTable", "SeveralModelsError"]

_DEFAULT_NAME = re.compile(r"claude\b.*|anthropic\b.*|default")
_BRACKETS = re.compile(r"(\[[^\[\]]*\])?$")
_DECORATION = re.compile(rf"(\.gguf)?{_BRACKETS.pattern}")


class SeveralModelsError(ModelNotFoundError):
    """A reference means more than one model, and does not say which. `known` are those."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        PensieveError.__init__(self, f"model: {name} means several: {', '.join(known)}")
        self.name = name
        self.known = tuple(known)


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
            SeveralModelsError: it is a reference to more than one.
        """
        target = self._target(name)
        means_default = _DEFAULT_NAME.fullmatch(_bare(target)) is not None
        model = self._exact(target) or adapted(_bare(target), self._named)
        model = model or (self._default if means_default else self._named(target))
        if model is None:
            missing = self._wanted_default if means_default else None
            raise self._refusal(missing or name, target)
        return model

    def _refusal(self, name: str, target: str) -> ModelNotFoundError:
        several = self._referred_to(target)
        if several:
            return SeveralModelsError(name, [model.id for model in several])
        return ModelNotFoundError(name, self._known(target))

    def _target(self, name: str) -> str:
        """Follow a configured alias, once: so aliases cannot go in circles."""
        bare = _bare(name)
        return name if bare in self._by_id else self._configured.get(bare, name)

    def _exact(self, name: str) -> ModelDescriptor | None:
        bare = _bare(name)
        return self._by_id.get(ModelId(bare)) or self._by_alias.get(bare) or self._by_display_name.get(bare)

    def _named(self, name: str) -> ModelDescriptor | None:
        return self._exact(name) or self._by_form(name)

    def _meant(self, name: str) -> ModelDescriptor | None:
        return self._exact(name) or adapted(_bare(name), self._named) or self._by_form(name)

    def _by_form(self, name: str) -> ModelDescriptor | None:
        referred_to = self._referred_to(name)
        return self._by_beginning(_bare(name)) or (referred_to[0] if len(referred_to) == 1 else None)

    def _referred_to(self, name: str) -> list[ModelDescriptor]:
        return meant_by(_BRACKETS.sub("", name.strip()), self._by_id.values())

    def _by_beginning(self, bare: str) -> ModelDescriptor | None:
        found = [model for model_id, model in self._by_id.items() if model_id.startswith(bare)]
        return found[0] if len(found) == 1 and len(bare) >= PREFIX_LENGTH else None

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
