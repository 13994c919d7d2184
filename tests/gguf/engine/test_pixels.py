"""Ours: what comes out of the bytes of an image, and what is refused before it is decoded."""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pensieve_gguf.engine.pixels import MAX_SIDE, Pixels, UnreadableImageError, decode

RED = (255, 0, 0)


def image(
    kind: str = "PNG", *, size: tuple[int, int] = (4, 2), mode: str = "RGB", colour: Any = RED, **how: Any
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, colour).save(out, kind, **how)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a hundred bytes that says to be this large, and holds nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "how"), [("PNG", {}), ("GIF", {}), ("WEBP", {"lossless": True})], ids=["png", "gif", "webp"]
)
def test_pixels_come_out_as_they_went_in(kind: str, how: dict[str, Any]) -> None:
    assert decode(image(kind, **how), f"image/{kind.lower()}") == Pixels(4, 2, bytes(RED) * 8)


def test_a_jpeg_is_read_too() -> None:
    pixels = decode(image("JPEG", size=(16, 8)), "image/jpeg")
    assert (pixels.width, pixels.height, len(pixels.rgb)) == (16, 8, 3 * 16 * 8)


def test_what_is_transparent_is_white() -> None:
    assert decode(image(mode="RGBA", colour=(0, 0, 0, 0), size=(1, 1)), "image/png").rgb == b"\xff\xff\xff"


def test_grey_becomes_red_green_and_blue() -> None:
    assert decode(image(mode="L", colour=7, size=(1, 1)), "image/png").rgb == b"\x07\x07\x07"


def test_photographs_stand_upright() -> None:
    """EXIF 6: the camera was held on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode(image("JPEG", size=(16, 8), exif=exif), "image/jpeg")
    assert (pixels.width, pixels.height) == (8, 16)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_large_images_are_scaled_down_and_keep_their_shape(kind: str) -> None:
    """As Anthropic does, to 1568 pixels."""
    pixels = decode(image(kind, size=(3136, 1568)), f"image/{kind.lower()}")
    assert (pixels.width, pixels.height) == (1568, 784)


def test_the_first_frame_of_a_moving_image_is_taken() -> None:
    out = io.BytesIO()
    frames = [Image.new("RGB", (2, 2), colour) for colour in (RED, (0, 0, 255))]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    assert decode(out.getvalue(), "image/gif").rgb == bytes(RED) * 4


@pytest.mark.parametrize("size", [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (10_000, 10_000), (60_000, 60_000)])
def test_what_would_be_too_large_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    """Anthropic's words, as Claude Code 2.1.330 looks for them. The larger two are bombs to Pillow itself."""
    began = time.thread_time()
    with pytest.raises(UnreadableImageError, match=r"image dimensions exceed max allowed size: 8000 pixels"):
        decode(bomb(*size), "image/png")
    assert time.thread_time() - began < 1


@pytest.mark.parametrize(
    "data",
    [b"", b"no image", image()[:40], image("JPEG", size=(64, 64))[:400], bomb(7_000, 7_000), b"<svg></svg>"],
    ids=["nothing", "text", "cut png", "cut jpeg", "empty png", "another format"],
)
def test_what_is_broken_could_not_be_processed(data: bytes) -> None:
    kind = "jpeg" if data.startswith(b"\xff\xd8") else "png"
    with pytest.raises(UnreadableImageError, match=r"^Could not process image: "):
        decode(data, f"image/{kind}")


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/bmp"])
def test_an_image_of_another_type_than_it_says_is_refused(media_type: str) -> None:
    with pytest.raises(
        UnreadableImageError, match=f"Image does not match the provided media type {media_type}: it is PNG"
    ):
        decode(image(), media_type)


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP"]), at=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255)
)
def test_whatever_is_spoilt_is_refused_or_read_and_nothing_else(kind: str, at: float, byte: int) -> None:
    data = bytearray(image(kind, size=(24, 24)))
    data[int(at * len(data))] = byte
    try:
        pixels = decode(bytes(data), f"image/{kind.lower()}")
    except UnreadableImageError:
        return
    assert len(pixels.rgb) == 3 * pixels.width * pixels.height
