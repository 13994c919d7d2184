"""What can go wrong on the way: always the right model or a clear error, never a wrong one under its final name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pensieve_registry import HubRef
from pensieve_registry.hub import Advanced, HubStore, PullError, PullStoppedError, Retrying, Waiting, plan_pull, pull
from pensieve_registry.testing import Fault, Gate

REF = HubRef(owner="owner", name="Model-GGUF")
NAME = "model-Q4_K_M.gguf"
BOUND_S = 30.0

CHILD = """
import sys
from pathlib import Path
from pensieve_registry import HubRef
from pensieve_registry.hub import Hub, HubStore, plan_pull, pull
hub, store = Hub(endpoint=sys.argv[1]), HubStore(Path(sys.argv[2]))
plan = plan_pull(hub, store, HubRef(owner="owner", name="Model-GGUF"))
print(pull(plan, hub, store, on_event=lambda event: None).path, flush=True)
"""


@pytest.fixture
def content(world: Any, make_model: Any) -> bytes:
    """A model of 256 KiB at the hub."""
    made: bytes = make_model()
    world.server.add("owner/Model-GGUF", {NAME: made})
    return made


def _child(world: Any) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CHILD, world.server.url, str(world.store.folder)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("ninths", range(10))
def test_a_pull_stopped_anywhere_goes_on_where_it_was(world: Any, content: bytes, ninths: int) -> None:
    """Ten points, the first before any byte and the last after all of them."""
    at, stop = ninths * len(content) // 9, threading.Event()

    def on_event(event: object) -> None:
        if isinstance(event, Advanced) and event.done_bytes >= at:
            stop.set()

    if at == 0:
        stop.set()
    plan = world.plan(REF)
    with contextlib.suppress(PullStoppedError):
        pull(plan, world.hub, world.store, on_event=on_event, stop=stop)
    kept = sum(path.stat().st_size for path in world.store.folder.glob("models--*/blobs/*"))
    assert kept >= at
    assert kept == len(content) or world.final_names() == world.blobs() == []
    pulled = world.pull(REF)
    assert pulled.path.read_bytes() == content
    assert pulled.fetched_bytes == len(content) - kept


@pytest.mark.parametrize("tenths", range(10))
def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_with(
    world: Any, content: bytes, tenths: int
) -> None:
    """kill -9: nothing is tidied up, and no note was taken."""
    gate, at = Gate(), max(1, tenths * len(content) // 10)
    world.server.upset(NAME, Fault(cut_after=at, gate=gate))
    with _child(world) as child:
        assert gate.reached.wait(BOUND_S)
        child.kill()
        assert child.wait(BOUND_S) == -signal.SIGKILL
        gate.opened.set()
    assert world.final_names() == world.blobs() == []
    kept = sum(path.stat().st_size for path in world.store.folder.glob("models--*/blobs/*.incomplete"))
    pulled = world.pull(REF)
    assert pulled.path.read_bytes() == content
    assert pulled.fetched_bytes == len(content) - kept


def test_ctrl_c_ends_a_pull_in_order_and_the_next_one_goes_on(world: Any, content: bytes) -> None:
    gate = Gate()
    world.server.upset(NAME, Fault(cut_after=len(content) // 2, gate=gate))
    with _child(world) as child:
        assert gate.reached.wait(BOUND_S)
        child.send_signal(signal.SIGINT)
        gate.opened.set()
        _, errors = child.communicate(timeout=BOUND_S)
    assert "PullStoppedError" in errors
    assert world.final_names() == []
    assert world.pull(REF).path.read_bytes() == content


def test_a_connection_that_breaks_is_taken_up_where_it_broke(world: Any, content: bytes) -> None:
    thirds = len(content) // 3
    world.server.upset(NAME, Fault(cut_after=thirds), Fault(cut_after=2 * thirds))
    assert world.pull(REF).path.read_bytes() == content
    assert world.server.served[NAME] == len(content)
    assert len([event for event in world.events if isinstance(event, Retrying)]) == 2


def test_a_body_that_is_short_and_looks_whole_is_taken_up_too(world: Any, content: bytes) -> None:
    world.server.upset(NAME, Fault(cut_after=1000, silent_cut=True))
    assert world.pull(REF).path.read_bytes() == content
    assert world.server.served[NAME] == len(content)


def test_errors_of_the_server_are_waited_out(world: Any, content: bytes) -> None:
    world.server.upset(NAME, Fault(status=500), Fault(status=503, headers=(("Retry-After", "0"),)), Fault(status=429))
    assert world.pull(REF).path.read_bytes() == content


def test_a_server_that_stays_broken_is_given_up_and_what_came_is_kept(world: Any, content: bytes) -> None:
    world.server.upset(NAME, Fault(cut_after=1000), *[Fault(status=500)] * 4)
    with pytest.raises(PullError, match="answers 500; tried 4 times") as given_up:
        world.pull(REF)
    assert given_up.value.resumable
    assert world.pull(REF).fetched_bytes == len(content) - 1000


def test_a_refusal_is_not_asked_again(world: Any, content: bytes) -> None:
    world.server.upset(NAME, Fault(status=403))
    with pytest.raises(PullError, match="answers 403"):
        world.pull(REF)
    assert len([path for _, path in world.server.requests if path.startswith("/content/")]) == 1


@pytest.mark.parametrize("at", [0, 100_000, -1])
def test_a_byte_that_is_wrong_is_noticed_and_the_next_pull_starts_clean(world: Any, content: bytes, at: int) -> None:
    world.server.upset(NAME, Fault(corrupt_at=at % len(content)))
    with pytest.raises(PullError, match="do not have the hash") as wrong:
        world.pull(REF)
    assert not wrong.value.resumable
    assert world.final_names() == world.blobs() == []
    assert world.pull(REF).path.read_bytes() == content


def test_a_wrong_byte_in_what_was_kept_costs_one_more_transfer_and_no_error(world: Any, content: bytes) -> None:
    world.server.upset(NAME, Fault(corrupt_at=10, cut_after=1000), *[Fault(status=500)] * 4)
    with pytest.raises(PullError):
        world.pull(REF)
    pulled = world.pull(REF)
    assert pulled.path.read_bytes() == content
    assert pulled.fetched_bytes == 2 * len(content) - 1000


def test_a_hub_that_tells_a_wrong_hash_gets_no_model_named(world: Any, make_model: Any) -> None:
    world.server.add("owner/Model-GGUF", {NAME: make_model()}, oids={NAME: hashlib.sha256(b"other").hexdigest()})
    with pytest.raises(PullError, match="do not have the hash"):
        world.pull(REF)
    assert world.final_names() == world.blobs() == []


@pytest.mark.parametrize("oid", ["", "../../x", "A" * 64, "0" * 41])
def test_a_hash_that_is_none_is_refused_before_it_names_a_file(world: Any, make_model: Any, oid: str) -> None:
    world.server.add("owner/Model-GGUF", {NAME: make_model(1)}, oids={NAME: oid})
    with pytest.raises(PullError, match="what its hash is"):
        world.plan(REF)


def test_a_server_that_ignores_ranges_or_sends_others_spoils_nothing(world: Any, content: bytes) -> None:
    world.server.upset(NAME, Fault(cut_after=1000), Fault(whole=True, cut_after=2000), Fault(shifted=7))
    assert world.pull(REF).path.read_bytes() == content


def test_more_than_was_promised_is_thrown_away(world: Any, content: bytes) -> None:
    world.server.upset(NAME, Fault(longer=b"and more"))
    with pytest.raises(PullError, match="more came"):
        world.pull(REF)
    assert world.final_names() == world.blobs() == []
    assert world.pull(REF).path.read_bytes() == content


def test_a_slow_link_is_no_broken_one(world: Any, content: bytes) -> None:
    world.server.upset(NAME, Fault(pause_s=0.02))
    assert world.pull(REF).path.read_bytes() == content
    assert not [event for event in world.events if isinstance(event, Retrying)]


def test_a_partial_file_that_is_too_long_or_whole_and_right_is_dealt_with(world: Any, content: bytes) -> None:
    plan = world.plan(REF)
    world.store.make(plan.repository.repository)
    partial = world.store.partial(plan.repository.repository, plan.files[0])
    partial.write_bytes(content + b"too long")
    assert world.pull(REF).path.read_bytes() == content
    world.store.blob(plan.repository.repository, plan.files[0]).rename(partial)
    assert world.pull(REF).fetched_bytes == 0


def test_two_pulls_at_once_fetch_once_and_both_have_the_model(world: Any, content: bytes) -> None:
    gate = Gate()
    world.server.upset(NAME, Fault(cut_after=1000, gate=gate))

    def on_event(event: object) -> None:
        if isinstance(event, Waiting):
            gate.opened.set()

    with _child(world) as child:
        assert gate.reached.wait(BOUND_S)
        plan = world.plan(REF)
        pulled = pull(plan, world.hub, world.store, on_event=on_event)
        printed, errors = child.communicate(timeout=BOUND_S)
    assert (printed.strip(), errors) == (str(pulled.path), "")
    assert pulled.path.read_bytes() == content
    assert world.server.served[NAME] == len(content)


def test_one_shard_that_fails_stops_the_others_and_names_nothing(world: Any, make_model: Any) -> None:
    shards = {f"m-Q8_0-0000{i}-of-00003.gguf": make_model(64, seed=i, shard=(i, 3)) for i in (1, 2, 3)}
    world.server.add("owner/Model-GGUF", shards)
    world.server.upset("m-Q8_0-00002-of-00003.gguf", Fault(status=403))
    with pytest.raises(PullError):
        world.pull(REF)
    assert world.final_names() == []
    pulled = world.pull(REF)
    assert [pulled.path.with_name(name).read_bytes() for name in sorted(shards)] == [shards[n] for n in sorted(shards)]


def test_room_is_looked_for_before_a_byte_is_fetched(world: Any, make_model: Any) -> None:
    class Full(HubStore):
        def free_bytes(self) -> int:
            return 1000

    world.server.add("owner/Model-GGUF", {NAME: make_model()})
    with pytest.raises(PullError, match="GB are free there"):
        plan_pull(world.hub, Full(world.store.folder), REF)
    assert not world.store.folder.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "pensieve-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs takes a right that this process does not have")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_ends_in_a_clear_error_and_goes_on_when_there_is_room(
    world: Any, make_model: Any, small_disk: Path
) -> None:
    class Optimist(HubStore):
        def free_bytes(self) -> int:
            return 10**12

    content = make_model(768)
    world.server.add("owner/Model-GGUF", {NAME: content})
    store = Optimist(small_disk / "hub")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(512 * 1024))
    with pytest.raises(PullError, match="the disk is full; what has come is kept") as full:
        pull(plan_pull(world.hub, store, REF), world.hub, store, on_event=world.events.append)
    assert full.value.resumable
    assert not list(store.folder.glob("models--*/snapshots/*/*.gguf"))
    kept = sum(path.stat().st_size for path in store.folder.glob("models--*/blobs/*.incomplete"))
    assert kept > 100_000
    ballast.unlink()
    pulled = pull(plan_pull(world.hub, store, REF), world.hub, store, on_event=world.events.append)
    assert pulled.path.read_bytes() == content
    assert pulled.fetched_bytes == len(content) - kept
