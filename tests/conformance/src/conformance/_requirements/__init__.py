"""Every behaviour of the Messages API: what is required, where that is from, and what Pensieve does about it.

One module per area. Nothing here knows pytest or the server.
"""

from conformance._requirements.answers import ANSWERS
from conformance._requirements.blocks import BLOCKS
from conformance._requirements.endpoints import ENDPOINTS
from conformance._requirements.errors import ERRORS
from conformance._requirements.fields import FIELDS
from conformance._requirements.record import NOT_BUILT, Requirement
from conformance._requirements.stores import STORES
from conformance._requirements.stream import STREAM
from conformance._requirements.tools import TOOLS
from conformance._requirements.usage import USAGE

__all__ = ["NOT_BUILT", "REQUIREMENTS", "Requirement"]

REQUIREMENTS: tuple[Requirement, ...] = (
    *ENDPOINTS, *ERRORS, *STREAM, *FIELDS, *BLOCKS, *TOOLS, *ANSWERS, *USAGE, *STORES,
)  # fmt: skip
"""In the order of the documents; ids are unique (held by a test)."""
