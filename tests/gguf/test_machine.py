from __future__ import annotations

import json

import pytest

from pensieve_gguf.machine import features_of, main, used_features


def test_what_is_used_is_read_off_llama_cpps_own_line() -> None:
    assert used_features("CPU : AVX2 = 1 | AVX512 = 0 | FMA = 1 | ") == ("AVX2", "FMA")


def test_what_could_be_used_has_llama_cpps_names() -> None:
    assert features_of(["sse", "avx2", "avx512f", "asimddp"]) == ("AVX2", "AVX512", "DOTPROD")


def test_this_machine_is_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    told = json.loads(capsys.readouterr().out)
    assert told["engine"].startswith("llama.cpp")
    assert isinstance(told["used"], list)
    assert len(told["gpus"]) == len(told["gpu_bytes"]) == len(told["gpu_free_bytes"])
