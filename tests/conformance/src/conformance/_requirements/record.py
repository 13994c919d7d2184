"""One behaviour that the Messages API has, and what Pensieve does about it."""

from __future__ import annotations

import re

import attrs
from attrs import validators

__all__ = ["NOT_BUILT", "Requirement"]

NOT_BUILT = "not built yet"

_ID = re.compile(r"[a-z0-9_.*-]+(:[a-z0-9_.*-]+){1,3}")
_SOURCE = re.compile(
    r"sdk: [a-z0-9_/]+\.py|design: \d [A-Z].*|observed: .+|docs: https://(docs|platform)\.claude\.com/.+|ours"
)
_TEXT = validators.optional(validators.min_len(1))


@attrs.frozen
class Requirement:
    """A record of the manifest. What is required does not change when Pensieve falls short of it.

    A record with a divergence has a test that holds what is done instead. A deferred record needs none; a test that
    names it all the same is a probe, and must fail: when it passes, the deferral is out of date.
    """

    id: str = attrs.field(validator=validators.matches_re(_ID))
    """`area:behaviour[:variant]`; stable, tests name it."""
    source: str = attrs.field(kw_only=True, validator=validators.matches_re(_SOURCE))
    """Where it is from: a module of the official Python SDK, a chapter of the design, an observation, or ours."""
    required: str = attrs.field(validator=validators.min_len(1))
    """A sentence."""
    divergence: str | None = attrs.field(default=None, kw_only=True, validator=_TEXT)
    """What Pensieve does instead, and why."""
    held_by: str | None = attrs.field(default=None, kw_only=True, validator=_TEXT)
    """`path::test`, where a test elsewhere in the tree shows it best; it exists (held by a test)."""
    deferred: str | None = attrs.field(default=None, kw_only=True, validator=_TEXT)
    """Why it is not there."""

    @property
    def area(self) -> str:
        """Return the first part of the id."""
        return self.id.partition(":")[0]
