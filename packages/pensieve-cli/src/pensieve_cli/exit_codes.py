"""What the process tells its parent when it ends: every exit code of `pensieve-server`, in one place."""

from __future__ import annotations

import enum

__all__ = ["ExitCode"]


class ExitCode(enum.IntEnum):
    """Exit codes; scripts and service managers may rely on them."""

    OK = 0
    """Done; for a server: stopped when asked to, in good order."""
    FAILURE = 1
    """It could not be done: the port is taken, the server broke, stopping hung."""
    USAGE = 2
    """What was asked for makes no sense or is not safe: a setting is wrong, a key is missing."""
    NOT_FOUND = 3
    """There is no such model, or none at all; or no Claude Code to start."""
    NO_SERVER = 4
    """The command speaks to a server, and none answers there."""
    REFUSED = 5
    """It could be done and is not: a server has the model loaded, or the files are another program's."""
    INTERRUPTED = 130
    """Stopped at once by a second signal (128 + SIGINT, as shells count)."""
