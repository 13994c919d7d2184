"""What tests of constrained decoding are made of: schemas and tools at random, from a seed."""

from pensieve_gguf.testing._demands import bounded_schema, bounded_tool

__all__ = ["bounded_schema", "bounded_tool"]
