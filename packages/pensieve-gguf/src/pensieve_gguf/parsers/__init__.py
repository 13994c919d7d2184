"""From a model's text to events: bytes, stop sequences, reasoning, tool calls.

Pure machines that know neither llama.cpp nor the scheduler. Above: the engine feeds them token by token. Below:
`pensieve_core` and orjson alone. `make_parser` says which marks a model's template stands for.
"""

from pensieve_gguf.parsers._dialect import Dialect, dialect_of
from pensieve_gguf.parsers._events import ParsedEvent
from pensieve_gguf.parsers._json_stream import JsonStream
from pensieve_gguf.parsers._parser import OutputParser, make_parser
from pensieve_gguf.parsers._reading import OpenCall
from pensieve_gguf.parsers._streams import StopSequences, Utf8Decoder
from pensieve_gguf.parsers._tagged_values import types_admitted
from pensieve_gguf.parsers._tagging import GLM_TAGS, QWEN_TAGS, Tags
from pensieve_gguf.parsers._tags import think_tags

__all__ = [
    "GLM_TAGS",
    "QWEN_TAGS",
    "Dialect",
    "JsonStream",
    "OpenCall",
    "OutputParser",
    "ParsedEvent",
    "StopSequences",
    "Tags",
    "Utf8Decoder",
    "dialect_of",
    "make_parser",
    "think_tags",
    "types_admitted",
]
