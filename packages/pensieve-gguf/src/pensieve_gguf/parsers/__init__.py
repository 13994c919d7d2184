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
from pensieve_gguf.parsers._tags import think_tags

__all__ = [
    "Dialect",
    "JsonStream",
    "OpenCall",
    "OutputParser",
    "ParsedEvent",
    "StopSequences",
    "Utf8Decoder",
    "dialect_of",
    "make_parser",
    "think_tags",
]
