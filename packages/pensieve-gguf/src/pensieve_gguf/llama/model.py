"""A model: weights and vocabulary. Read-only once loaded, so any thread may tokenise."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import numpy as np
from llama_cpp import llama_cpp as lib

from pensieve_gguf.llama.library import last_words, start_backend
from pensieve_gguf.llama.shown import is_shown

__all__ = ["LoadError", "Model", "Special", "TokenIds"]

TokenIds = np.ndarray[tuple[int], np.dtype[np.int32]]

_ALL_LAYERS = -1
_RENDER_SPECIAL = True
_CONTROL = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_UNKNOWN
"""What llama.cpp recognises in a text only when it is told to."""


@attrs.frozen(kw_only=True)
class Special:
    """A control token, which text can only spell."""

    id: int
    shown: bool = False
    """Whether an answer shows it, since it marks a dialect."""
    strips_before: bool = False
    """It swallows the white space before it; likewise `strips_after`."""
    strips_after: bool = False


class LoadError(Exception):
    """llama.cpp refused the file or its settings. The message holds its own words."""


class Model:
    """A loaded GGUF.

    Args:
        path: The file, or the first shard.
        gpu_layers: None means all that fit llama.cpp's own rule.
        on_progress: Called with 0…1 from the loading thread; returning False gives up.
        vocabulary_only: Load no weights: for the tokenizer and the metadata.
        mapped: Leave weights in the pages of the file, as llama.cpp sees fit; else they are read into memory.
        dry: Load no weights but know their sizes: contexts of it take nothing; `context_bytes` tells what they would.

    Raises:
        LoadError: llama.cpp could not load it.
    """

    def __init__(
        self,
        path: Path,
        *,
        gpu_layers: int | None = None,
        on_progress: Callable[[float], bool] | None = None,
        vocabulary_only: bool = False,
        mapped: bool = True,
        dry: bool = False,
    ) -> None:
        start_backend()
        params = lib.llama_model_default_params()
        params.vocab_only = vocabulary_only
        params.no_alloc = dry
        params.load_mode = lib.LLAMA_LOAD_MODE_AUTO if mapped and not dry else lib.LLAMA_LOAD_MODE_NONE
        params.n_gpu_layers = _ALL_LAYERS if gpu_layers is None else gpu_layers
        # Kept as an attribute: ctypes does not keep a callback alive by itself.
        self._progress = lib.llama_progress_callback(lambda done, _: on_progress is None or on_progress(done))
        params.progress_callback = self._progress
        handle = lib.llama_model_load_from_file(str(path).encode(), params)
        if not handle:
            raise LoadError(last_words() or f"llama.cpp could not load {path}")
        self.handle = handle
        self.path = path
        self.vocab = lib.llama_model_get_vocab(handle)
        """llama.cpp's pointer; good until `close`."""
        self.vocabulary_size: int = lib.llama_vocab_n_tokens(self.vocab)

    def close(self) -> None:
        """Free the weights. Contexts must be closed before."""
        if self.handle:
            lib.llama_model_free(self.handle)
            self.handle = None

    # -- shape ---------------------------------------------------------------------------------------------------

    @property
    def trained_context(self) -> int:
        """Tokens that the model was trained to attend to."""
        return int(lib.llama_model_n_ctx_train(self.handle))

    @property
    def weight_bytes(self) -> int:
        """Size of all tensors, in bytes."""
        return int(lib.llama_model_size(self.handle))

    @property
    def layers(self) -> int:
        """Blocks of the model, the output layer not among them."""
        return self._number("block_count") or 0

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of cached keys and values for one token at f16; an upper bound where layers differ."""
        # From the metadata: with the vocabulary alone, llama.cpp aborts when it is asked.
        heads = self._number("attention.head_count") or 1
        usual = (self._number("embedding_length") or 0) // heads
        # The width of one head of Qwen3 and Gemma 3 is not embedding / heads.
        widths = [self._number(f"attention.{kind}_length") or usual for kind in ("key", "value")]
        return 2 * sum(widths) * (self._number("attention.head_count_kv") or heads) * self.layers

    def _number(self, name: str) -> int | None:
        """Return a number of the architecture; None: it has none, or one for each layer."""
        given = self.metadata(f"{self.metadata('general.architecture')}.{name}") or ""
        return int(given) if given.isdecimal() else None

    @property
    def forgets_partially(self) -> bool:
        """Whether a sequence can be cut back to any length, however far: not where there is a state or a window."""
        return not (self.has_state or self.window)

    @property
    def has_state(self) -> bool:
        """Whether some layers are recurrent: their state holds all that was, and gives nothing of it back."""
        return self.keeps_no_cells or bool(lib.llama_model_is_hybrid(self.handle))

    @property
    def keeps_no_cells(self) -> bool:
        """Whether all layers are recurrent."""
        return bool(lib.llama_model_is_recurrent(self.handle))

    @functools.cached_property
    def window(self) -> int:
        """How many tokens layers with a sliding window see; 0: there are none."""
        return int(lib.llama_model_n_swa(self.handle))

    def window_start(self, length: int) -> int:
        """Return the first position that the token at position `length` sees in every layer."""
        if self.metadata("general.architecture") == "llama4":  # its windows do not slide, they follow each other
            return length - length % self.window
        return max(0, length - self.window + 1)

    def metadata(self, key: str) -> str | None:
        """Return the GGUF's value of `key`, as text."""
        buffer = ctypes.create_string_buffer(1 << 10)
        size = lib.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if size >= 0 else None

    @property
    def chat_template(self) -> str | None:
        """The Jinja source of the model's own chat template."""
        source = lib.llama_model_chat_template(self.handle, None)
        return source.decode("utf-8", "replace") if source else None

    # -- vocabulary ----------------------------------------------------------------------------------------------

    @property
    def bos_text(self) -> str:
        """The begin-of-sequence token's text; empty when there is none."""
        return self._token_text(lib.llama_vocab_bos(self.vocab))

    @property
    def eos_text(self) -> str:
        """The end-of-sequence token's text."""
        return self._token_text(lib.llama_vocab_eos(self.vocab))

    @property
    def adds_bos(self) -> bool:
        """Whether prompts of this model start with the begin-of-sequence token."""
        return bool(lib.llama_vocab_get_add_bos(self.vocab))

    @property
    def first_token(self) -> int | None:
        """The begin-of-sequence token, when prompts start with it."""
        return int(lib.llama_vocab_bos(self.vocab)) if self.adds_bos else None

    @functools.cached_property
    def specials(self) -> Mapping[str, Special]:
        """All control tokens, by their spelling."""
        attributes = ((token, lib.llama_vocab_get_attr(self.vocab, token)) for token in range(self.vocabulary_size))
        return {
            lib.llama_vocab_get_text(self.vocab, token).decode("utf-8", "replace"): Special(
                id=token,
                shown=bool(self.piece(token)),
                strips_before=bool(attribute & lib.LLAMA_TOKEN_ATTR_LSTRIP),
                strips_after=bool(attribute & lib.LLAMA_TOKEN_ATTR_RSTRIP),
            )
            for token, attribute in attributes
            if attribute & _CONTROL
        }

    def tokenize(self, text: str, *, add_bos: bool = True) -> TokenIds:
        """Return the token ids of `text`, shape (n_tokens,); special tokens in the text are parsed as such.

        Args:
            text: A prompt, or a part of one.
            add_bos: Whether a token that begins prompts is wanted, if the model wants one and the text has none.
        """
        starts_with_bos = bool(self.bos_text) and text.startswith(self.bos_text)
        return self._tokenized(text, add_bos=add_bos and self.adds_bos and not starts_with_bos, parse_special=True)

    def tokenize_plain(self, text: str) -> TokenIds:
        """Return the token ids of `text`, shape (n_tokens,), in which control tokens are mere letters. No BOS."""
        return self._tokenized(text, add_bos=False, parse_special=False)

    def _tokenized(self, text: str, *, add_bos: bool, parse_special: bool) -> TokenIds:
        data = text.encode("utf-8", "replace")
        ids = np.empty(len(data) + 2, dtype=np.int32)
        count = lib.llama_tokenize(
            self.vocab, data, len(data), ids.ctypes.data_as(lib.llama_token_p), len(ids), add_bos, parse_special
        )
        if count < 0:
            msg = f"the tokenizer wants {-count} tokens for {len(data)} bytes"
            raise ValueError(msg)
        return ids[:count].copy()

    def is_end(self, token: int) -> bool:
        """Whether `token` ends the model's turn."""
        return token in self.end_tokens

    @functools.cached_property
    def end_tokens(self) -> frozenset[int]:
        """All end-of-generation tokens."""
        return frozenset(t for t in range(self.vocabulary_size) if lib.llama_vocab_is_eog(self.vocab, t))

    def piece(self, token: int) -> bytes:
        """Return the bytes that `token` stands for in the answer; often no whole UTF-8 character."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._visible_piece(token)
        return piece

    @functools.cached_property
    def _pieces(self) -> dict[int, bytes]:
        return {}

    def _visible_piece(self, token: int) -> bytes:
        if not lib.llama_vocab_is_control(self.vocab, token):
            return self._raw_piece(token)
        text = self._raw_piece(token)
        return text if is_shown(text.decode("utf-8", "replace")) else b""

    def _raw_piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(512)
        size = lib.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, _RENDER_SPECIAL)
        return buffer.raw[:size] if size > 0 else b""

    def _token_text(self, token: int) -> str:
        return self._raw_piece(token).decode("utf-8", "replace") if token >= 0 else ""
