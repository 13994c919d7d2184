"""The manifest against the tests, the SDK and the documents."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import anthropic.types as sdk
import attrs
import pytest
from anthropic.types import beta, message_create_params
from anthropic.types.beta import message_create_params as beta_create_params
from anthropic.types.shared.error_type import ErrorType
from conformance.markers import marked_tests
from conformance.report import BEGIN, END, divergences_page, summarise, with_summary

from conformance import NOT_BUILT, REQUIREMENTS, Requirement

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
IDS = [requirement.id for requirement in REQUIREMENTS]


def test_no_id_comes_twice() -> None:
    assert len(IDS) == len(set(IDS))


def test_every_record_that_is_not_deferred_has_a_test() -> None:
    """A test that names a deferred record as well is expected to fail, and shows nothing."""
    deferred = {r.id for r in REQUIREMENTS if r.deferred is not None}
    tests = [test for test in marked_tests(FOLDER) if deferred.isdisjoint(test.requirements)]
    named = {name for test in tests for name in test.requirements} | {r.id for r in REQUIREMENTS if r.held_by}
    assert [r.id for r in REQUIREMENTS if r.deferred is None and r.id not in named] == []


def test_every_test_elsewhere_that_holds_a_record_exists() -> None:
    for held_by in (r.held_by for r in REQUIREMENTS if r.held_by):
        path, _, name = held_by.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_every_test_names_records_and_all_of_them_exist() -> None:
    own = {"test_manifest", "test_llama_server_compat"}  # about the manifest, and somebody else's tests
    tests = [test for test in marked_tests(FOLDER) if test.module not in own]
    assert len(tests) > 100
    assert [f"{test.module}::{test.name}" for test in tests if not test.requirements] == []
    assert {name for test in tests for name in test.requirements} - set(IDS) == set()


def test_every_source_in_the_sdk_exists() -> None:
    spec = importlib.util.find_spec("anthropic")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    modules = {r.source.removeprefix("sdk: ") for r in REQUIREMENTS if r.source.startswith("sdk: ")}
    assert [module for module in sorted(modules) if not (package / module).is_file()] == []


def _tags(union: Any) -> Iterator[str]:
    """Yield what the `type` of a union's members may say; TypedDicts keep it as text."""
    for member in get_args(union):
        if isinstance(member, type):
            yield from re.findall(
                r"['\"]([a-z0-9_]+)['\"]", str(member.__annotations__.get("type", "")).partition("module=")[0]
            )
        else:
            yield from _tags(member)


def _missing(expected: Iterator[str] | list[str], area: str) -> list[str]:
    """Return what of `expected` has no record: neither its own, nor one of its family (`web_search_20260318`)."""
    names = [name.removeprefix(f"{area}:").partition(":")[0] for name in IDS if name.startswith(f"{area}:")]
    patterns = [re.compile(re.escape(name).replace(r"\*", "[a-z_]+") + r"(_toolset)?(_\d{8})?") for name in names]
    return sorted({name for name in expected if not any(pattern.fullmatch(name) for pattern in patterns)})


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        ("field", list(message_create_params.MessageCreateParamsBase.__annotations__)),
        ("field", list(beta_create_params.MessageCreateParamsBase.__annotations__)),
        ("block", list(_tags(sdk.ContentBlockParam))),
        ("block", list(_tags(beta.BetaContentBlockParam))),
        ("tool", list(_tags(sdk.ToolUnionParam))),
        ("tool", list(_tags(beta.BetaToolUnionParam))),
        ("tool_choice", list(_tags(sdk.ToolChoiceParam))),
        ("thinking", list(_tags(sdk.ThinkingConfigParam))),
        ("diagnostics", list(_tags(sdk.CacheMissReason))),
        ("stop", list(get_args(sdk.StopReason))),
        ("error", list(get_args(ErrorType))),
    ],
)
def test_the_sdk_knows_nothing_that_the_manifest_does_not(area: str, expected: list[str]) -> None:
    """A new version of the SDK that brings a field, a block, a tool or an error fails here."""
    assert len(expected) > 3
    assert _missing(expected, area) == []


def test_what_is_missing_is_found_missing() -> None:
    assert _missing(["text", "hologram"], "block") == ["hologram"]


def test_the_page_of_divergences_is_up_to_date() -> None:
    """`make docs` writes it."""
    page = (ROOT / "docs" / "divergences.md").read_text(encoding="utf-8")
    assert page == divergences_page(REQUIREMENTS)


def test_the_summary_in_the_readme_is_up_to_date() -> None:
    """`make docs` writes it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == with_summary(readme, summarise(REQUIREMENTS, marked_tests(FOLDER)))


def test_a_readme_without_a_place_for_the_summary_is_refused() -> None:
    with pytest.raises(ValueError, match="has no"):
        with_summary(f"{END} {BEGIN}", ())


def _record(**fields: Any) -> Requirement:
    return attrs.evolve(Requirement("field:x", "It is.", source="ours"), **fields)


@pytest.mark.parametrize("wrong", [{"id": "x"}, {"source": "hearsay"}, {"deferred": ""}, {"required": ""}])
def test_a_record_that_says_nothing_cannot_be_made(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        _record(**wrong)


def test_the_page_tells_divergences_gaps_and_what_is_to_come_apart() -> None:
    records = [
        _record(divergence="It is not."),
        _record(id="field:y", deferred="Never."),
        _record(id="field:z", deferred=NOT_BUILT),
    ]
    page = divergences_page(records)
    places = [page.index(text) for text in ("## Done otherwise", "field:x", "field:y", "## Not built yet", "field:z")]
    assert places == sorted(places)
    assert "**Here:** It is not." in page


def test_a_marker_counts_wherever_it_stands_in_a_decorator(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('a', [pytest.param(1, marks=pytest.mark.requirement('field:x'))])\n"
        "@requirement('field:y', 'field:z')\n"
        "async def test_a(a): ...\n"
    )
    (test,) = marked_tests(tmp_path)
    assert (test.module, test.name) == ("test_x", "test_a")
    assert test.requirements == ("field:x", "field:y", "field:z")
