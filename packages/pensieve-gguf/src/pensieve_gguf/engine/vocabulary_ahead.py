"""The vocabulary of the constraints, made in a thread of its own while the weights are loaded.

It takes half a second for 150,000 tokens. Made after the load it would be what the first request after a restart waits
for, for everything else is known again by then.

Above: the loading, which starts it, and the engine. Below: the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pensieve_gguf.constraints import Vocabulary
from pensieve_gguf.llama import Model

__all__ = ["VocabularyAhead"]


class VocabularyAhead:
    """Begins at once.

    Args:
        path: The model's file. If it cannot be loaded, that is told by `of`.
    """

    def __init__(self, path: Path) -> None:
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vocabulary")
        self._begun = thread.submit(Vocabulary.begin, path)
        thread.shutdown(wait=False)

    @property
    def ready(self) -> bool:
        """Whether `of` returns at once."""
        return self._begun.done()

    def when_ready(self, tell: Callable[[], object]) -> None:
        """Call `tell` as soon as it is, be it from its own thread."""
        self._begun.add_done_callback(lambda _: tell())

    def of(self, model: Model) -> Vocabulary:
        """Return it, for as long as `model` is open; waits until it is ready.

        Raises:
            pensieve_gguf.llama.LoadError: llama.cpp could not load the file a second time.
        """
        return self._begun.result()(model)
