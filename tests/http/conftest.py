"""What a client sends in the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

MessagesBody: TypeAlias = Callable[..., dict[str, Any]]


@pytest.fixture
def body() -> MessagesBody:
    """Return a builder of a small valid request; keyword arguments replace or add fields."""

    def build(**fields: Any) -> dict[str, Any]:
        small = {"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "Say hello"}]}
        return {**small, **fields}

    return build
