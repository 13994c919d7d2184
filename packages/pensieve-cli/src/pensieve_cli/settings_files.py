"""Where settings files are. Apart from `command_line`, which reads them: completion cannot wait for its imports."""

from __future__ import annotations

from pathlib import Path

import platformdirs

__all__ = ["settings_files"]


def settings_files() -> tuple[Path, Path]:
    """Return where settings are looked for: this folder's file, then the user's."""
    return Path("pensieve.toml"), platformdirs.user_config_path("pensieve") / "pensieve.toml"
