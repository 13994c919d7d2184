"""The scheduler and the prefix tree against a clock: traces of real sessions in, hit ratios and waiting times out.

No model and no threads. The very `Scheduler` and `Residents` of the engine are driven as the engine loop drives them;
what a decode takes is told by a cost model, and clients wait for their answers before they go on.

    traces ─→ clients ─→ world ─→ Scheduler, Residents (or a peer's policy) ─→ Outcome ─→ report, plot
"""
