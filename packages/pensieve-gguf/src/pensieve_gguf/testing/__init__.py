"""What tests are made of: schemas and tools at random, from a seed, and what a parser has told, as lines of text."""

from pensieve_gguf.testing._demands import bounded_schema, bounded_tool
from pensieve_gguf.testing._spelling import spell

__all__ = ["bounded_schema", "bounded_tool", "spell"]
