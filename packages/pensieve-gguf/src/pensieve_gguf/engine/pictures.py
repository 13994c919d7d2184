"""Images as parts of a prompt: the tokens that stand for them, and their embeddings when they are computed.

To everything that looks for known prefixes, an image is tokens like others: *stand-ins*, negative numbers made of its
content, one for each embedding. The same image is the same stand-ins, so that it is computed once; another image never
is (their first stand-ins alone are equal once in two thousand million pairs).

    request ─▶ marked: a mark in place of each image ─▶ (rendered, cut) ─▶ tokens and stand-ins ─▶ embeddings

`marked` and `Picture` belong to the prompts thread; `embeddings` to the engine thread. Below: `pixels`, the projector.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterator
from typing import Protocol

import attrs
import numpy as np

from pensieve_core import (
    GenerationRequest,
    ImagePart,
    Part,
    RequestRefusedError,
    ResultPart,
    TextPart,
    ToolResultPart,
    Turn,
)
from pensieve_gguf.engine.guard import free_characters
from pensieve_gguf.engine.lru import Lru
from pensieve_gguf.engine.pixels import UnreadableImageError, decode
from pensieve_gguf.engine.sequence import ImageSpan
from pensieve_gguf.llama import Embeddings, Pieces, ProjectionError, Projector

__all__ = ["BLIND", "Layout", "Marked", "Picture", "Pictures"]

BLIND = (
    "Could not process image: this model cannot see. Take one that comes with a projector (its mmproj file beside it),"
    " or name that file with --projector"
)
_UNSEEN = "[An image was here, but this model cannot see images.]"

_PIECES_BYTES = 256 << 20
_EMBEDDINGS_BYTES = 256 << 20
_LAYOUTS_BYTES = 16 << 20
_LAYOUT_BYTES = 1_000


@attrs.frozen(eq=False)
class Layout:
    """What stands for an image in any prompt."""

    tokens: array[int]
    parts: tuple[tuple[int, int, int], ...]
    """Of `tokens`: start and stop of stand-ins, and the piece that they stand for."""


@attrs.frozen(eq=False)
class Picture:
    """An image as it stands in a prompt."""

    image: ImagePart
    digest: bytes
    """The sha256 of its type and data."""
    layout: Layout

    @property
    def tokens(self) -> array[int]:
        """Text that the model wants around it, and stand-ins. Nobody may change them."""
        return self.layout.tokens

    def spans(self, offset: int) -> Iterator[ImageSpan]:
        """Yield the stand-ins of a prompt in which the picture begins at `offset`."""
        for start, stop, piece in self.layout.parts:
            yield ImageSpan(start=offset + start, stop=offset + stop, image=self.image, digest=self.digest, piece=piece)


@attrs.frozen(kw_only=True)
class Marked:
    """A request with a mark in place of each image."""

    request: GenerationRequest
    pictures: tuple[Picture, ...] = ()
    sign: str = ""
    """What marks are made of, and nothing else in the request."""

    @property
    def pattern(self) -> re.Pattern[str]:
        """Finds marks; its group is the index of the picture."""
        return re.compile(f"{self.sign}([0-9]+){self.sign}" if self.pictures else "(?!)")


class Pictures:
    """What is known of the images that were seen.

    Args:
        projector: Makes embeddings; owned from now on. None: images are refused.
    """

    def __init__(self, projector: Projector | None) -> None:
        self._projector = projector
        self._layouts: Lru[bytes, Layout] = Lru(_LAYOUTS_BYTES)
        self._pieces: Lru[bytes, Pieces] = Lru(_PIECES_BYTES)
        self._embeddings: Lru[tuple[bytes, int], Embeddings] = Lru(_EMBEDDINGS_BYTES)

    def close(self) -> None:
        """Free the projector."""
        if self._projector is not None:
            self._projector.close()

    def marked(self, request: GenerationRequest) -> Marked:
        """Put marks in place of the images of `request`.

        Where there is no projector, a tool's result says that an image was there: the user has not asked about it.

        Raises:
            RequestRefusedError: a user's image cannot be seen, or one is broken; the message names its place.
        """
        if not any(isinstance(part, ImagePart) for turn in request.turns for part in _flat(turn)):
            return Marked(request=request)
        (sign,) = free_characters(request, (), 1)
        pictures: list[Picture] = []

        def mark(image: ImagePart, *, shown_by_a_tool: bool) -> TextPart:
            if self._projector is None and shown_by_a_tool:
                return TextPart(text=_UNSEEN, cache_mark=image.cache_mark)
            pictures.append(self._picture(image))
            return TextPart(text=f"{sign}{len(pictures) - 1}{sign}", cache_mark=image.cache_mark)

        turns = tuple(
            attrs.evolve(turn, parts=tuple(_replaced(part, mark) for part in turn.parts)) for turn in request.turns
        )
        return Marked(request=attrs.evolve(request, turns=turns), pictures=tuple(pictures), sign=sign)

    def embeddings(self, span: ImageSpan, start: int, stop: int) -> Embeddings:
        """Return the embeddings of the positions `start` to `stop` of a prompt, all of them within `span`.

        Raises:
            ProjectionError: the encoder failed.
        """
        key = (span.digest, span.piece)
        computed = self._embeddings.get(key)
        if computed is None:
            computed = self._seeing(span.image).embeddings(self._pieces_of(span.image, span.digest), span.piece)
            self._embeddings.put(key, computed, computed.nbytes)
        return computed[start - span.start : stop - span.start]

    def _picture(self, image: ImagePart) -> Picture:
        self._seeing(image)
        digest = hashlib.sha256(f"{image.media_type}\n".encode())
        digest.update(image.data)
        key = digest.digest()
        layout = self._layouts.get(key)
        if layout is None:
            layout = _laid_out(key, self._pieces_of(image, key))
            self._layouts.put(key, layout, _LAYOUT_BYTES + 4 * len(layout.tokens))
        return Picture(image, key, layout)

    def _pieces_of(self, image: ImagePart, digest: bytes) -> Pieces:
        pieces = self._pieces.get(digest)
        if pieces is None:
            try:
                pixels = decode(image.data, image.media_type)
                pieces = self._seeing(image).pieces(pixels.width, pixels.height, pixels.rgb)
            except UnreadableImageError as error:
                raise _refused(image, str(error)) from error
            except ProjectionError as error:
                raise _refused(image, f"Could not process image: {error}") from error
            self._pieces.put(digest, pieces, 4 * len(pixels.rgb))
        return pieces

    def _seeing(self, image: ImagePart) -> Projector:
        if self._projector is None:
            raise _refused(image, BLIND)
        return self._projector


def _laid_out(digest: bytes, pieces: Pieces) -> Layout:
    tokens = array("i")
    parts: list[tuple[int, int, int]] = []
    for index, (text, length) in enumerate(zip(pieces.texts, pieces.lengths, strict=True)):
        start = len(tokens)
        tokens.extend(_stand_ins(digest, index, length) if text is None else text)
        if text is None:
            parts.append((start, len(tokens), index))
    return Layout(tokens, tuple(parts))


def _stand_ins(digest: bytes, piece: int, count: int) -> array[int]:
    """Return `count` negative numbers that only this piece of this image has."""
    random = hashlib.shake_256(digest + piece.to_bytes(4, "little")).digest(4 * count)
    negative = np.frombuffer(random, np.uint32) | np.uint32(1 << 31)
    return array("i", negative.view(np.int32).tobytes())


def _refused(image: ImagePart, reason: str) -> RequestRefusedError:
    return RequestRefusedError(f"{image.place}: {reason}" if image.place else reason)


def _flat(turn: Turn) -> Iterator[Part]:
    for part in turn.parts:
        if isinstance(part, ToolResultPart):
            yield from part.content
        else:
            yield part


class _Mark(Protocol):
    def __call__(self, image: ImagePart, *, shown_by_a_tool: bool) -> TextPart: ...


def _replaced(part: Part, mark: _Mark) -> Part:
    match part:
        case ImagePart():
            return mark(part, shown_by_a_tool=False)
        case ToolResultPart(content=content):
            return attrs.evolve(part, content=tuple(_replaced_result(item, mark) for item in content))
        case _:
            return part


def _replaced_result(part: ResultPart, mark: _Mark) -> ResultPart:
    return mark(part, shown_by_a_tool=True) if isinstance(part, ImagePart) else part
