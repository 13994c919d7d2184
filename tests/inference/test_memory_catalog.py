"""The catalog made of values."""

import pytest

from pensieve_core import ModelId, ModelNotFoundError
from pensieve_inference import ModelCatalog
from pensieve_inference.testing import InMemoryCatalog, make_descriptor


def test_holds_one_scripted_model_unless_told_otherwise() -> None:
    catalog = InMemoryCatalog()
    assert isinstance(catalog, ModelCatalog)
    assert catalog.models() == (make_descriptor(),)
    assert catalog.aliases() == {}


def test_resolves_ids_aliases_and_claude_names() -> None:
    one, two = make_descriptor("one"), make_descriptor("two")
    catalog = InMemoryCatalog(one, two, aliases={"second": ModelId("two")})
    assert [catalog.resolve(name) for name in ("one", "two", "second", "claude-opus-4-8")] == [one, two, two, one]


def test_says_what_there_is_to_who_asks_for_something_else() -> None:
    with pytest.raises(ModelNotFoundError, match=r"^model: three \(available: one, two\)$"):
        InMemoryCatalog(make_descriptor("one"), make_descriptor("two")).resolve("three")
