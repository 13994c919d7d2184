"""The contract of `ModelCatalog`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from pensieve_core import ModelNotFoundError
from pensieve_inference._protocols import ModelCatalog
from pensieve_inference.testing.contract._expect import ContractBrokenError, expect

__all__ = ["CATALOG_CHECKS", "CatalogCheck"]

CatalogCheck: TypeAlias = Callable[[ModelCatalog], None]

_CLAUDE_NAMES = ("claude-opus-4-8", "claude-haiku-4-5-20251001", "claude-sonnet-of-the-future")
_NOBODY = "no model in any catalog is called this"


def has_models_of_different_ids(catalog: ModelCatalog) -> None:
    """Each id stands for one model, and answers do not change on their own."""
    ids = [model.id for model in catalog.models()]
    expect(bool(ids), "a catalog to be checked holds a model")
    expect(len(set(ids)) == len(ids), f"ids are unique: {ids}")
    expect(ids == [model.id for model in catalog.models()], "the same question gets the same answer")


def resolves_every_id(catalog: ModelCatalog) -> None:
    """An id means its model."""
    for model in catalog.models():
        expect(catalog.resolve(model.id) == model, f"the id {model.id} means its model")


def resolves_every_listed_alias(catalog: ModelCatalog) -> None:
    """A listed alias means the model that it is listed with."""
    for alias, model_id in catalog.aliases().items():
        expect(catalog.resolve(alias).id == model_id, f"the listed alias {alias} means {model_id}")


def lists_no_alias_that_hides_a_model(catalog: ModelCatalog) -> None:
    """Ids come before aliases, so an alias that is also an id would never be followed."""
    hidden = {model.id for model in catalog.models()} & set(catalog.aliases())
    expect(not hidden, f"no alias is the id of a model: {hidden}")


def takes_any_claude_name_for_the_first_model(catalog: ModelCatalog) -> None:
    """Claude Code asks for models by names that no local model has (design 4)."""
    known = {*catalog.aliases(), *(model.id for model in catalog.models())}
    for name in _CLAUDE_NAMES:
        if name not in known:
            expect(
                catalog.resolve(name) == catalog.models()[0], f"{name} means the default model, which is listed first"
            )


def says_which_names_would_have_worked(catalog: ModelCatalog) -> None:
    """An unknown name is refused, with what there is."""
    try:
        catalog.resolve(_NOBODY)
    except ModelNotFoundError as error:
        expect(error.name == _NOBODY, f"the error tells the name that was asked for, not {error.name}")
        missing = {model.id for model in catalog.models()} - set(error.known)
        expect(not missing, f"the error lists every model: {missing} is missing")
        return
    msg = "a name that nobody knows raises ModelNotFoundError"
    raise ContractBrokenError(msg)


CATALOG_CHECKS: tuple[CatalogCheck, ...] = (
    has_models_of_different_ids,
    resolves_every_id,
    resolves_every_listed_alias,
    lists_no_alias_that_hides_a_model,
    takes_any_claude_name_for_the_first_model,
    says_which_names_would_have_worked,
)
"""Each is given a catalog of at least one model."""
