"""A chat's partner that is a running server: `POST /v1/messages`, streamed."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Generator, Iterator
from typing import Any

import attrs

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.missing_model import how_to_fetch
from pensieve_cli.model_commands.chat import Ending, Piece, Question, Text, Thought
from pensieve_cli.server_client import Reply, ServerClient

__all__ = ["ServerPartner", "read_events"]

_SILENCE_S = 120.0
"""A server of ours says every ten seconds that it lives."""
_DATA = b"data: "
_PROMPT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


@attrs.frozen(kw_only=True)
class ServerPartner:
    """Answers through a server."""

    client: ServerClient
    model: str
    session: str = attrs.field(factory=lambda: f"run_{uuid.uuid4().hex}")

    @property
    def server(self) -> str:
        """Its URL."""
        return self.client.url

    def answer(self, question: Question) -> Generator[Piece, None, None]:
        """Yield the answer; closing leaves the connection, upon which the server stops.

        Raises:
            CommandError: the server refuses, fails, or is gone.
        """
        try:
            with self.client.stream("/v1/messages", self._body(question), silence_s=_SILENCE_S) as response:
                if response.status != http.client.OK:
                    reply = Reply(status=response.status, body=response.read())
                    raise self._refusal(reply)
                yield from read_events(response)
        except (OSError, http.client.HTTPException) as error:
            said = f"{type(error).__name__}: {error}"
            raise CommandError(f"{self.server} broke off ({said})", ExitCode.FAILURE) from error

    def _refusal(self, reply: Reply) -> CommandError:
        if reply.status == http.client.NOT_FOUND:
            advice = how_to_fetch(self.model)
            return CommandError(f"{self.server} says: {reply.message}{advice}", ExitCode.NOT_FOUND)
        return CommandError(f"{self.server} says: {reply.message}", ExitCode.FAILURE)

    def _body(self, question: Question) -> object:
        body = {
            "model": self.model,
            "max_tokens": question.max_tokens,
            "stream": True,
            "messages": [{"role": message.role, "content": message.text} for message in question.messages],
            "metadata": {"user_id": self.session},
        }
        return {**body, "system": question.system} if question.system else body


def read_events(lines: Iterator[bytes]) -> Generator[Piece, None, None]:
    """Yield what the lines of an event stream say.

    Raises:
        CommandError: they tell of an error, or end before the answer does.
    """
    usage: dict[str, int] = {}
    reason = ""
    for line in lines:
        event = json.loads(line.removeprefix(_DATA)) if line.startswith(_DATA) else {}
        match event.get("type"):
            case "content_block_delta":
                yield from _delta(event["delta"])
            case "message_start":
                usage |= _counts(event["message"]["usage"])
            case "message_delta":
                usage |= _counts(event["usage"])
                reason = event["delta"]["stop_reason"]
            case "message_stop":
                yield _ending(reason, usage)
                return
            case "error":
                raise CommandError(event["error"]["message"], ExitCode.FAILURE)
            case _:
                pass
    msg = "the server broke off in the middle of the answer"
    raise CommandError(msg, ExitCode.FAILURE)


def _delta(delta: dict[str, Any]) -> Iterator[Piece]:
    match delta:
        case {"type": "text_delta", "text": str(text)} if text:
            yield Text(text)
        case {"type": "thinking_delta", "thinking": str(text)} if text:
            yield Thought(text)
        case _:  # calls and signatures; and empty texts, which are signs of life
            return


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in usage.items() if isinstance(count, int)}


def _ending(reason: str, usage: dict[str, int]) -> Ending:
    return Ending(
        stop_reason=reason,
        prompt_tokens=sum(usage.get(name, 0) for name in _PROMPT),
        cached_tokens=usage.get("cache_read_input_tokens", 0),
        generated_tokens=usage.get("output_tokens", 0),
    )
