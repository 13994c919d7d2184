"""Prompts of a wanted length, made of nothing that a model could know by heart. Pure."""

from __future__ import annotations

__all__ = ["listing"]

_COLOURS = ("red", "blue", "green")


def listing(salt: str, items: int, task: str = "Which items are blue?") -> str:
    """Return a list of `items` things, some 8 tokens each, and a task.

    It begins with `salt`: prompts with two salts share no prefix but that of the template.
    """
    lines = " ".join(f"item{i % 97} of {salt} is {_COLOURS[i % len(_COLOURS)]}," for i in range(items))
    return f"{salt}. Here is a list: {lines} {task}"
