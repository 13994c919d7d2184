"""From the bytes of an image to its pixels, within limits that are checked before anything is decoded.

Whatever is done here depends on the bytes alone, so that the same image is always the same tokens. Above: `pictures`.
Below: Pillow.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Final

import attrs
from PIL import Image, ImageOps

__all__ = ["MAX_SIDE", "Pixels", "UnreadableImageError", "decode"]

MAX_SIDE: Final = 8_000
"""Pixels; Anthropic's limit. 64 million of them take 256 MB for a moment."""
_LONG_EDGE: Final = 1_568
"""Larger images are scaled down to it, as Anthropic does; encoders scale further."""

_FORMATS: Final = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}

# What Pillow's decoders raise at broken data.
_BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, struct.error)


class UnreadableImageError(Exception):
    """It is no image, or too large a one. The message is for the client, in Anthropic's words where it has some.

    Claude Code 2.1.330 finds them in a 400, and goes on without the image.
    """


@attrs.frozen
class Pixels:
    """An image of 3 * width * height bytes: red, green, blue; row by row."""

    width: int
    height: int
    rgb: bytes = attrs.field(repr=lambda rgb: f"<{len(rgb)}>")


def decode(data: bytes, media_type: str) -> Pixels:
    """Return the pixels of an image, of the first frame where it moves; upright, opaque on white, and not too large.

    Raises:
        UnreadableImageError: with the reason.
    """
    try:
        with _opened(data) as image:
            _check(image, media_type)
            image.draft("RGB", (_LONG_EDGE, _LONG_EDGE))  # JPEG only: decodes no more than is kept
            return _pixels(image)
    except (*_BROKEN, zlib.error) as error:
        raise UnreadableImageError(f"Could not process image: {error}") from error


def _opened(data: bytes) -> Image.Image:
    """Read the header, and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return Image.open(io.BytesIO(data), formats=tuple(_FORMATS.values()))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise _too_large() from error


def _check(image: Image.Image, media_type: str) -> None:
    if max(image.size) > MAX_SIDE:
        raise _too_large()
    if image.format != _FORMATS.get(media_type):
        raise UnreadableImageError(f"Image does not match the provided media type {media_type}: it is {image.format}")


def _too_large() -> UnreadableImageError:
    words = f"At least one of the image dimensions exceed max allowed size: {MAX_SIDE} pixels"
    return UnreadableImageError(words)


def _pixels(image: Image.Image) -> Pixels:
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        coloured = upright.convert("RGBA")
        upright = Image.new("RGB", coloured.size, "white")
        upright.paste(coloured, mask=coloured)
    opaque = upright.convert("RGB")
    opaque.thumbnail((_LONG_EDGE, _LONG_EDGE))
    return Pixels(opaque.width, opaque.height, opaque.tobytes())
