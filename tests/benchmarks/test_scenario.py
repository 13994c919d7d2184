from __future__ import annotations

from pathlib import Path

import pytest
from scenario import Bench
from servers import Server


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(model=Path("m.gguf"), llama_server=Path("/opt/llama-server"), folder=tmp_path, threads=3)


def test_both_servers_get_the_same_model_threads_and_context(bench: Bench) -> None:
    ours, theirs = bench.ours("--parallel", "2", context=4096), bench.theirs("-np", "2", context=4096)
    assert ours.command[1:3] == ("--model", "m.gguf")
    assert theirs.command[:3] == ("/opt/llama-server", "-m", "m.gguf")
    for server, threads, context in ((ours, "--threads", "--ctx"), (theirs, "-t", "-c")):
        options = dict(zip(server.command[1::2], server.command[2::2], strict=False))
        assert (options[threads], options[context]) == ("3", "4096")
        assert str(server.port) in server.url
        assert server.command[-1] == "2"


def test_servers_with_one_home_share_what_is_on_disk_and_others_do_not(bench: Bench, tmp_path: Path) -> None:
    def cache(server: Server) -> str:
        return server.variables["XDG_CACHE_HOME"]

    one, same, other = bench.ours(context=1), bench.ours(context=1), bench.ours(context=1, home="other")
    assert cache(one) == cache(same) != cache(other)
    assert cache(one).startswith(str(tmp_path))  # and not the user's own


def test_a_server_that_ends_early_is_told_with_its_last_words(bench: Bench) -> None:
    broken = Server(name="broken", command=("sh", "-c", "echo no such model; exit 3"), port=1, ready_path="/")
    with pytest.raises(RuntimeError, match="no such model"), bench.up(broken):
        pass
