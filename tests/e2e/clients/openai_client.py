"""Plays what programs do through OpenAI's door, with the official Python SDK, and prints what came of it as JSON.

    openai_client.py BASE_URL                   what any model can do
    openai_client.py BASE_URL GUARDED_URL       all of it; GUARDED_URL asks for the key "right"

Run by `test_openai_sdk.py` in an environment that holds nothing but the SDK. The words in the prompts are cues for
`plugin/scripted_engine.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import openai

MODEL = "claude-opus-5-5"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CITY = {
    "type": "json_schema",
    "json_schema": {"name": "city", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def ask(text: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of a request that says `text`."""
    return {"model": MODEL, "max_completion_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


def create(client: openai.OpenAI) -> dict[str, Any]:
    """Ask once."""
    completion = client.chat.completions.create(**ask("hello"))
    (choice,) = completion.choices
    return {
        "object": completion.object,
        "model": completion.model,
        "text": choice.message.content,
        "finish_reason": choice.finish_reason,
        "adds_up": completion.usage.prompt_tokens + completion.usage.completion_tokens == completion.usage.total_tokens,
        "total_tokens": completion.usage.total_tokens,
        "request_id": completion._request_id or "",
    }


def stream(client: openai.OpenAI) -> dict[str, Any]:
    """Read chunk by chunk."""
    chunks = list(client.chat.completions.create(**ask("hello"), stream=True, stream_options={"include_usage": True}))
    return {
        "text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
        "finish_reason": chunks[-2].choices[0].finish_reason,
        "usage": chunks[-1].usage.total_tokens,
    }


def stream_helper(client: openai.OpenAI) -> dict[str, Any]:
    """Let the SDK put the chunks together."""
    with client.chat.completions.stream(**ask("weather in Paris", tools=[WEATHER])) as streamed:
        completion = streamed.get_final_completion()
    message = completion.choices[0].message
    return {
        "text": message.content,
        "name": message.tool_calls[0].function.name,
        "arguments": json.loads(message.tool_calls[0].function.arguments),
    }


def tool_loop(client: openai.OpenAI) -> dict[str, Any]:
    """Call a tool, and tell its result."""
    first = ask("weather in Paris", tools=[WEATHER], tool_choice="auto")
    asked = client.chat.completions.create(**first).choices[0]
    (call,) = asked.message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}
    messages = [*first["messages"], asked.message.model_dump(exclude_none=True), result]
    told = client.chat.completions.create(**{**first, "messages": messages}).choices[0]
    return {
        "finish_reason": asked.finish_reason,
        "arguments": json.loads(call.function.arguments),
        "told": told.message.content,
    }


def structured(client: openai.OpenAI) -> dict[str, Any]:
    """Ask for JSON of a schema."""
    completion = client.chat.completions.create(**ask("city as JSON", response_format=CITY, temperature=0, seed=1))
    choice = completion.choices[0]
    return {"text": choice.message.content, "finish_reason": choice.finish_reason}


def models(client: openai.OpenAI) -> dict[str, Any]:
    """List, and retrieve the first."""
    listed = list(client.models.list())
    return {"object": listed[0].object, "same": client.models.retrieve(listed[0].id) == listed[0]}


def failure(action: Callable[[], Any]) -> dict[str, Any]:
    """Return what is compared of the error that `action` raises."""
    try:
        action()
    except openai.APIStatusError as error:
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
            "message": error.message,
            "request_id": (error.request_id or "").startswith("req_"),
        }
    return {"class": None}


def broken_stream(client: openai.OpenAI) -> dict[str, Any]:
    """Read a stream whose engine dies."""
    text = ""
    try:
        for chunk in client.chat.completions.create(**ask("die half-way"), stream=True):
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        return {"text": text, "message": error.message}
    return {"text": text, "message": None}


def errors(client: openai.OpenAI, keyless: openai.OpenAI) -> dict[str, Any]:
    """Provoke each kind."""
    create_one = client.chat.completions.create
    return {
        "bad_request": failure(lambda: create_one(**ask("hello", n=2))),
        "too_long": failure(lambda: create_one(**ask("word " * 40_000))),
        "unauthenticated": failure(lambda: keyless.chat.completions.create(**ask("hello"))),
        "unknown_model": failure(lambda: create_one(**{**ask("hello"), "model": "nobody"})),
        "overloaded": failure(lambda: create_one(**ask("overloaded always"))),
        "engine_failed": failure(lambda: create_one(**ask("die at once"))),
    }


def main(url: str, guarded_url: str | None = None) -> None:
    """Play, and print."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=120)
    played: dict[str, Any] = {part.__name__: part(client) for part in (create, stream, structured, models)}
    if guarded_url is not None:
        keyless = openai.OpenAI(base_url=f"{guarded_url}/v1", api_key="wrong", max_retries=0)
        keyed = openai.OpenAI(base_url=f"{guarded_url}/v1", api_key="right", max_retries=0)
        retrying = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=2)
        played |= {part.__name__: part(client) for part in (stream_helper, tool_loop, broken_stream)}
        played |= errors(client, keyless)
        played["with_key"] = create(keyed)
        played["retried"] = {
            "text": retrying.chat.completions.create(**ask("overloaded twice")).choices[0].message.content
        }
    print(json.dumps(played))  # noqa: T201 - its output is what it is for


if __name__ == "__main__":
    main(*sys.argv[1:])
