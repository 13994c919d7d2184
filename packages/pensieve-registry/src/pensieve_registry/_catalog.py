"""The models of this machine, by name.

Knows when to look and what was found. Which files there are is the sources' business, which name means which model
`NameTable`'s. Below, no native code is involved: a file is listed only after its header has been checked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from pensieve_core import ModelDescriptor, ModelId, ModelNotFoundError
from pensieve_registry._cards import KnownFiles
from pensieve_registry._drafts import with_draft_model
from pensieve_registry._names import NameTable
from pensieve_registry._scan import LeftOut, ModelProblem, ScanResult, scan_sources
from pensieve_registry._sources import ModelSource

__all__ = ["LocalCatalog"]

_PATIENCE_S = 2.0
"""Between two scans for names that nobody knows: whoever asks for many must not keep the disk busy."""


class LocalCatalog:
    """`ModelCatalog` over the files that some sources find.

    The first question scans, if `scan` was not called before. A later `scan` replaces what is known in one step, so it
    may run in a thread while requests are served; the default model stays the one that it was, if it is still there. A
    name that nobody knows scans, too, once in two seconds at most: so a model that was fetched meanwhile is found. That
    takes some ten milliseconds, and those that its header takes.

    Args:
        sources: In order of preference; a name that two of them have goes to the earlier. Usual: a file that the user
            named, the models folder, the Hugging Face cache, installed packages. So the starter model, which comes in
            a package, is the default only where there is nothing else.
        default: A name of the default model. None: the most preferred one of the first source that has any.
        aliases: The user's own names, each for any name of a model.
        projector: A projector for the default model, in place of the one beside it.
        draft: A draft model for the default model, in place of the one that was paired: a file, or any name of a model.
            "none": no model has one.
        memory_bytes: The memory that the weights have to fit into to be preferred; None: unlimited.
        on_refused: Told of each file that cannot be served, at every scan; whoever has a log writes it there.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        sources: Sequence[ModelSource],
        *,
        default: str | None = None,
        aliases: Mapping[str, str] | None = None,
        projector: Path | None = None,
        draft: str | None = None,
        memory_bytes: int | None = None,
        on_refused: Callable[[ModelProblem], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = tuple(sources)
        self._default = default
        self._configured = dict(aliases or {})
        self._projector = projector
        self._draft = draft
        self._memory_bytes = memory_bytes
        self._on_refused = on_refused
        self._files = KnownFiles()
        self._known: tuple[ScanResult, NameTable] | None = None
        self._first_default: ModelId | None = None
        self._clock = clock
        self._scanned_at = -math.inf

    def scan(self) -> None:
        """Look through the sources again. Blocks on the disk; headers of files that have not changed are not read."""
        self._known = self._look()

    def models(self) -> tuple[ModelDescriptor, ...]:
        """Return all servable models, the default one first."""
        return self._names.models

    def aliases(self) -> Mapping[str, ModelId]:
        """Return `anthropic-<id>` for every model, and the user's aliases that lead to one."""
        return self._names.aliases

    def resolve(self, name: str) -> ModelDescriptor:
        """Return the model that `name` means, by the rules in `_names`.

        Raises:
            ModelNotFoundError: nobody knows the name; its `known` begins with those that resemble it.
        """
        try:
            return self._names.resolve(name)
        except ModelNotFoundError:
            if self._clock() - self._scanned_at < _PATIENCE_S:
                raise
        self.scan()
        return self._names.resolve(name)

    @property
    def problems(self) -> tuple[ModelProblem, ...]:
        """The files that should be models and cannot be served."""
        return self._scanned[0].problems

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The sound files that are no models to talk to."""
        return self._scanned[0].left_out

    @property
    def _names(self) -> NameTable:
        return self._scanned[1]

    @property
    def _scanned(self) -> tuple[ScanResult, NameTable]:
        if self._known is None:
            self._known = self._look()
        return self._known

    def _look(self) -> tuple[ScanResult, NameTable]:
        self._scanned_at = self._clock()
        result = scan_sources(self._sources, memory_bytes=self._memory_bytes, known=self._files)
        if self._on_refused is not None:
            for problem in result.problems:
                self._on_refused(problem)
        names = self._table(result.models)
        if self._projector is not None and names.models:
            first, *others = names.models
            names = self._table([_seeing(first, self._projector), *others])
        if self._draft is not None and names.models:
            names = self._table(with_draft_model(names.models, self._draft, names.resolve))
        if self._first_default is None and names.models:
            self._first_default = names.models[0].id
        return result, names

    def _table(self, models: Sequence[ModelDescriptor]) -> NameTable:
        kept = self._first_default if any(model.id == self._first_default for model in models) else None
        return NameTable(models, aliases=self._configured, default=self._default or kept)


def _seeing(model: ModelDescriptor, projector: Path) -> ModelDescriptor:
    return attrs.evolve(model, projector=projector, capabilities=attrs.evolve(model.capabilities, images=True))
