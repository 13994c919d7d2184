"""Ours: images as parts of prompts, with a projector that computes nothing."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable

import numpy as np
import pytest
from PIL import Image

from pensieve_core import (
    GenerationRequest,
    ImagePart,
    ModelId,
    Part,
    RequestId,
    RequestRefusedError,
    Role,
    TextPart,
    ToolCallId,
    ToolResultPart,
    Turn,
)
from pensieve_gguf.engine.pictures import Picture, Pictures
from pensieve_gguf.engine.sequence import ImageSpan
from pensieve_gguf.llama import Embeddings, Pieces, ProjectionError, Projector

WIDTH = 8
PLACE = "messages.0.content.0.source.data"


class FakeProjector(Projector):
    """Makes of each image the text 7 8, a tile, 9, another tile; the embeddings say which tile of which image."""

    def __init__(self, *, fails: bool = False) -> None:
        self.split = self.encoded = 0
        self.closed = False
        self._fails = fails

    def close(self) -> None:
        self.closed = True

    def pieces(self, width: int, height: int, rgb: bytes) -> Pieces:
        if self._fails:
            msg = "too odd"
            raise ProjectionError(msg)
        self.split += 1
        return Pieces(rgb[0], (2, 3, 1, 2), (array("i", [7, 8]), None, array("i", [9]), None))

    def embeddings(self, pieces: Pieces, index: int) -> Embeddings:
        self.encoded += 1
        rows = np.arange(pieces.lengths[index], dtype=np.float32)[:, None]
        return np.float32(1_000 * pieces.handle + 100 * index) + rows + np.zeros((1, WIDTH), np.float32)


def png(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (2, 2), (shade, 0, 0)).save(out, "PNG")
    return out.getvalue()


def image(shade: int, *, place: str = PLACE, cache_mark: bool = False) -> ImagePart:
    return ImagePart(media_type="image/png", data=png(shade), place=place, cache_mark=cache_mark)


def request(*parts: Part) -> GenerationRequest:
    turns = (Turn(role=Role.USER, parts=parts),)
    return GenerationRequest(id=RequestId("r"), model=ModelId("m"), turns=turns, max_tokens=1)


def shown(pictures: Pictures, *parts: Part) -> tuple[Picture, ...]:
    return pictures.marked(request(*parts)).pictures


def result(*content: TextPart | ImagePart) -> ToolResultPart:
    return ToolResultPart(call_id=ToolCallId("toolu_1"), content=content)


def texts(parts: Iterable[Part]) -> list[str]:
    return [part.text for part in parts if isinstance(part, TextPart)]


def test_marks_take_the_place_of_images_and_of_nothing_else() -> None:
    said = (TextPart(text="a"), image(1, cache_mark=True), result(TextPart(text="b"), image(2)), TextPart(text="c"))
    marked = Pictures(FakeProjector()).marked(request(*said))
    parts = marked.request.turns[0].parts
    mark = TextPart(text=f"{marked.sign}0{marked.sign}", cache_mark=True)
    assert parts[:2] == (TextPart(text="a"), mark)
    assert parts[2] == result(TextPart(text="b"), TextPart(text=f"{marked.sign}1{marked.sign}"))
    assert parts[3] == TextPart(text="c")
    assert marked.pattern.findall("".join(texts(parts))) == ["0"]


def test_the_sign_stands_nowhere_in_the_request() -> None:
    said = TextPart(text="\ue000 and \ue001")
    assert Pictures(FakeProjector()).marked(request(said, image(1))).sign == "\ue002"


def test_a_request_without_images_stays_the_very_same() -> None:
    plain = request(TextPart(text="a"), result(TextPart(text="b")))
    marked = Pictures(None).marked(plain)
    assert marked.request is plain
    assert not marked.pictures
    assert not marked.pattern.search("0")


def test_a_picture_is_text_and_numbers_that_no_text_has() -> None:
    (picture,) = shown(Pictures(FakeProjector()), image(1))
    assert (list(picture.tokens[:2]), picture.tokens[5]) == ([7, 8], 9)
    stand_ins = [*picture.tokens[2:5], *picture.tokens[6:]]
    assert max(stand_ins) < 0
    assert len(set(stand_ins)) == 5
    assert [(span.start, span.stop, span.piece) for span in picture.spans(10)] == [(12, 15, 1), (16, 18, 3)]


def test_the_same_image_is_the_same_and_another_is_another() -> None:
    pictures = Pictures(FakeProjector())
    first, again, other = shown(pictures, image(1), image(1, place="elsewhere"), image(2))
    assert first.tokens == again.tokens
    assert not set(first.tokens[2:5]) & set(other.tokens[2:5])
    (fresh,) = shown(Pictures(FakeProjector()), image(1))
    assert fresh.tokens == first.tokens


def test_an_image_that_is_known_is_neither_decoded_nor_encoded_again() -> None:
    projector = FakeProjector()
    pictures = Pictures(projector)
    for _ in range(2):
        (picture,) = shown(pictures, image(1))
        for span in picture.spans(0):
            pictures.embeddings(span, span.start, span.stop)
    assert (projector.split, projector.encoded) == (1, 2)


def test_embeddings_are_those_of_their_positions() -> None:
    pictures = Pictures(FakeProjector())
    (picture,) = shown(pictures, image(3))
    first, second = picture.spans(10)
    assert pictures.embeddings(first, 13, 15)[:, 0].tolist() == [3_101, 3_102]
    assert pictures.embeddings(second, 16, 17)[:, 0].tolist() == [3_300]


def test_a_span_carries_all_that_its_embeddings_are_made_of() -> None:
    """A prefix may be evicted long after its image was seen, and be computed anew."""
    (picture,) = shown(Pictures(FakeProjector()), image(3))
    span = next(iter(picture.spans(0)))
    assert Pictures(FakeProjector()).embeddings(span, 2, 3)[0, 0] == 3_100


def test_without_a_projector_a_users_image_is_refused_with_what_to_do() -> None:
    with pytest.raises(RequestRefusedError, match=rf"^{PLACE}: Could not process image: .* --projector$"):
        Pictures(None).marked(request(image(1)))


def test_without_a_projector_a_tools_image_is_told_of() -> None:
    """Claude Code's Read sends what it finds; the session must go on."""
    marked = Pictures(None).marked(request(result(TextPart(text="read:"), image(1, cache_mark=True))))
    (said,) = marked.request.turns[0].parts
    assert isinstance(said, ToolResultPart)
    assert "cannot see images" in texts(said.content)[1]
    assert said.content[1].cache_mark
    assert not marked.pictures


@pytest.mark.parametrize("place", [PLACE, ""])
def test_a_broken_image_is_refused_at_its_place(place: str) -> None:
    broken = ImagePart(media_type="image/png", data=png(1)[:-30], place=place)
    with pytest.raises(RequestRefusedError) as caught:
        Pictures(FakeProjector()).marked(request(broken))
    assert caught.value.message.startswith(
        f"{place}: Could not process image: " if place else "Could not process image"
    )


def test_an_image_of_which_the_projector_makes_nothing_is_refused() -> None:
    with pytest.raises(RequestRefusedError, match="Could not process image: too odd"):
        Pictures(FakeProjector(fails=True)).marked(request(image(1)))


def test_the_projector_is_freed() -> None:
    projector = FakeProjector()
    Pictures(projector).close()
    Pictures(None).close()
    assert projector.closed


def test_spans_compare_by_what_they_show() -> None:
    one, other = (ImageSpan(start=0, stop=1, image=image(1), digest=digest, piece=0) for digest in (b"a", b"b"))
    assert one != other
