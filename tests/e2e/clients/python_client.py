"""Plays every part of the Messages API with the official Python SDK, 1.x or 2.x, and prints what came of each as JSON.

    python_client.py BASE_URL                   what any model can do
    python_client.py BASE_URL GUARDED_URL       all of it; GUARDED_URL asks for the key "right"

Run by `test_sdks.py` in an environment that holds nothing but the SDK; `typescript_client.mjs` is its twin, and
both print the same. The words in the prompts are cues for `plugin/scripted_engine.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

import anthropic
import pydantic

MODEL = "claude-opus-5-5"
WEATHER = {
    "name": "get_weather",
    "description": "Tell the weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOO_LARGE = 33 * 1024 * 1024
DEGREES = {"Paris": "18 degrees", "Rome": "25 degrees"}


class Weather(pydantic.BaseModel):
    """What `parsed` wants to be told."""

    city: Literal["Paris", "Rome"]
    sunny: bool


@anthropic.beta_tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return DEGREES[city]


def ask(text: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of a request that says `text`."""
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


def answer(message: Any) -> dict[str, Any]:
    """Return what is compared of a message."""
    return {
        "type": message.type,
        "model": message.model,
        "blocks": [block.type for block in message.content],
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "stop_reason": message.stop_reason,
        "output_tokens": message.usage.output_tokens,
    }


def failure(action: Callable[[], Any]) -> dict[str, Any]:
    """Return what is compared of the error that `action` raises."""
    try:
        action()
    except anthropic.APIStatusError as error:
        body: Any = error.body
        return {
            "class": type(error).__name__,
            "status": error.status_code,
            "type": body["error"]["type"],
            "message": body["error"]["message"],
            "request_id": (error.request_id or "").startswith("req_"),
        }
    return {"class": None}


def create(client: anthropic.Anthropic) -> dict[str, Any]:
    """Ask for a whole message."""
    message = client.messages.create(**ask("say hello"))
    return {**answer(message), "request_id": (message._request_id or "").startswith("req_")}


def stream_events(client: anthropic.Anthropic) -> dict[str, Any]:
    """Read the raw events of a stream."""
    events = list(client.messages.create(**ask("say hello"), stream=True))
    text = "".join(e.delta.text for e in events if e.type == "content_block_delta" and e.delta.type == "text_delta")
    return {"first": events[0].type, "last": events[-1].type, "text": text}


def stream_helper(client: anthropic.Anthropic) -> dict[str, Any]:
    """Let the SDK put a stream together."""
    with client.messages.stream(**ask("think first")) as stream:
        pieces = "".join(stream.text_stream)
        message = stream.get_final_message()
    signed = all(block.signature for block in message.content if block.type == "thinking")
    return {**answer(message), "pieces": pieces, "signed": signed}


