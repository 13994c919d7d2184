"""The command `pensieve-server`: settings, composition, and the life of the server process.

`pensieve_cli.main` is where it starts; `pensieve_cli.composition.compose` joins the parts for programs that embed
the server. This package may import every other, and no other may import it.
"""

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode

__all__ = ["CommandError", "ExitCode"]
