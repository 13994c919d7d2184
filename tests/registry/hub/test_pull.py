"""A model from the hub: what comes, where it lies, and who else sees it."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from pensieve_registry import HubFile, HubRef, HuggingFaceCacheSource, LocalCatalog, UnsafeFileNameError
from pensieve_registry.hub import (
    Advanced,
    Hub,
    NoSuchQuantizationError,
    NotAtHubError,
    Planned,
    PullError,
    Verified,
    plan_pull,
    pull,
)
from pensieve_registry.testing import Fault, chat_model

REF = HubRef(owner="owner", name="Model-GGUF")


def test_a_model_is_fetched_checked_and_found_by_the_catalog(world: Any, make_model: Any) -> None:
    content = make_model()
    commit = world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": content, "README.md": b"hello"})
    pulled = world.pull(REF)
    assert pulled.path.read_bytes() == content
    assert (pulled.commit, pulled.quantization, pulled.fetched_bytes) == (commit, "Q4_K_M", len(content))
    catalog = LocalCatalog([HuggingFaceCacheSource(world.store.folder)])
    assert catalog.resolve("model-q4_k_m").path == pulled.path
    assert world.server.served == {"model-Q4_K_M.gguf": len(content)}


def test_events_tell_the_plan_then_the_way_then_the_hash(world: Any, make_model: Any) -> None:
    content = make_model()
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": content})
    world.pull(REF)
    planned, *way, verified = world.events
    assert isinstance(planned, Planned)
    assert planned.total_bytes == len(content)
    assert [step.done_bytes for step in way] == sorted(step.done_bytes for step in way)
    assert way[-1] == Advanced(done_bytes=len(content), total_bytes=len(content), fetched_bytes=len(content))
    assert verified == Verified(file="model-Q4_K_M.gguf", sha256=hashlib.sha256(content).hexdigest())


def test_the_cache_is_as_the_hubs_own_library_writes_and_reads_it(world: Any, make_model: Any, tmp_path: Path) -> None:
    """Both ways: theirs fetches from our hub, which holds it to the API, and finds what we fetched without asking."""
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": make_model()})
    theirs = Path(
        huggingface_hub.hf_hub_download(
            "owner/Model-GGUF", "model-Q4_K_M.gguf", cache_dir=tmp_path / "theirs", endpoint=world.server.url
        )
    )
    ours = world.pull(REF).path
    assert ours.relative_to(world.store.folder) == theirs.relative_to(tmp_path / "theirs")
    assert ours.readlink() == theirs.readlink()
    found = huggingface_hub.hf_hub_download(
        "owner/Model-GGUF", "model-Q4_K_M.gguf", cache_dir=world.store.folder, local_files_only=True
    )
    assert Path(found) == ours
    report = huggingface_hub.scan_cache_dir(world.store.folder)
    assert [(repo.repo_id, repo.nb_files) for repo in report.repos] == [("owner/Model-GGUF", 1)]
    assert report.warnings == []


def test_a_revision_that_cannot_be_written_leaves_nothing_beside_it(world: Any, make_model: Any) -> None:
    """Ours: huggingface_hub takes every file in `refs` for a revision, and a half-written one for damage."""
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": make_model()})
    refs = world.store.folder / "models--owner--Model-GGUF" / "refs"
    (refs / "main").mkdir(parents=True)
    with pytest.raises(PullError):
        world.pull(REF)
    assert [path.name for path in refs.iterdir()] == ["main"]
    assert list(refs.parent.glob(".new-*")) == []


def test_a_listener_that_has_left_is_no_fault_of_the_disk(world: Any, make_model: Any) -> None:
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": make_model()})

    def left(_: object) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        pull(world.plan(REF), world.hub, world.store, on_event=left, patience=world.patience)


def test_what_is_here_is_checked_and_not_fetched_again(world: Any, make_model: Any) -> None:
    content = make_model()
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": content})
    world.pull(REF)
    again = world.pull(REF)
    assert again.fetched_bytes == 0
    assert world.server.served.total() == len(content)


def test_a_file_that_somebody_else_spoiled_is_fetched_again(world: Any, make_model: Any) -> None:
    """Their library checks the length of what it fetches, and no hash."""
    content = make_model()
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": content})
    path = world.pull(REF).path
    path.resolve().write_bytes(bytes(len(content)))
    assert world.pull(REF).path.read_bytes() == content


def test_shards_and_the_projector_come_along(world: Any, make_model: Any) -> None:
    shards = {f"Q8_0/m-Q8_0-0000{i}-of-00003.gguf": make_model(64, seed=i, shard=(i, 3)) for i in (1, 2, 3)}
    projector = chat_model({"general.architecture": "clip", "general.type": "mmproj"}).encode()
    world.server.add(
        "owner/Model-GGUF",
        {**shards, "mmproj-F16.gguf": projector, "mmproj-F32.gguf": projector + b"x", "m-Q4_0.gguf": make_model()},
    )
    pulled = world.pull(HubRef(owner="owner", name="Model-GGUF", quantization="Q8_0"))
    assert pulled.path.name == "m-Q8_0-00001-of-00003.gguf"
    assert pulled.projector is not None
    assert pulled.projector.read_bytes() == projector
    assert sorted(pulled.files) == ["Q8_0/m-Q8_0-00001-of-00003.gguf", *sorted(shards)[1:], "mmproj-F16.gguf"]
    assert set(world.server.served) == {*shards, "mmproj-F16.gguf"}


def test_a_revision_is_fetched_as_such_and_the_branch_is_noted(world: Any, make_model: Any) -> None:
    commit = world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": make_model()})
    pinned = world.pull(HubRef(owner="owner", name="Model-GGUF", revision=commit))
    refs = world.store.folder / "models--owner--Model-GGUF" / "refs"
    assert not refs.exists()
    assert world.pull(REF).path == pinned.path
    assert (refs / "main").read_text() == commit


def test_a_file_that_git_itself_holds_is_checked_by_gits_hash(world: Any, make_model: Any) -> None:
    content = make_model(8)
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": content}, in_git=True)
    assert world.pull(REF).path.read_bytes() == content
    world.server.add("owner/Other", {"other.gguf": content}, in_git=True, oids={"other.gguf": "1" * 40})
    with pytest.raises(PullError, match="do not have the hash"):
        world.pull(HubRef(owner="owner", name="Other"))


def test_a_private_repository_needs_the_hubs_own_token(
    world: Any, make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": make_model()}, token="hf_secret")
    with pytest.raises(NotAtHubError, match="hf auth login") as refused:
        world.pull(REF)
    assert not refused.value.resumable
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert world.pull(REF).path.is_file()


def test_consent_that_is_missing_is_named(world: Any, make_model: Any) -> None:
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": make_model()}, gated=True)
    with pytest.raises(NotAtHubError, match="consent"):
        world.pull(REF)


@pytest.mark.parametrize(
    "ref", [HubRef(owner="owner", name="Nothing"), HubRef(owner="owner", name="Model-GGUF", revision="v9")]
)
def test_what_the_hub_does_not_have_is_said_at_once(world: Any, make_model: Any, ref: HubRef) -> None:
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": make_model()})
    with pytest.raises(NotAtHubError):
        world.plan(ref)
    assert len(world.server.requests) == 1


def test_a_repository_without_models_says_so(world: Any) -> None:
    world.server.add("owner/Model-GGUF", {"README.md": b"", "model.safetensors": b""})
    with pytest.raises(NoSuchQuantizationError, match="holds no GGUF model"):
        world.plan(REF)


def test_a_busy_hub_is_asked_again_and_in_the_end_given_up(world: Any, make_model: Any) -> None:
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": make_model()})
    world.server.upset("owner/Model-GGUF", Fault(status=503), Fault(status=429))
    assert world.plan(REF).total_bytes
    world.server.upset("owner/Model-GGUF", *itertools.repeat(Fault(status=500), 4))
    with pytest.raises(PullError, match="answers 500") as gone:
        world.plan(REF)
    assert gone.value.resumable


def test_offline_what_is_here_is_used_and_the_rest_refused_without_a_request(world: Any, make_model: Any) -> None:
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": make_model()})
    path = world.pull(REF).path
    asked = len(world.server.requests)
    offline = Hub(endpoint=world.server.url, offline=True)
    plan = plan_pull(offline, world.store, REF)
    assert pull(plan, offline, world.store, on_event=world.events.append).path == path
    with pytest.raises(PullError, match="offline"):
        plan_pull(offline, world.store, HubRef(owner="owner", name="Other"))
    assert len(world.server.requests) == asked


@pytest.mark.parametrize(
    "name",
    ["../../../evil.gguf", "/etc/evil.gguf", "a/../evil.gguf", "..\\evil.gguf", "a\x00.gguf", "a\n.gguf", ".evil.gguf"],
)
def test_a_hostile_file_name_ends_the_pull_before_anything_is_written(world: Any, make_model: Any, name: str) -> None:
    world.server.add("owner/Model-GGUF", {name: make_model(1), "model-Q4_K_M.gguf": make_model(1)})
    with pytest.raises(UnsafeFileNameError):
        world.pull(REF)
    assert not world.store.folder.exists()


def test_a_file_is_asked_for_by_name_when_a_quantisation_is_ambiguous(world: Any, make_model: Any) -> None:
    world.server.add("owner/Model-GGUF", {"small-Q4_0.gguf": make_model(8), "large-Q4_0.gguf": make_model(16)})
    with pytest.raises(NoSuchQuantizationError) as ambiguous:
        world.plan(HubRef(owner="owner", name="Model-GGUF", quantization="Q4_0"))
    assert ambiguous.value.choices == ("small-Q4_0.gguf", "large-Q4_0.gguf")
    plan = world.plan(HubRef(owner="owner", name="Model-GGUF", file=HubFile("large-Q4_0.gguf")))
    assert [file.name for file in plan.files] == ["large-Q4_0.gguf"]


def test_a_catalogs_hash_must_be_the_hubs(world: Any, make_model: Any) -> None:
    content = make_model()
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": content})
    assert world.plan(REF, pinned=hashlib.sha256(content).hexdigest())
    with pytest.raises(PullError, match="not the file that the catalog knows"):
        world.plan(REF, pinned="0" * 64)


def test_what_is_whole_and_no_model_gets_no_name_and_is_removed(world: Any) -> None:
    world.server.add("owner/Model-GGUF", {"model-Q4_K_M.gguf": b"GGUF and nothing else"})
    with pytest.raises(PullError, match="no model that can be run"):
        world.pull(REF)
    assert world.final_names() == world.blobs() == []


def test_shards_that_do_not_belong_together_get_no_name(world: Any, make_model: Any) -> None:
    shards = {f"m-Q8_0-0000{i}-of-00002.gguf": make_model(8, seed=1, shard=(i, 2)) for i in (1, 2)}
    world.server.add("owner/Model-GGUF", shards)
    with pytest.raises(PullError, match="same name"):
        world.pull(REF)
    assert world.final_names() == []
