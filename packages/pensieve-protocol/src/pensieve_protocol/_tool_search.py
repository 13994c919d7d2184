"""Search over deferred tools, run here: by regular expression, or by BM25. Pure.

A pattern comes from a model, and may be anything: RE2 matches in time linear to the text, and refuses what cannot be
matched so (look-around, back references). Names, descriptions, and the names and descriptions of arguments are searched
(https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-search-tool).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias

import attrs
import re2

from pensieve_core import JsonObject, Tool

__all__ = ["SearchFailed", "SearchKind", "SearchResult", "ToolSearch", "ToolsFound"]

SearchKind: TypeAlias = Literal["regex", "bm25"]

_MOST_FOUND: Final = 5
"""As many as Anthropic's search returns."""
_LONGEST_QUERY: Final = 200
_MEMORY_BYTES: Final = 1 << 20
"""Of a compiled pattern."""

_SATURATION: Final = 1.2
_LENGTH_WEIGHT: Final = 0.75
"""k1 and b as Robertson and Zaragoza give them (The Probabilistic Relevance Framework, 2009)."""

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


@attrs.frozen(kw_only=True)
class ToolsFound:
    """Names of tools, the best first; perhaps none."""

    names: tuple[str, ...]


@attrs.frozen(kw_only=True)
class SearchFailed:
    """Why nothing could be looked for."""

    message: str


SearchResult: TypeAlias = ToolsFound | SearchFailed


@attrs.frozen(kw_only=True)
class ToolSearch:
    """The search tools of one request, and what they search."""

    kinds: Mapping[str, SearchKind]
    """By the name of the search tool."""
    tools: tuple[Tool, ...]
    """All deferred tools, found before or not."""

    def run(self, search_tool: str, arguments: JsonObject) -> SearchResult:
        """Search as the model asked."""
        query = arguments.get("query", arguments.get("pattern"))
        if not isinstance(query, str) or not query.strip():
            return SearchFailed(message="query: expected a text that is not empty")
        if len(query) > _LONGEST_QUERY:
            return SearchFailed(message=f"query: must not be longer than {_LONGEST_QUERY} characters")
        return self._by_pattern(query) if self.kinds[search_tool] == "regex" else self._by_words(query)

    def found(self, names: tuple[str, ...]) -> tuple[Tool, ...]:
        """Return the tools of these names."""
        return tuple(tool for tool in self.tools if tool.name in names)

    def _by_pattern(self, pattern: str) -> SearchResult:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY_BYTES
        try:
            compiled = re2.compile(pattern, options)
        except re2.error as error:
            return SearchFailed(message=f"query: no regular expression that can be searched for: {error}")
        matching = (tool.name for tool in self.tools if any(compiled.search(text) for text in _texts(tool)))
        return ToolsFound(names=tuple(matching)[:_MOST_FOUND])

    def _by_words(self, query: str) -> SearchResult:
        documents = [Counter(_words(" ".join(_texts(tool)))) for tool in self.tools]
        scores = _bm25(set(_words(query)), documents)
        ranked = sorted(zip(scores, self.tools, strict=True), key=lambda scored: -scored[0])
        return ToolsFound(names=tuple(tool.name for score, tool in ranked[:_MOST_FOUND] if score > 0))


def _bm25(query: set[str], documents: list[Counter[str]]) -> list[float]:
    """Return the score of each document."""
    lengths = [document.total() for document in documents]
    usual = sum(lengths) / len(lengths) if any(lengths) else 1.0
    weights = {word: _rarity(sum(word in document for document in documents), len(documents)) for word in query}
    return [
        sum(weights[word] * _saturated(document[word], length / usual) for word in query if document[word])
        for document, length in zip(documents, lengths, strict=True)
    ]


def _rarity(holders: int, documents: int) -> float:
    return math.log(1 + (documents - holders + 0.5) / (holders + 0.5))


def _saturated(count: int, relative_length: float) -> float:
    damping = _SATURATION * (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * relative_length)
    return count * (_SATURATION + 1) / (count + damping)


def _texts(tool: Tool) -> Iterator[str]:
    yield tool.name
    yield tool.description
    properties = tool.parameters.get("properties")
    if isinstance(properties, Mapping):
        for name, schema in properties.items():
            yield str(name)
            yield str(schema.get("description", "")) if isinstance(schema, Mapping) else ""


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
