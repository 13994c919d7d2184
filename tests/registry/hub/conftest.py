"""A hub of our own, a cache of our own, and models worth fetching."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from pensieve_registry import HubRef
from pensieve_registry.hub import Hub, HubStore, Patience, Plan, Pulled, PullEvent, Room, plan_pull, pull
from pensieve_registry.testing import LoopbackHub, chat_model, key

MakeModel = Callable[..., bytes]


def _model(size_kib: int = 256, *, seed: int = 0, shard: tuple[int, int] | None = None) -> bytes:
    """Return a sound GGUF file of weights that never repeat, so that a byte in the wrong place shows."""
    draft = chat_model(shapes={f"blk.{seed}.weight": (256, size_kib)})
    if shard is not None:
        places = (key("split.no", shard[0] - 1), key("split.count", shard[1]))
        draft = attrs.evolve(draft, keys=(*draft.keys, *places))
    return attrs.evolve(draft, data=random.Random(seed).randbytes(len(draft.data))).encode()


@pytest.fixture
def make_model() -> MakeModel:
    return _model


@attrs.frozen(kw_only=True)
class World:
    """A hub, a cache, and what was told."""

    server: LoopbackHub
    hub: Hub
    store: HubStore
    events: list[PullEvent]
    patience: Patience

    def plan(self, ref: HubRef, *, room: Room | None = None, pinned: str | None = None) -> Plan:
        return plan_pull(self.hub, self.store, ref, room=room, pinned=pinned, patience=self.patience)

    def pull(self, ref: HubRef) -> Pulled:
        return pull(self.plan(ref), self.hub, self.store, on_event=self.events.append, patience=self.patience)

    def final_names(self) -> list[Path]:
        """Return everything that a program would take for a model."""
        return sorted(self.store.folder.glob("models--*/snapshots/*/**/*.gguf"))

    def blobs(self) -> list[Path]:
        return [path for path in self.store.folder.glob("models--*/blobs/*") if path.suffix != ".incomplete"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    """Serve nothing yet; nobody is logged in."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with LoopbackHub() as running:
        yield running


@pytest.fixture
def world(server: LoopbackHub, tmp_path: Path) -> World:
    return World(
        server=server,
        hub=Hub(endpoint=server.url, patience_s=5.0),
        store=HubStore(tmp_path / "hub"),
        events=[],
        patience=Patience(pauses_s=(0.0, 0.0, 0.0)),
    )
