"""Ours: whatever is saved, replaced, cleared, damaged and restarted, nobody gets a state of other tokens than his.

The machine below plays several processes over one folder, and compares with a dict: identity and tokens → state.
"""

from __future__ import annotations

import shutil
import tempfile
from array import array
from pathlib import Path

import attrs
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pensieve_gguf.anchors import AnchorIdentity, AnchorKind, AnchorStore, Limits, Saved

IDENTITY = AnchorIdentity(
    model="m0", build="b", state_version=2, key_type="f16", value_type="f16", flash_attention=True
)
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # to wait for disks is not what is tested here
MODELS = st.sampled_from(["m0", "m1"])
PROMPTS = st.lists(st.integers(0, 1), min_size=1, max_size=6).map(tuple)
KINDS = st.sampled_from(list(AnchorKind))
CONVERSATIONS = st.sampled_from(["", "mine", "theirs"])


@attrs.frozen
class Kept:
    """What the model of a store remembers of one prefix."""

    content: int
    kind: AnchorKind
    conversation: str


class StoreMachine(RuleBasedStateMachine):
    """Invariant: with room for all, the store finds exactly what the dict holds; with less, nothing else."""

    @initialize(roomy=st.booleans())
    def start(self, *, roomy: bool) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="anchors-", dir=IN_MEMORY))
        self.folder = self.home / "anchors"
        self.roomy = roomy
        self.now = 1_000.0
        self.contents = 0
        self.kept: dict[tuple[str, tuple[int, ...]], Kept] = {}
        self.ever: dict[tuple[str, tuple[int, ...]], set[int]] = {}
        self.stores = {model: self._open(model) for model in ("m0", "m1")}

    def teardown(self) -> None:
        for store in getattr(self, "stores", {}).values():
            store.close()
        if hasattr(self, "home"):
            shutil.rmtree(self.home)

    def _open(self, model: str) -> AnchorStore:
        limits = Limits(budget_bytes=10**9 if self.roomy else 4_000, reserve_bytes=0, near_tokens=0)
        identity = attrs.evolve(IDENTITY, model=model)
        store = AnchorStore.open(self.folder, identity, limits=limits, clock=lambda: self.now)
        assert store is not None
        return store

    @rule(model=MODELS, prompt=PROMPTS, kind=KINDS, conversation=CONVERSATIONS)
    def save(self, model: str, prompt: tuple[int, ...], kind: AnchorKind, conversation: str) -> None:
        self.contents += 1
        state = np.frombuffer(self.contents.to_bytes(4, "little") * 250, np.uint8)
        wanted = self.stores[model].wants(array("i", prompt), len(state), kind=kind, conversation=conversation)
        saved = self.stores[model].save(array("i", prompt), state, kind=kind, conversation=conversation)
        assert wanted == (saved is Saved.SAVED)
        before = self.kept.get((model, prompt))
        if self.roomy:
            assert (saved is Saved.KNOWN) == (before is not None and before.kind <= kind)
        if saved is not Saved.SAVED:
            return
        self.ever.setdefault((model, prompt), set()).add(self.contents)
        self.kept[model, prompt] = Kept(self.contents, kind, conversation)
        if kind is AnchorKind.TURN:
            self._replace(model, prompt, conversation)

    def _replace(self, model: str, prompt: tuple[int, ...], conversation: str) -> None:
        for length in range(1, len(prompt)):
            older = self.kept.get((model, prompt[:length]))
            if older is not None and older.kind is AnchorKind.TURN and older.conversation == conversation:
                del self.kept[model, prompt[:length]]

    @rule(model=MODELS, prompt=PROMPTS)
    def load(self, model: str, prompt: tuple[int, ...]) -> None:
        tokens = array("i", prompt)
        anchor = self.stores[model].longest(tokens)
        expected = [n for n in range(1, len(prompt) + 1) if (model, prompt[:n]) in self.kept]
        if self.roomy:
            assert (anchor.length if anchor else 0) == max(expected, default=0)
        if anchor is None:
            return
        state = self.stores[model].load(anchor, tokens)
        assert state is not None
        (content,) = set(np.frombuffer(state.tobytes(), "<u4").tolist())
        assert content in self.ever[model, prompt[: anchor.length]]
        if self.roomy:
            assert content == self.kept[model, prompt[: anchor.length]].content

    @rule(model=MODELS)
    def restart(self, model: str) -> None:
        self.stores[model].close()
        self.stores[model] = self._open(model)

    @rule()
    def lose_the_index(self) -> None:
        for store in self.stores.values():
            store.close()
        for index in self.folder.glob("index-*"):
            index.unlink()
        self.stores = {model: self._open(model) for model in self.stores}

    @rule(seconds=st.floats(-100, 10_000))
    def wait(self, seconds: float) -> None:
        self.now = max(0.0, self.now + seconds)

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def tear_a_file(self, data: st.DataObject) -> None:
        files = sorted(self.folder.glob("*.anchor"))
        if not files:
            return
        file = data.draw(st.sampled_from(files))
        content = bytearray(file.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        file.write_bytes(content)
        for store in self.stores.values():
            store.close()
        self.stores = {model: self._open(model) for model in self.stores}
        self._drop_what_cannot_be_loaded()

    def _drop_what_cannot_be_loaded(self) -> None:
        for model, prompt in list(self.kept):
            tokens = array("i", prompt)
            anchor = self.stores[model].longest(tokens, at_least=len(prompt))
            if anchor is None or self.stores[model].load(anchor, tokens) is None:
                del self.kept[model, prompt]

    @invariant()
    def the_budget_holds(self) -> None:
        if hasattr(self, "roomy") and not self.roomy:
            assert sum(file.stat().st_size for file in self.folder.glob("*.anchor")) <= 4_000


StoreMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30)
TestStore = StoreMachine.TestCase
