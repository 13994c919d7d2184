"""Ollama's store, as it lies on the disk: manifests with people's names, and blobs with none.

    manifests/<host>/<namespace>/<model>/<tag>     JSON: {"layers": [{"mediaType": …, "digest": "sha256:…"}, …]}
    blobs/sha256-<64 hex digits>                   the files

Nothing here is documented as an interface, so this is best effort: what is not understood is passed over. Read only. A
manifest may have come from anywhere: of a digest nothing but its hex digits becomes a part of a path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pensieve_registry._sources import FoundFile
from pensieve_registry._walk import Unreadable, listed

__all__ = ["OllamaSource"]

_DIGEST = re.compile(r"sha256[:-](?P<hex>[0-9a-f]{64})")
_MANIFEST_BYTES = 1024 * 1024
_MANIFEST_DEPTH = 4
_MANIFESTS_LIMIT = 10_000
_LAYER = "application/vnd.ollama.image."
_USUAL_HOST, _USUAL_NAMESPACE, _USUAL_TAG = "registry.ollama.ai", "library", "latest"
_SERVICE_FOLDERS = (Path("/usr/share/ollama/.ollama/models"), Path("/var/lib/ollama/models"))
"""Where the service of Ollama's installer, and those of distributions, keep theirs."""


class OllamaSource:
    """Models that Ollama has pulled, under the names that it gives them: `qwen2.5-coder:1.5b`, `hf.co/me/mine:q8_0`.

    Projectors and adapters belong to a model when its manifest names them. Some of Ollama's files are made for its own
    engine: they are listed, and llama.cpp may refuse to load them.
    """

    def __init__(self, *folders: Path, name: str = "Ollama") -> None:
        self.name = name
        self._folders = folders

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], home: Path) -> OllamaSource:
        """Return the source of the folder that Ollama would use: OLLAMA_MODELS, or the user's and the service's own."""
        folder = environment.get("OLLAMA_MODELS")
        return cls(Path(folder).expanduser()) if folder else cls(home / ".ollama" / "models", *_SERVICE_FOLDERS)

    def find(self) -> Iterable[FoundFile | Unreadable]:
        """Return the model of every manifest."""
        for folder in self._folders:
            yield from _in_store(folder)


def _in_store(store: Path) -> Iterator[FoundFile | Unreadable]:
    manifests = store / "manifests"
    for found in _files(manifests, _MANIFEST_DEPTH):
        if isinstance(found, Unreadable):
            yield found
        else:
            yield from _models(found, _name(found.relative_to(manifests).parts), store / "blobs")


def _files(root: Path, depth: int) -> Iterator[Path | Unreadable]:
    """Yield what lies exactly `depth` below `root`; links lead nowhere new, since no way is longer than that."""
    paths: list[Path] = [root]
    for _ in range(depth):
        inside = [listed(path) for path in paths[:_MANIFESTS_LIMIT]]
        paths = [path for found, _ in inside for path in found if not path.name.startswith(".")]
        yield from (problem for _, problems in inside for problem in problems)
    yield from paths[:_MANIFESTS_LIMIT]


def _name(parts: tuple[str, ...]) -> str:
    host, namespace, model, tag = parts
    before = [] if host == _USUAL_HOST else [host]
    before += [] if namespace == _USUAL_NAMESPACE and not before else [namespace]
    return "/".join([*before, model]) + ("" if tag == _USUAL_TAG else f":{tag}")


def _models(manifest: Path, name: str, blobs: Path) -> Iterator[FoundFile | Unreadable]:
    try:
        layers = _layers(manifest)
    except (OSError, ValueError, RecursionError) as error:
        yield Unreadable(path=manifest, reason=f"is no manifest of Ollama's: {error}")
        return
    models = _blobs(layers, "model", blobs)
    if models:
        yield FoundFile(
            path=models[0],
            name=name,
            projector=next(iter(_blobs(layers, "projector", blobs)), None),
            adapters=_blobs(layers, "adapter", blobs),
        )


def _layers(manifest: Path) -> list[Mapping[str, Any]]:
    if not manifest.is_file():
        return []
    with manifest.open("rb") as file:
        content = json.loads(file.read(_MANIFEST_BYTES))
    layers = content.get("layers") if isinstance(content, dict) else None
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def _blobs(layers: Iterable[Mapping[str, Any]], kind: str, folder: Path) -> tuple[Path, ...]:
    digests = [layer.get("digest") for layer in layers if layer.get("mediaType") == _LAYER + kind]
    found = [_DIGEST.fullmatch(digest) for digest in digests if isinstance(digest, str)]
    return tuple(folder / f"sha256-{digest['hex']}" for digest in found if digest)
