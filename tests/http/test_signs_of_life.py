from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pensieve_http.signs_of_life import Sign, SignsOfLife


def _signs() -> SignsOfLife:
    return SignsOfLife(100.0, interval_s=10, keep_alive_after_s=30)


def test_nothing_is_due_before_the_interval_and_a_ping_after_it() -> None:
    signs = _signs()
    assert signs.due(109.9) is None
    assert signs.due(110.0) is Sign.PING


def test_once_the_wait_is_long_an_empty_delta_is_due_instead_of_a_ping() -> None:
    signs = _signs()
    signs.wrote(110.0, content=False)
    signs.wrote(120.0, content=False)
    assert signs.due(130.0) is Sign.KEEP_ALIVE


def test_content_makes_pings_do_again() -> None:
    signs = _signs()
    signs.wrote(129.0, content=True)
    assert signs.due(139.0) is Sign.PING


@given(
    steps=st.lists(st.tuples(st.floats(0, 40), st.booleans()), max_size=30),
    interval_s=st.floats(1, 20),
    keep_alive_after_s=st.floats(0, 100),
)
def test_whoever_looks_when_it_is_due_never_lets_a_silence_exceed_the_interval(
    steps: list[tuple[float, bool]], interval_s: float, keep_alive_after_s: float
) -> None:
    now = last_word = last_content = 0.0
    signs = SignsOfLife(now, interval_s=interval_s, keep_alive_after_s=keep_alive_after_s)
    for pause, content in steps:
        now += pause
        sign = signs.due(now)
        assert (sign is None) == (now < last_word + interval_s)
        assert sign is not Sign.PING or now - last_content < keep_alive_after_s
        if sign is None and not content:
            continue
        signs.wrote(now, content=content)
        last_word, last_content = now, now if content else last_content
