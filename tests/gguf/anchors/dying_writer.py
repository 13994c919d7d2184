"""Saves a turn and dies by SIGKILL at step N of it; ends well when there are fewer steps. Started by test_crashes.py.

python dying_writer.py FOLDER N
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from array import array
from pathlib import Path

import numpy as np

from pensieve_gguf.anchors import AnchorIdentity, AnchorKind, AnchorStore, Limits, Saved
from pensieve_gguf.anchors.testing import FaultyFolder

IDENTITY = AnchorIdentity(
    label="tiny",
    model="a model",
    build="a commit",
    state_version=2,
    key_type="f16",
    value_type="f16",
    flash_attention=True,
)
STATE_BYTES = 24 << 20


def main() -> None:
    """Save, and perhaps die."""
    folder = FaultyFolder.open(Path(sys.argv[1]))
    limits = Limits(budget_bytes=10**9, reserve_bytes=0)
    store = AnchorStore(folder, IDENTITY, limits=limits, clock=time.time)
    last, steps = int(sys.argv[2]), itertools.count(1)

    def before(_step: str) -> None:
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    folder.before = before
    state = np.full(STATE_BYTES, 2, np.uint8)
    saved = store.save(array("i", range(200)), state, kind=AnchorKind.TURN)
    folder.before = lambda _step: None
    sys.exit(0 if saved is Saved.SAVED else 1)


if __name__ == "__main__":
    main()
