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
    memory,
    restart,
    reuse,
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
        folders,
        agents,
        restart,
        interference,
        cancel,
        tight,
        reuse,
        memory,
        fleet,
        tasks,
    )
}
