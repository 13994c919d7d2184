"""The engine in a process of its own: native code may die there at any time. Frames, host, supervisor."""

from pensieve_gguf.worker.supervisor import SupervisedEngine, SupervisedGeneration

__all__ = ["SupervisedEngine", "SupervisedGeneration"]