def tool_loop(client: anthropic.Anthropic) -> dict[str, Any]:
    """Answer a tool call, and hear what the model makes of the result."""
    request = ask("weather in Paris", tools=[WEATHER])
    with client.messages.stream(**request) as stream:
        asked = stream.get_final_message()
    use = next(block for block in asked.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "18 degrees"}
    request["messages"] += [{"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    told = client.messages.create(**request)
    return {"asked": answer(asked), "name": use.name, "input": use.input, "told": answer(told)}


def parsed(client: anthropic.Anthropic) -> dict[str, Any]:
    """Let the SDK make a schema of a type, and an object of the answer; whole and streamed."""
    message = client.messages.parse(**ask("weather as JSON"), output_format=Weather)
    with client.messages.stream(**ask("weather as JSON"), output_format=Weather) as stream:
        streamed = stream.get_final_message()
    outputs = [message.parsed_output, streamed.parsed_output]
    return {
        "outputs": [output.model_dump() for output in outputs if isinstance(output, Weather)],
        "asked": [thought(message), thought(streamed)],
        "stop_reasons": [message.stop_reason, streamed.stop_reason],
    }


def tool_runner(client: anthropic.Anthropic, *, stream: bool) -> dict[str, Any]:
    """Let the SDK run a tool as often as the model calls it."""
    runner: Any = client.beta.messages.tool_runner(**ask("compare Paris and Rome"), tools=[get_weather], stream=stream)
    messages = [turn.get_final_message() if stream else turn for turn in runner]
    return {
        "stop_reasons": [message.stop_reason for message in messages],
        "calls": [block.input for message in messages for block in message.content if block.type == "tool_use"],
        "asked": thought(messages[0]),
        "told": answer(messages[-1]),
    }


def thought(message: Any) -> Any:
    """Return what the scripted engine thinks it was asked; a model without a script does not say."""
    return next((json.loads(block.thinking) for block in message.content if block.type == "thinking"), None)


def retried(client: anthropic.Anthropic) -> dict[str, Any]:
    """Ask a server that is overloaded twice."""
    began = time.monotonic()
    message = client.messages.create(**ask("overloaded twice"))
    return {**answer(message), "waited_s": time.monotonic() - began}


def count(client: anthropic.Anthropic) -> dict[str, Any]:
    """Count a prompt that is then sent."""
    request = ask("say hello", tools=[WEATHER])
    usage = client.messages.create(**request).usage
    del request["max_tokens"]
    counted = client.messages.count_tokens(**request)
    charged = usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
    return {"counted": counted.input_tokens, "charged": charged}


def models(client: anthropic.Anthropic) -> dict[str, Any]:
    """List the models, and look one up."""
    listed = list(client.models.list(limit=1))
    pages = [len(page.data) for page in client.models.list(limit=1).iter_pages()]
    whole = client.models.list().data
    one = client.models.retrieve(listed[0].id)
    picked = any("claude" in model.id or "anthropic" in model.id for model in listed)
    return {
        "type": one.type,
        "same": one.id == listed[0].id,
        "picked": picked,
        "paged": [model.id for model in listed],
        "pages": pages,
        "whole": [model.id for model in whole],
    }


def broken_stream(client: anthropic.Anthropic) -> dict[str, Any]:
    """Read a stream whose engine dies half-way."""
    seen: list[str] = []

    def read() -> None:
        seen.extend(event.type for event in client.messages.create(**ask("die half-way"), stream=True))

    return {**failure(read), "began": "content_block_delta" in seen, "ended": "message_stop" in seen}


def files(client: anthropic.Anthropic) -> dict[str, Any]:
    """Upload three files, walk through their list, download one, and delete all."""
    sent = [(f"{name}.txt", name.encode() * 1_000, "text/plain") for name in ("one", "two", "three")]
    uploaded = [client.beta.files.upload(file=file) for file in sent]
    listed = [file.id for file in client.beta.files.list(limit=2)]
    by_id = [file.filename for file in client.beta.files.list(ids=[uploaded[1].id, uploaded[0].id])]
    known = client.beta.files.retrieve_metadata(uploaded[0].id)
    content = client.beta.files.download(uploaded[0].id).read()
    deleted = [client.beta.files.delete(file.id).type for file in uploaded]
    passing = client.beta.files.upload(file=sent[0], expires_in_seconds=3_600)
    client.beta.files.delete(passing.id)
    return {
        "filename": known.filename,
        "mime_type": known.mime_type,
        "size_bytes": known.size_bytes,
        "newest_first": listed == [file.id for file in reversed(uploaded)],
        "by_id": sorted(by_id),
        "same": content == sent[0][1],
        "deleted": deleted,
        "expires_in_s": (passing.expires_at - passing.created_at).total_seconds() if passing.expires_at else None,
        "gone": failure(lambda: client.beta.files.retrieve_metadata(uploaded[0].id)),
    }


def batches(client: anthropic.Anthropic) -> dict[str, Any]:
    """Make a batch, wait for its end, read its results, and delete it; cancel another one."""
    requests: list[Any] = [
        {"custom_id": "hello", "params": ask("say hello")},
        {"custom_id": "dies", "params": ask("die at once")},
        {"custom_id": "wrong", "params": ask("say hello", max_tokens=-1)},
    ]
    made = client.messages.batches.create(requests=requests)
    done = ended_batch(client, made.id)
    results: dict[str, Any] = {line.custom_id: line.result for line in client.messages.batches.results(made.id)}
    other = client.messages.batches.create(requests=requests[:1])
    listed = [batch.id for batch in client.messages.batches.list(limit=1)]
    canceled = failure(lambda: client.messages.batches.cancel(other.id))
    ended_batch(client, other.id)
    deleted = [client.messages.batches.delete(batch).type for batch in (made.id, other.id)]
    return {
        "made": [made.type, made.processing_status, made.request_counts.processing],
        "hours": (made.expires_at - made.created_at).total_seconds() / 3_600,
        "done": [done.processing_status, done.request_counts.succeeded, done.request_counts.errored],
        "types": [results[name].type for name in ("hello", "dies", "wrong")],
        "answer": answer(results["hello"].message),
        "errors": [results[name].error.error.type for name in ("dies", "wrong")],
        "newest_first": listed.index(other.id) < listed.index(made.id),
        "canceled": canceled["status"] if canceled["class"] else 200,
        "deleted": deleted,
        "gone": failure(lambda: client.messages.batches.retrieve(made.id)),
    }


def ended_batch(client: anthropic.Anthropic, batch_id: str) -> Any:
    """Ask until a batch has ended, for at most half a minute."""
    for _ in range(300):
        batch = client.messages.batches.retrieve(batch_id)
        if batch.processing_status == "ended":
            return batch
        time.sleep(0.1)
    raise TimeoutError(batch_id)


def connect(url: str, key: str = "dummy", retries: int = 0) -> anthropic.Anthropic:
    """Return a client that does not wait long."""
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=retries, timeout=60)


def any_model(base_url: str) -> dict[str, Any]:
    """Play the parts that need no script."""
    client = connect(base_url)
    return {
        "create": create(client),
        "stream_events": stream_events(client),
        "parsed": parsed(client),
        "count": count(client),
        "models": models(client),
        "files": files(client),
        "bad_request": failure(lambda: client.messages.create(**ask("say hello", max_tokens=-1))),
    }


def all_parts(base_url: str, guarded_url: str) -> dict[str, Any]:
    """Play everything; the engine behind `base_url` knows the cues."""
    client = connect(base_url)

    def failing(text: str, **more: Any) -> dict[str, Any]:
        return failure(lambda: client.messages.create(**ask(text, **more)))

    return {
        **any_model(base_url),
        "stream_helper": stream_helper(client),
        "tool_loop": tool_loop(client),
        "tool_runner": tool_runner(client, stream=False),
        "streaming_tool_runner": tool_runner(client, stream=True),
        "with_key": create(connect(guarded_url, key="right")),
        "retried": retried(connect(base_url, retries=2)),
        "too_long": failing("long " * 40_000),
        "unauthenticated": failure(lambda: create(connect(guarded_url, key="wrong"))),
        "forbidden": failing("say hello", extra_headers={"origin": "https://elsewhere.example"}),
        "unknown_model": failing("say hello", model="no-such-model"),
        "unknown_model_info": failure(lambda: client.models.retrieve("no-such-model")),
        "too_large": failing("x" * TOO_LARGE),
        "batches": batches(client),
        "engine_failed": failing("die at once"),
        "overloaded": failing("overloaded always"),
        "broken_stream": broken_stream(client),
    }


if __name__ == "__main__":
    play = all_parts if len(sys.argv) > 2 else any_model
    json.dump(play(*sys.argv[1:]), sys.stdout)
