"""Ours: the vocabulary of the constraints is ready when the weights are."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from pensieve_core import ModelDescriptor
from pensieve_gguf.engine.vocabulary_ahead import VocabularyAhead
from pensieve_gguf.llama import LoadError, Model

PATIENCE_S = 30.0


@pytest.mark.model
def test_it_is_made_without_the_weights_and_told_when_it_is_there(smollm2: ModelDescriptor) -> None:
    told = threading.Event()
    ahead = VocabularyAhead(smollm2.path)
    ahead.when_ready(told.set)
    assert told.wait(PATIENCE_S)
    assert ahead.ready
    model = Model(smollm2.path, vocabulary_only=True)
    assert ahead.of(model).ends.tolist() == sorted(model.end_tokens)
    model.close()


def test_what_cannot_be_read_is_told_to_whoever_needs_it(tmp_path: Path) -> None:
    (tmp_path / "torn.gguf").write_bytes(b"GGUF")
    with pytest.raises(LoadError):
        VocabularyAhead(tmp_path / "torn.gguf").of(cast("Any", None))
