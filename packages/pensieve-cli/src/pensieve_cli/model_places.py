"""Where models are looked for on this machine: one list, for the catalog and for completion.

Apart from `composition`, since that imports a web server, and a key in a shell cannot wait so long.
"""

from __future__ import annotations

import os
from pathlib import Path

from pensieve_registry import (
    FolderSource,
    HuggingFaceCacheSource,
    InstalledDistributionSource,
    LmStudioSource,
    ModelSource,
    OllamaSource,
)

__all__ = ["model_sources"]


def model_sources(models_folder: Path) -> list[ModelSource]:
    """Return the places, those of a higher rank first. `models_folder`: as the user wrote it."""
    return [
        FolderSource(models_folder.expanduser()),
        HuggingFaceCacheSource.from_environment(os.environ),
        LmStudioSource.of_user(Path.home()),
        OllamaSource.from_environment(os.environ, Path.home()),
        InstalledDistributionSource(),
    ]
