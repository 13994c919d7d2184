"""What tests of several packages need: Ctrl-C that is heeded, cases of hypothesis, and a projector for eyes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import gguf

# A job in the background ignores Ctrl-C, and so would every program that the tests start; some press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long a case takes says how busy the machine is: no bounds on that. The same cases each time, so that a red run is
# the fault of the change; others are drawn with `make test ARGS="--hypothesis-profile=others"`.
settings.register_profile("others", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("same", settings.get_profile("others"), derandomize=True)
settings.load_profile("same")


def write_projector(path: Path, *, width: int, seed: int = 7) -> Path:
    """Write a vision encoder of random weights for a model whose input is `width` wide; it sees, and knows nothing.

    InternVL's kind, the smallest that puts text around an image: tiles of 32 by 32 pixels are 4 embeddings each, and
    an image that is not square is several tiles.
    """
    size, feed, patch, tile, merged = 32, 64, 8, 32, 4 * 32
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_string("general.type", "mmproj")
    writer.add_bool("clip.has_vision_encoder", val=True)
    writer.add_bool("clip.use_gelu", val=True)
    writer.add_string("clip.projector_type", "internvl")
    numbers = {
        "embedding_length": size, "feed_forward_length": feed, "block_count": 1, "projection_dim": width,
        "image_size": tile, "patch_size": patch, "attention.head_count": 2, "projector.scale_factor": 2,
    }  # fmt: skip
    for name, number in numbers.items():
        writer.add_uint32(f"clip.vision.{name}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    for name in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{name}", [0.5, 0.5, 0.5])
    shapes: dict[str, tuple[int, ...]] = {
        "v.class_embd": (size,), "v.position_embd.weight": ((tile // patch) ** 2 + 1, size),
        "v.patch_embd.weight": (size, 3, patch, patch), "v.patch_embd.bias": (size,),
        "v.blk.0.ffn_up.weight": (feed, size), "v.blk.0.ffn_up.bias": (feed,),
        "v.blk.0.ffn_down.weight": (size, feed), "v.blk.0.ffn_down.bias": (size,),
        "mm.model.mlp.0.weight": (merged,), "mm.model.mlp.0.bias": (merged,),
        "mm.model.mlp.1.weight": (width, merged), "mm.model.mlp.1.bias": (width,),
        "mm.model.mlp.3.weight": (width, width), "mm.model.mlp.3.bias": (width,),
    }  # fmt: skip
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        shapes |= {f"v.blk.0.{name}.weight": (size, size), f"v.blk.0.{name}.bias": (size,)}
    for name in ("ln1", "ln2"):
        shapes |= {f"v.blk.0.{name}.weight": (size,), f"v.blk.0.{name}.bias": (size,)}
    for name, shape in shapes.items():
        scale = 0.05 if name.startswith("mm.model.mlp.3") else 0.3  # as large as the embeddings of SmolLM2's tokens
        writer.add_tensor(name, (random.standard_normal(shape) * scale).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def projector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A projector for SmolLM2: nobody publishes one that is small, so what it sees means nothing."""
    return write_projector(tmp_path_factory.mktemp("projector") / "mmproj-smollm2.gguf", width=576)


@pytest.fixture(scope="session")
def make_projector() -> Callable[..., Path]:
    """Writes other projectors."""
    return write_projector
