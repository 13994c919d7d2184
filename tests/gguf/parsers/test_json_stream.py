"""The JSON repairer: legal input comes through as it is, everything else comes out legal."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.parsers import JsonStream


def repair(text: str) -> str:
    stream = JsonStream()
    stream.feed(text)
    stream.close()
    return stream.take()


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ('{"a": 1, "b": [true, null, -1.5e3]}', '{"a":1,"b":[true,null,-1.5e3]}'),
        ("{}", "{}"),
        ("[]", "[]"),
        ('"x"', '"x"'),
        ('{"a": "\\u00e9\\ud83d\\ude00\\n\\/"}', '{"a":"é😀\\n/"}'),
        # Repaired.
        ('{"a": "\\ud83d"}', '{"a":"\ufffd"}'),
        ('{"a": "\\ud83d\\ud83d\\ude00"}', '{"a":"\ufffd😀"}'),
        ('{"a": "\\ude00x"}', '{"a":"\ufffdx"}'),
        ('{"a": "x\n\ty\x01"}', '{"a":"x\\n\\ty\\u0001"}'),
        ('{"a": "C:\\Users\\\\u\\u00"}', '{"a":"C:\\\\Users\\\\u\\\\u00"}'),
        ('{"a": "a\\\nb"}', '{"a":"a\\\\\\nb"}'),
        ("{'a': 'b\"c'}", '{"a":"b\\"c"}'),
        ('{"a": "it\\\'s"}', '{"a":"it\'s"}'),
        ("{'a': 'it's'}", '{"a":"it\'s"}'),
        ("{a: b, _c-d.e : `x`}", '{"a":"b","_c-d.e":"x"}'),
        ('{"a": True, "b": ls -la}', '{"a":"True","b":"ls -la"}'),
        ('{"a": 12 , "b": 01}', '{"a":12,"b":"01"}'),
        ('{"a": NaN}', '{"a":"NaN"}'),
        ("[1, 2,]", "[1,2]"),
        ("[,1,,2]", "[1,2]"),
        ('{,"a": 1,,"b": 2,}', '{"a":1,"b":2}'),
        ('{"a":, "b":}', "{}"),
        ('{"a": 1, "b":, "c": 2}', '{"a":1,"c":2}'),
        ('{"a": 1 "b": [] "c": 2}', '{"a":1,"b":[],"c":2}'),
        ('{"a": [1, {"b": 2}', '{"a":[1,{"b":2}]}'),
        ('{"a": [1, 2}', '{"a":[1,2]}'),
        ('{"a": "say "hi", then', '{"a":"say \\"hi"}'),
        ('{"a": "x" ', '{"a":"x"}'),
        ('{"a": "x\\', '{"a":"x"}'),
        ('{"a": "x\\u00', '{"a":"x"}'),
        ('{"a": "x\\ud83d', '{"a":"x\ufffd"}'),
        ('{"a": 1, "b', '{"a":1}'),
        ('{"a": 12', '{"a":12}'),
        ('{"a": tru', '{"a":"tru"}'),
        ('{"a":', "{}"),
        ("", ""),
    ],
)
def test_it_becomes_legal(text: str, legal: str) -> None:
    assert repair(text) == legal
    assert not legal or json.loads(legal) is not NotImplemented


@pytest.mark.parametrize(
    ("text", "legal", "unread"),
    [
        ('{"a": 1} rest', '{"a":1}', " rest"),
        ('"x", rest', '"x"', ", rest"),
        ("12]", "12", "]"),
        ('{"a": 1]', '{"a":1}', "]"),
        ('{"a": 1 <', '{"a":1}', "<"),
        ('{"a": "x"\n</tool_call> y', '{"a":"x"}', "</tool_call> y"),
        ('{"a": "x" </b> y"}', '{"a":"x\\" </b> y"}', ""),
        ('{"a": 1, "b" 2}', '{"a":1}', ""),
        ('{"a": 1, "b"</tool_call>', '{"a":1}', '"b"</tool_call>'),
        ('{"a": 1, b?', '{"a":1}', "b?"),
        ('{"a": 1, ?', '{"a":1}', "?"),
        ('{"a": ?', "{}", '"a":?'),
        ("{[", "{}", "["),
        ("<", "", "<"),
    ],
)
def test_it_ends_where_nothing_can_be_made_of_the_text(text: str, legal: str, unread: str) -> None:
    stream = JsonStream()
    stream.feed(text)
    stream.close()
    assert (stream.take(), stream.unread) == (legal, unread)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
containers = st.lists(json_values) | st.dictionaries(st.text(), json_values)


@given(value=containers, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_legal_json_keeps_its_meaning(value: object, *, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    stream = JsonStream()
    stream.feed(text)
    assert (stream.finished, stream.irregular, stream.unread) == (True, False, "")
    assert json.loads(stream.take()) == value


@given(containers, st.data())
def test_json_cut_anywhere_is_completed(value: object, data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = data.draw(st.integers(1, len(text)))
    completed = orjson.loads(repair(text[:cut]))
    assert isinstance(completed, type(value))
    assert cut < len(text) or completed == value


@given(st.text(alphabet="{}[]\"'`:,\\u0d8ace \n<t/1-", max_size=40))
def test_any_text_after_a_bracket_becomes_legal(text: str) -> None:
    assert isinstance(orjson.loads(repair(f"{{{text}")), dict)
    assert isinstance(orjson.loads(repair(f"[{text}")), list)


@given(st.text(alphabet="{}[]\"'`:,\\u0d8ace \n<t/1-", max_size=40), st.data())
def test_what_was_let_out_stays_right(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    stream = JsonStream()
    stream.feed(f"{{{text[:cut]}")
    first = stream.take()
    stream.feed(text[cut:])
    stream.close()
    assert first + stream.take() == repair(f"{{{text}")


def test_string_contents_flow_freely_and_keys_wait_for_their_value() -> None:
    stream = JsonStream()
    released = []
    for piece in ('{"a', '": ', '"xy', 'z"', ", ", '"b": ', "1", "2}"):
        stream.feed(piece)
        released.append(stream.take())
    assert released == ["{", "", '"a":"xy', "z", '"', "", ',"b":', "12}"]


def test_closing_twice_changes_nothing() -> None:
    stream = JsonStream()
    stream.feed('{"a": 1')
    stream.close()
    stream.close()
    assert stream.take() == '{"a":1}'
