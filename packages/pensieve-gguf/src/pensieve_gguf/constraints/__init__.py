"""Constrained decoding: what a model may say next, where a request demands something of its answer.

    plan = Grammarian(make_vocabulary, source, renders_tools=True).plan(request)   # the prompts thread, ms
    guide = Guide(plan)                                                           # one per answer
    guide.admits(token), guide.mask(logits), guide.follow(token, parser, …)       # the engine thread, µs

Above: the engine. Below: the parsers, which tell where a call begins, and llguidance, behind `_vocabulary`.
"""

from pensieve_gguf.constraints._grammarian import Grammarian
from pensieve_gguf.constraints._guide import HEADER, MARKED_HEADER, Guide, Plan
from pensieve_gguf.constraints._vocabulary import Constraint, Vocabulary

__all__ = ["HEADER", "MARKED_HEADER", "Constraint", "Grammarian", "Guide", "Plan", "Vocabulary"]
