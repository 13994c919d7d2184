"""Saves many anchors, some of them those of its twin, as fast as it can. Started by test_two_processes.py.

python busy_writer.py FOLDER NUMBER BUDGET
"""

from __future__ import annotations

import sys
import time
from array import array
from pathlib import Path

import numpy as np

from pensieve_gguf.anchors import AnchorIdentity, AnchorKind, AnchorStore, Limits, Saved

IDENTITY = AnchorIdentity(
    label="tiny",
    model="a model",
    build="a commit",
    state_version=2,
    key_type="f16",
    value_type="f16",
    flash_attention=True,
)
ROUNDS = 60


def main() -> None:
    """Save, and say when the first one is kept."""
    folder, number, budget = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    limits = Limits(budget_bytes=budget, reserve_bytes=0, near_tokens=0)
    store = AnchorStore.open(folder, IDENTITY, limits=limits, clock=time.time)
    assert store is not None
    outcomes = set()
    for step in range(1, ROUNDS):
        own = step % 3 == 0
        tokens = array("i", [number if own else 0, *range(step)])
        state = np.full(50_000, step, np.uint8)
        kind = AnchorKind.TURN if own else AnchorKind.HEAD
        outcomes.add(store.save(tokens, state, kind=kind, conversation=str(number)))
        anchor = store.longest(tokens)
        loaded = None if anchor is None else store.load(anchor, tokens)
        assert loaded is None or anchor is None or (loaded == anchor.length - 1).all()
    store.close()
    sys.exit(0 if outcomes <= {Saved.SAVED, Saved.KNOWN} else 1)


if __name__ == "__main__":
    main()
