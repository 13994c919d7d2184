"""The Protocols between Pensieve's layers. Their shipped fakes are in `pensieve_inference.testing`."""

from pensieve_inference._clock import SystemClock
from pensieve_inference._files import FileLimits, FilePage, FileQuery, FileReader, FileStore, NewFile, Upload
from pensieve_inference._plain_loader import loader_of
from pensieve_inference._protocols import EngineLoader, EngineProvider, Generation, InferenceEngine, ModelCatalog

__all__ = [
    "EngineLoader",
    "EngineProvider",
    "FileLimits",
    "FilePage",
    "FileQuery",
    "FileReader",
    "FileStore",
    "Generation",
    "InferenceEngine",
    "ModelCatalog",
    "NewFile",
    "SystemClock",
    "Upload",
    "loader_of",
]
