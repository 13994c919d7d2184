"""A projector: the vision encoder beside a model, which makes embeddings of images. Through llama.cpp's `mtmd`.

An image becomes pieces, in order: text tokens that the model wants around and between images, and parts of the image
(one, or several tiles), each so many embeddings. Here an embedding takes one cell and one position, as a token does,
and sees what stands before it; models that want otherwise are refused when the projector is loaded.
"""

from __future__ import annotations

import ctypes
import weakref
from array import array
from pathlib import Path
from typing import TypeAlias

import attrs
import numpy as np
from llama_cpp import llama_cpp as lib

from pensieve_gguf.llama.library import last_words, log_callback
from pensieve_gguf.llama.model import LoadError, Model

__all__ = ["Embeddings", "Pieces", "ProjectionError", "Projector"]

Embeddings: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float32]]
"""Shape (embeddings, width of the model's input)."""

_TEXT = 0  # MTMD_INPUT_CHUNK_TYPE_TEXT


class ProjectionError(Exception):
    """`mtmd` made nothing of an image; its words are in the message."""


@attrs.frozen(eq=False)
class Pieces:
    """An image in the form that its encoder takes. Frees its memory when nobody refers to it any more."""

    handle: int = attrs.field(repr=False)
    """`mtmd_input_chunks`."""
    lengths: tuple[int, ...]
    """Tokens or embeddings of each piece."""
    texts: tuple[array[int] | None, ...]
    """Token ids of each piece; None: it is a part of the image."""


class Projector:
    """A loaded projector. `pieces` may be called from any thread, `embeddings` from one at a time.

    Args:
        path: The GGUF, an "mmproj".
        model: What the embeddings are for; outlives the projector.
        threads: Of one encoding.
        use_gpu: Whether a GPU encodes, if there is one.

    Raises:
        LoadError: it is no such file, it fits another model, or it wants what is not done here.
    """

    def __init__(self, path: Path, model: Model, *, threads: int, use_gpu: bool) -> None:
        # Another library is loaded with it, which most engines never need.
        from llama_cpp import mtmd_cpp  # noqa: PLC0415

        self._lib = mtmd_cpp
        self._width: int = lib.llama_model_n_embd_inp(model.handle)
        mtmd_cpp.mtmd_log_set(log_callback, ctypes.c_void_p(0))
        params = mtmd_cpp.mtmd_context_params_default()
        params.use_gpu = use_gpu
        params.n_threads = threads
        params.print_timings = False
        params.warmup = False
        self._handle = mtmd_cpp.mtmd_init_from_file(str(path).encode(), model.handle, params)
        if not self._handle:
            raise LoadError(last_words() or f"llama.cpp could not load {path}")
        problem = self._problem()
        if problem is not None:
            self.close()
            raise LoadError(problem)

    def _problem(self) -> str | None:
        if not self._lib.mtmd_support_vision(self._handle):
            return "it makes no embeddings of images"
        if self._lib.mtmd_decode_use_mrope(self._handle):
            return "the model wants positions in two dimensions (M-RoPE), which this server does not compute yet"
        if self._lib.mtmd_decode_use_non_causal(self._handle, None):
            return "the model looks at an image from all its sides at once, which this server does not compute yet"
        return None

    def close(self) -> None:
        """Free the encoder's weights."""
        if self._handle:
            self._lib.mtmd_free(self._handle)
            self._handle = None

    def pieces(self, width: int, height: int, rgb: bytes) -> Pieces:
        """Return the pieces of an image of 3 * width * height bytes.

        Raises:
            ProjectionError: there are none.
        """
        if len(rgb) != 3 * width * height:
            msg = f"{len(rgb)} bytes are no image of {width} by {height} pixels"
            raise ValueError(msg)
        bitmap = self._lib.mtmd_bitmap_init(width, height, _bytes(np.frombuffer(rgb, np.uint8)))
        try:
            return self._tokenized(bitmap)
        finally:
            self._lib.mtmd_bitmap_free(bitmap)

    def embeddings(self, pieces: Pieces, index: int) -> Embeddings:
        """Compute one piece of an image. On a CPU this may take seconds.

        Raises:
            ProjectionError: the encoder failed.
        """
        if not 0 <= index < len(pieces.texts) or pieces.texts[index] is not None:
            raise IndexError(f"piece {index} is no part of an image")
        chunk = self._lib.mtmd_input_chunks_get(pieces.handle, index)
        if self._lib.mtmd_encode_chunk(self._handle, chunk) != 0:
            raise ProjectionError(last_words() or "the encoder failed")
        computed = self._lib.mtmd_get_output_embd(self._handle)
        shape = (pieces.lengths[index], self._width)
        return np.ctypeslib.as_array(computed, shape).copy()

    def _tokenized(self, bitmap: int) -> Pieces:
        mtmd = self._lib
        chunks = mtmd.mtmd_input_chunks_init()
        marker = mtmd.mtmd_default_marker()
        text = mtmd.mtmd_input_text(marker, len(marker), False, True)  # noqa: FBT003 - a C struct
        code = mtmd.mtmd_tokenize(self._handle, chunks, ctypes.byref(text), (ctypes.c_void_p * 1)(bitmap), 1)
        if code != 0:
            mtmd.mtmd_input_chunks_free(chunks)
            raise ProjectionError(last_words() or f"mtmd_tokenize answered {code}")
        found = [mtmd.mtmd_input_chunks_get(chunks, index) for index in range(mtmd.mtmd_input_chunks_size(chunks))]
        pieces = Pieces(
            chunks,
            tuple(mtmd.mtmd_input_chunk_get_n_tokens(chunk) for chunk in found),
            tuple(self._text(chunk) for chunk in found),
        )
        weakref.finalize(pieces, mtmd.mtmd_input_chunks_free, chunks)
        return pieces

    def _text(self, chunk: int) -> array[int] | None:
        if self._lib.mtmd_input_chunk_get_type(chunk) != _TEXT:
            return None
        count = ctypes.c_size_t()
        tokens = self._lib.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
        return array("i", tokens[: count.value])


def _bytes(values: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> ctypes._Pointer:  # type: ignore[type-arg]
    return values.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
