"""Plays that a test writes down: what the model does is decided by the words of its user.

$SCRIPTED_PLAYS names a JSON file: from a cue, which the user's words contain, to the steps of the play. A step is
`{"call": "Bash", "arguments": {…}}` (`"Agent|Task"`: whichever the request offers), `{"say": "…"}`, or
`{"slowly": "…"}`, ten words a second. One step is played a request: as many as tools have answered since the cue are
over. Whoever asks for a title or a summary gets one, and words without a cue a greeting.

Each request is written to $SCRIPTED_LOG, a JSON object a line, so that a test sees what reached the model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pensieve_core import GenerationRequest, ImagePart, Part, TextPart, ToolResultPart, Turn
from pensieve_inference.testing import Script, Wait, call, say

__all__ = ["Plays"]

_Step: TypeAlias = Mapping[str, Any]

_TITLE = '{"title": "A scripted session"}'
_SUMMARY_WANTED = ("Respond with TEXT ONLY", "detailed summary")
_SUMMARY = "<analysis>All of it.</analysis>\n<summary>They spoke of the scripted things.</summary>"
_WORD_S = 0.1


class Plays:
    """The scenario."""

    def __init__(self) -> None:
        plays = os.environ.get("SCRIPTED_PLAYS")
        self._plays: Mapping[str, Sequence[_Step]] = json.loads(Path(plays).read_text("utf-8")) if plays else {}
        self._log = Path(os.environ["SCRIPTED_LOG"])

    def __call__(self, request: GenerationRequest) -> Script:
        """Write the request down, and return its script."""
        cue, results = self._place(request.turns)
        kind = _kind(request)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"kind": kind, "cue": cue, "results": results, **_seen(request)}) + "\n")
        match kind:
            case "title":
                return say(_TITLE)
            case "summary":
                return say(_SUMMARY)
        steps = self._plays.get(cue or "", [{"say": "Hello from the script."}])
        return _play(steps[min(results, len(steps) - 1)], request)

    def _place(self, turns: Sequence[Turn]) -> tuple[str | None, int]:
        """Return the last cue that was given, and how many results of tools came after it."""
        results = 0
        for turn in reversed(turns):
            words = _text(turn.parts) if turn.role == "user" else ""
            cue = next((cue for cue in self._plays if cue in words), None)
            if cue is not None:
                return cue, results
            results += sum(isinstance(part, ToolResultPart) for part in turn.parts)
        return None, results


def _kind(request: GenerationRequest) -> str:
    last = next((_text(turn.parts) for turn in reversed(request.turns) if turn.role == "user"), "")
    if request.output_schema is not None and not request.tools:
        return "title"
    return "summary" if all(words in last for words in _SUMMARY_WANTED) else "turn"


def _play(step: _Step, request: GenerationRequest) -> Script:
    if "call" in step:
        offered = {tool.name for tool in request.tools}
        name = next((name for name in step["call"].split("|") if name in offered), step["call"])
        return call(name, step["arguments"], call_id=f"toolu_{request.id}")
    if "slowly" in step:
        return [one for word in step["slowly"].split() for one in (*say(f"{word} "), Wait(_WORD_S))]
    return say(step["say"])


def _seen(request: GenerationRequest) -> Mapping[str, object]:
    """Return what a test may want to know of a request."""
    results = [part for part in _parts(request) if isinstance(part, ToolResultPart)]
    shown = [piece for part in results for piece in part.content]
    return {
        "session": request.origin.session,
        "agent": request.origin.agent,
        "parent": request.origin.parent,
        "priority": request.origin.priority,
        "tools": [tool.name for tool in request.tools],
        "turns": [[turn.role, _text(turn.parts)] for turn in request.turns],
        "shown": [[part.is_error, _text(part.content)] for part in results],
        "images": sum(isinstance(part, ImagePart) for part in (*_parts(request), *shown)),
    }


def _parts(request: GenerationRequest) -> Iterator[Part]:
    return (part for turn in request.turns for part in turn.parts)


def _text(parts: Sequence[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextPart))
