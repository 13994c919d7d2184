"""All scenarios, in the order in which `--scenario all` runs them."""

from __future__ import annotations

from scenario import Scenario

from scenarios import (
    agents,
    cancel,
    conversation,
    fleet,
    folders,
    interactive,
    interference,
    memory,
    restart,
    reuse,
    session,
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
        session,
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
        interactive,
    )
}
