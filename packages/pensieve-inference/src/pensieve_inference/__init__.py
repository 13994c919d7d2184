"""The Protocols between Pensieve's layers. Their shipped fakes are in `pensieve_inference.testing`."""

from pensieve_inference._clock import SystemClock
from pensieve_inference._files import FileLimits, FilePage, FileQuery, FileReader, FileStore, NewFile, Upload
from pensieve_inference._protocols import EngineProvider, Generation, InferenceEngine, ModelCatalog

__all__ = [
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
]
