"""Results as a picture: hit ratio over pool size. Needs matplotlib (the dependency group `plots`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from simulator.policies import Policy
from simulator.sweep import Result

__all__ = ["draw"]

_LABELS = {
    Policy.WORTH: "prefix tree, by worth (ours)",
    Policy.LRU_TREE: "prefix tree, LRU",
    Policy.LRU_SLOTS_16: "16 slots, LRU",
    Policy.LRU_SLOTS_4: "4 slots, LRU",
}


def draw(results: Sequence[Result], path: Path) -> None:
    """Write one panel for each number of sessions; the suffix of `path` says the format."""
    mpl.rcParams["svg.hashsalt"] = "pensieve"  # the same results give the same file
    numbers = sorted({result.case.setting.sessions for result in results})
    figure, axes = plt.subplots(1, len(numbers), figsize=(5.5 * len(numbers), 4), sharey=True, squeeze=False)
    for axis, sessions in zip(axes[0], numbers, strict=True):
        _panel(axis, [result for result in results if result.case.setting.sessions == sessions])
        axis.set_title("one session at a time" if sessions == 1 else f"{sessions} sessions at once")
    axes[0][0].set_ylabel("prompt tokens not computed again")
    axes[0][-1].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _panel(axis: Axes, results: Sequence[Result]) -> None:
    for policy, label in _LABELS.items():
        points = [(r.case.setting.cells, r.outcome.hit_ratio) for r in results if r.case.policy is policy]
        axis.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=label)
    best = {r.case.setting.cells: r.outcome.oracle_ratio for r in results}
    axis.plot(list(best), list(best.values()), color="black", linestyle=":", label="oracle: an endless pool")
    axis.set_xscale("log", base=2)
    sizes = sorted(best)
    axis.set_xticks(sizes, [f"{size // 1024}k" for size in sizes])
    axis.minorticks_off()
    axis.set_xlabel("pool, tokens")
    axis.grid(visible=True, alpha=0.3)
