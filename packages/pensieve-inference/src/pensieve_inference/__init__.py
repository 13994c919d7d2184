"""The Protocols between Pensieve's layers. Their shipped fakes are in `pensieve_inference.testing`."""

from pensieve_inference._clock import SystemClock
from pensieve_inference._protocols import EngineProvider, Generation, InferenceEngine, ModelCatalog

__all__ = ["EngineProvider", "Generation", "InferenceEngine", "ModelCatalog", "SystemClock"]
