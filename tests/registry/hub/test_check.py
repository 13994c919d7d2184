"""The catalog's own check against a hub."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs

from pensieve_registry import load_curated
from pensieve_registry.hub import check_curated


def test_an_entry_is_true_when_the_hub_says_the_same_of_it(world: Any, make_model: Any) -> None:
    content = make_model(8)
    commit = world.server.add("owner/Model-GGUF", {"model-Q4_0.gguf": content})
    sha256 = hashlib.sha256(content).hexdigest()
    right = attrs.evolve(
        load_curated()[0],
        repository="owner/Model-GGUF",
        file="model-Q4_0.gguf",
        quantization="Q4_0",
        size_bytes=len(content),
        revision=commit,
        sha256=sha256,
    )
    entries = [
        right,
        attrs.evolve(right, sha256=None),
        attrs.evolve(right, sha256="0" * 64),
        attrs.evolve(right, size_bytes=1),
        attrs.evolve(right, quantization="Q8_0"),
        attrs.evolve(right, revision="0" * 40),
        attrs.evolve(right, file="other.gguf"),
    ]
    problems = [checked.problem for checked in check_curated(world.hub, entries)]
    assert problems[:2] == [None, None]
    words = ["has the hash", "bytes, the catalog says 1", "the catalog Q8_0", "404", "no model file other.gguf"]
    assert [word in str(problem) for word, problem in zip(words, problems[2:], strict=True)] == [True] * 5
