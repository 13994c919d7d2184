"""Finding, checking and naming the GGUF models of this machine.

    catalog = LocalCatalog([FolderSource(Path("models")), InstalledDistributionSource()])
    catalog.resolve("claude-opus-4-8").path

Knows files and names. Runs no model and loads no native code; what it lists has passed the header check that must come
before any. `pensieve_registry.testing` makes small GGUF files.
"""

from pensieve_registry._catalog import LocalCatalog
from pensieve_registry._curated import (
    CatalogError,
    CuratedModel,
    curated_model,
    load_curated,
    parse_curated,
)
from pensieve_registry._drafts import check_draft_model
from pensieve_registry._errors import GgufHeaderError
from pensieve_registry._facts import ModelFacts, TemplateFacts, facts_in_words, model_facts, short_count
from pensieve_registry._file_names import ids_by_file_name
from pensieve_registry._format import TensorType, ValueType
from pensieve_registry._header import GgufArray, GgufHeader, GgufTensor, LongText, MetadataValue, read_gguf_header
from pensieve_registry._machine import Machine
from pensieve_registry._names import SeveralModelsError
from pensieve_registry._ollama import OllamaSource
from pensieve_registry._projectors import check_projector
from pensieve_registry._recommendation import Foresee, Foreseen, Recommendation, recommend
from pensieve_registry._references import (
    HubFile,
    HubRef,
    InvalidReferenceError,
    ModelRef,
    NameRef,
    PathRef,
    UnsafeFileNameError,
    checked_file_name,
    file_named,
    parse_ref,
)
from pensieve_registry._scan import LeftOut, ModelProblem, ScanResult, scan_sources
from pensieve_registry._shards import GgufModel, read_gguf_model
from pensieve_registry._sources import (
    FileSource,
    FolderSource,
    Found,
    FoundFile,
    HuggingFaceCacheSource,
    InstalledDistributionSource,
    LmStudioSource,
    ModelSource,
)
from pensieve_registry._walk import Unreadable

__all__ = [
    "CatalogError",
    "CuratedModel",
    "FileSource",
    "FolderSource",
    "Foresee",
    "Foreseen",
    "Found",
    "FoundFile",
    "GgufArray",
    "GgufHeader",
    "GgufHeaderError",
    "GgufModel",
    "GgufTensor",
    "HubFile",
    "HubRef",
    "HuggingFaceCacheSource",
    "InstalledDistributionSource",
    "InvalidReferenceError",
    "LeftOut",
    "LmStudioSource",
    "LocalCatalog",
    "LongText",
    "Machine",
    "MetadataValue",
    "ModelFacts",
    "ModelProblem",
    "ModelRef",
    "ModelSource",
    "NameRef",
    "OllamaSource",
    "PathRef",
    "Recommendation",
    "ScanResult",
    "SeveralModelsError",
    "TemplateFacts",
    "TensorType",
    "Unreadable",
    "UnsafeFileNameError",
    "ValueType",
    "check_draft_model",
    "check_projector",
    "checked_file_name",
    "curated_model",
    "facts_in_words",
    "file_named",
    "ids_by_file_name",
    "load_curated",
    "model_facts",
    "parse_curated",
    "parse_ref",
    "read_gguf_header",
    "read_gguf_model",
    "recommend",
    "scan_sources",
    "short_count",
]
