"""All scenarios, in the order in which `--scenario all` runs them."""

from __future__ import annotations

from scenario import Scenario

from scenarios import (
    agents,
    cancel,
    conversation,
    fleet,
    folders,
    interference,
<<<<<<< HEAD
    memory,
    restart,
    reuse,
=======
    restart,
    reuse,
    session,
>>>>>>> fe350cf (Lean means lean: a short system prompt for small models, no memory folder, and compaction where the context ends)
    single,
    tasks,
    tight,
)

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (
        single,
        conversation,
<<<<<<< HEAD
=======
        session,
>>>>>>> fe350cf (Lean means lean: a short system prompt for small models, no memory folder, and compaction where the context ends)
        folders,
        agents,
        restart,
        interference,
        cancel,
        tight,
        reuse,
<<<<<<< HEAD
        memory,
=======
>>>>>>> fe350cf (Lean means lean: a short system prompt for small models, no memory folder, and compaction where the context ends)
        fleet,
        tasks,
    )
}
