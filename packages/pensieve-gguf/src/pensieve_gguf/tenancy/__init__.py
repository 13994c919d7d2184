"""Several models within one memory budget: who is in memory, who waits, who makes room. Pure; the provider does it."""

from pensieve_gguf.tenancy.planner import Grant, Leave, Load, Planner, Refuse, Step, Terms
from pensieve_gguf.tenancy.tenant import IllegalPhaseError, Phase, Tenant, Ticket

__all__ = [
    "Grant",
    "IllegalPhaseError",
    "Leave",
    "Load",
    "Phase",
    "Planner",
    "Refuse",
    "Step",
    "Tenant",
    "Terms",
    "Ticket",
]
