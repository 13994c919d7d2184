"""Design 3: tool_search (regex, bm25) runs here. The answer's form is that of the SDK's types."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import Tool
from pensieve_protocol import SearchFailed, ToolSearch, ToolsFound


def tool(name: str, description: str, **arguments: str) -> Tool:
    properties = {key: {"type": "string", "description": text} for key, text in arguments.items()}
    return Tool(name=name, description=description, parameters={"type": "object", "properties": properties})


SEARCH = ToolSearch(
    kinds={"pattern": "regex", "words": "bm25"},
    tools=(
        tool("get_weather", "Tell the weather of a place.", place="A city"),
        tool("sendMessage", "Send a chat message.", channel="Where to: slack, irc"),
        tool("create_issue", "Open an issue in a repository.", title="Its title"),
        Tool(name="odd", parameters={"properties": {"x": True}}),
        *(tool(f"filler_{n}", "Do nothing about files.") for n in range(8)),
    ),
)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("weather", ("get_weather",)),
        ("(?i)SLACK|issue", ("sendMessage", "create_issue")),
        ("^get_.*er$", ("get_weather",)),
        ("channel", ("sendMessage",)),
        ("filler_[0-9]", tuple(f"filler_{n}" for n in range(5))),
        ("no such thing", ()),
    ],
)
def test_a_pattern_is_looked_for_in_names_descriptions_and_arguments(query: str, names: tuple[str, ...]) -> None:
    assert SEARCH.run("pattern", {"query": query}) == ToolsFound(names=names)
    assert SEARCH.run("pattern", {"pattern": query}) == ToolsFound(names=names)


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("send a message to a channel", "sendMessage"),
        ("weather in a city", "get_weather"),
        ("open a GitHub ISSUE", "create_issue"),
    ],
)
def test_words_find_the_tool_that_fits_best(query: str, best: str) -> None:
    found = SEARCH.run("words", {"query": query})
    assert isinstance(found, ToolsFound)
    assert found.names[0] == best
    assert len(found.names) <= 5


def test_words_that_nobody_uses_find_nothing() -> None:
    assert SEARCH.run("words", {"query": "zzz ???"}) == ToolsFound(names=())
    assert ToolSearch(kinds=SEARCH.kinds, tools=()).run("words", {"query": "weather"}) == ToolsFound(names=())


@pytest.mark.parametrize("arguments", [{}, {"query": ""}, {"query": 3}, {"query": "x" * 201}, {"query": "  "}])
def test_what_is_no_query_is_an_error_for_the_model(arguments: dict[str, object]) -> None:
    for name in SEARCH.kinds:
        assert isinstance(SEARCH.run(name, arguments), SearchFailed)


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "a{5000}", "((a{100}){100}){100}"])
def test_patterns_that_could_take_for_ever_are_refused(pattern: str) -> None:
    assert isinstance(SEARCH.run("pattern", {"query": pattern}), SearchFailed)


def test_a_pattern_that_makes_others_hang_takes_no_time() -> None:
    """`(a+)+b` on 5,000 letters takes Python's own `re` longer than the universe has."""
    slow = ToolSearch(kinds=SEARCH.kinds, tools=(tool("t", "a" * 5_000),))
    began = time.thread_time()
    assert slow.run("pattern", {"query": "(a+)+b"}) == ToolsFound(names=())
    assert time.thread_time() - began < 1


@given(st.text(max_size=250), st.sampled_from(["pattern", "words"]))
def test_any_query_finds_some_of_the_tools_or_fails(query: str, name: str) -> None:
    result = SEARCH.run(name, {"query": query})
    if isinstance(result, ToolsFound):
        assert set(result.names) <= {tool.name for tool in SEARCH.tools}
