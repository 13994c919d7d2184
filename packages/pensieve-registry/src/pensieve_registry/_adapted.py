"""A model with an adapter, by name: `MODEL+ADAPTER`, or `MODEL+ADAPTER:SCALE`. Pure.

`MODEL` is any name of a model, `ADAPTER` the name of one that fits it. Such names are not listed, for there are as many
as scales; an alias for one is, and the default model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import attrs

from pensieve_core import AppliedAdapter, ModelDescriptor, ModelId

__all__ = ["adapted"]

_NAME = re.compile(r"(?P<model>[^+]+)\+(?P<adapter>[^+:]+)(:(?P<scale>-?\d+(\.\d+)?))?")


def adapted(name: str, named: Callable[[str], ModelDescriptor | None]) -> ModelDescriptor | None:
    """Return the model that `name` means, with its adapter. None: it is no such name, or there is no such pair.

    Args:
        name: In lower case.
        named: Finds a model by any name.
    """
    parts = _NAME.fullmatch(name)
    model = None if parts is None else named(parts["model"])
    if parts is None or model is None:
        return None
    scale = float(parts["scale"] or 1.0)
    found = next((adapter for adapter in model.adapters if adapter.name == parts["adapter"]), None)
    if found is None or not math.isfinite(scale):
        return None
    suffix = "" if scale == 1.0 else f":{scale:g}"
    return attrs.evolve(
        model,
        id=ModelId(f"{model.id}+{found.name}{suffix}"),
        display_name=f"{model.display_name} with {found.name}{suffix}",
        applied=AppliedAdapter(adapter=found, scale=scale),
    )
