from __future__ import annotations

import io

import attrs
import pytest
from rich.text import Text

from pensieve_cli.banner import (
    Announcer,
    StartFacts,
    broken_lines,
    claude_code_command,
    listening_lines,
    ready_lines,
)
from pensieve_core import EngineDescription
from pensieve_inference.testing import make_descriptor

_FACTS = StartFacts(
    version="1.2.3",
    url="http://127.0.0.1:8000",
    only_this_machine=True,
    keys=0,
    model=attrs.evolve(make_descriptor("tiny"), quantization="Q4_1", size_bytes=98_000_000),
)
_DESCRIPTION = EngineDescription(
    model=make_descriptor("tiny"),
    engine="llama.cpp 0.3.36",
    context_tokens=8192,
    max_sequences=4,
    threads=1,
    gpu_layers=0,
    notes=("8,192 tokens: what the model was trained for [exactly]",),
)


def _plain(*lines: str) -> str:
    return "\n".join(Text.from_markup(line).plain for line in lines)


def test_the_banner_says_what_runs_where_and_how_to_use_it() -> None:
    text = _plain(*listening_lines(_FACTS))
    for fact in ("1.2.3", "http://127.0.0.1:8000", "tiny", "Q4_1", "98 MB", "memory", "this machine alone", "Ctrl-C"):
        assert fact in text
    assert claude_code_command(_FACTS) in text
    assert "more" not in text


def test_the_command_for_claude_code_can_be_pasted_into_a_shell() -> None:
    assert claude_code_command(_FACTS) == (
        "ANTHROPIC_BASE_URL=http://127.0.0.1:8000 ANTHROPIC_AUTH_TOKEN=none-needed ANTHROPIC_MODEL=tiny claude"
    )
    odd = attrs.evolve(_FACTS, model=make_descriptor("my model; rm"))
    assert "ANTHROPIC_MODEL='my model; rm' claude" in claude_code_command(odd)


def test_with_keys_a_place_for_the_key_is_shown_and_no_key() -> None:
    text = _plain(*listening_lines(attrs.evolve(_FACTS, keys=2)))
    assert "ANTHROPIC_AUTH_TOKEN='<your key>'" in text
    assert "with 2 keys" in text


def test_an_open_server_is_called_one() -> None:
    open_facts = attrs.evolve(_FACTS, only_this_machine=False)
    assert "from other machines too, without a key" in _plain(*listening_lines(open_facts))
    assert "from other machines too, with 1 key" in _plain(*listening_lines(attrs.evolve(open_facts, keys=1)))


def test_further_models_are_counted() -> None:
    assert "3 more" in _plain(*listening_lines(attrs.evolve(_FACTS, further_models=3)))


def test_a_ready_model_is_told_with_load_time_context_and_why() -> None:
    text = _plain(*ready_lines(_DESCRIPTION, 1.234))
    for fact in (
        "tiny in 1.2 s",
        "llama.cpp 0.3.36",
        "8,192 tokens",
        "4 requests",
        "1 thread,",
        "CPU alone",
        "[exactly]",
    ):
        assert fact in text
    assert "12 layers on the GPU" in _plain(*ready_lines(attrs.evolve(_DESCRIPTION, gpu_layers=12), 1.0))


def test_a_broken_model_is_told_with_the_last_words_of_its_engine() -> None:
    text = _plain(*broken_lines(make_descriptor("tiny"), "words " * 500 + "ended by GGML_ASSERT [x]"))
    assert "ended by GGML_ASSERT [x]" in text
    assert "/nowhere/tiny.gguf" in text
    assert len(text) < 700


def test_on_a_pipe_the_lines_are_plain_and_never_broken() -> None:
    stream = io.StringIO()
    Announcer(stream).say([f"[bold]{'x' * 300}[/bold]", "[dim]y[/dim]"])
    assert stream.getvalue() == f"{'x' * 300}\ny\n"


def test_a_reader_who_leaves_does_not_end_the_server() -> None:
    tried: list[str] = []

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            tried.append(text)
            raise BrokenPipeError

    announcer = Announcer(Gone())
    announcer.say(["one"])
    announcer.say(["two"])
    assert tried


@pytest.mark.parametrize("lines", [list(listening_lines(_FACTS)), list(ready_lines(_DESCRIPTION, 1.0))])
def test_markup_is_sound(lines: list[str]) -> None:
    assert all(Text.from_markup(line).plain for line in lines)
