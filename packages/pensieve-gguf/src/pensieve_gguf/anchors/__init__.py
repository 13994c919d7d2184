"""The disk tier of KV prefixes: states that are saved once and found again, after a restart, by exact token ids.

Knows nothing of llama.cpp and imports nothing of the engine: a state is bytes. Above: the engine takes states out and
puts them in; `pensieve-server cache` lists and clears. A machine for budgets (`policy`), values (`identity`, `format`),
and shells around files (`folder`, `files`, `index`, `store`, `writer`).
"""

from pensieve_gguf.anchors.files import State
from pensieve_gguf.anchors.folder import FolderRefusedError
from pensieve_gguf.anchors.format import AnchorKind, chunk_digests, shared_at_most
from pensieve_gguf.anchors.identity import AnchorIdentity, fingerprint
from pensieve_gguf.anchors.index import Anchor
from pensieve_gguf.anchors.journal import Journal
from pensieve_gguf.anchors.policy import Limits, default_budget
from pensieve_gguf.anchors.store import AnchorStore, Saved
from pensieve_gguf.anchors.survey import Cleared, ListedAnchor, Survey, clear_folder, survey_folder
from pensieve_gguf.anchors.writer import AnchorWriter

__all__ = [
    "Anchor",
    "AnchorIdentity",
    "AnchorKind",
    "AnchorStore",
    "AnchorWriter",
    "Cleared",
    "FolderRefusedError",
    "Journal",
    "Limits",
    "ListedAnchor",
    "Saved",
    "State",
    "Survey",
    "chunk_digests",
    "clear_folder",
    "default_budget",
    "fingerprint",
    "shared_at_most",
    "survey_folder",
]
