from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.redaction import MASK, redact

_SECRET = "sk-ant-api03-QUIETLY"
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def _redacted(**record: Any) -> dict[str, Any]:
    return dict(redact(None, "info", record))


@pytest.mark.parametrize(
    "name",
    ["api_key", "x-api-key", "apikey", "API_KEYS", "authorization", "Authorization", "proxy-authorization", "token",
     "auth_token", "hf_token", "password", "client_secret", "cookie", "set-cookie", "aws_credentials"],
)  # fmt: skip
def test_text_under_a_secret_name_is_masked(name: str) -> None:
    assert _redacted(**{name: "hunter2"}) == {name: MASK}
    assert _redacted(headers={name: ["hunter2", b"hunter2"]}) == {"headers": {name: [MASK, MASK]}}


def test_counters_of_tokens_are_no_secrets() -> None:
    """Ours: `output_tokens` must survive, and so must `seconds_per_token`."""
    record = {"output_tokens": 12, "tokens": 3, "token": 5, "seconds_per_token": 0.1, "max_tokens": None, "ok": True}
    assert _redacted(**record) == record
    assert _redacted(tokens="12 of 15", tokenizer="bpe") == {"tokens": "12 of 15", "tokenizer": "bpe"}


@pytest.mark.parametrize(
    "text",
    [
        f"key {_SECRET} was refused",
        f"Authorization: Bearer {_SECRET}",
        "authorization: bearer abc.def-ghi",
        "x-api-key: whatever-it-is",
        "Basic dXNlcjpwYXNzd29yZA==",
        "pulled with hf_abcdefghijklmnopqrstuv",
    ],
)
def test_what_looks_like_a_key_is_masked_wherever_it_stands(text: str) -> None:
    masked = _redacted(event=text)["event"]
    assert MASK in masked
    for piece in (_SECRET, "abc.def-ghi", "whatever-it-is", "dXNlcjpwYXNzd29yZA", "hf_abcdefghij"):
        assert piece not in masked


def test_words_around_a_key_stay() -> None:
    assert _redacted(event=f"key {_SECRET} was refused") == {"event": f"key {MASK} was refused"}
    assert _redacted(event="task-queue risk-free disk-cache") == {"event": "task-queue risk-free disk-cache"}


@given(before=st.text(max_size=5), value=_JSON, path=st.lists(st.text(max_size=5), max_size=12))
def test_no_key_comes_through_however_deep_it_lies(before: str, value: Any, path: list[str]) -> None:
    nested: Any = [value, f"{before} {_SECRET}"]
    for name in path:
        nested = {name: nested}
    assert _SECRET not in json.dumps(_redacted(event="e", deep=nested))
