from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.footprint import Footprint, total

footprints = st.builds(Footprint, ram=st.integers(0, 99), gpu=st.integers(0, 99))


@given(footprints, footprints)
def test_what_fits_leaves_the_rest_and_what_does_not_lacks_something(one: Footprint, room: Footprint) -> None:
    assert one.fits(room) == (one.ram <= room.ram and one.gpu <= room.gpu)
    assert one.fits(room) == ((room - one) + one == room)
    assert bool(one - room) != one.fits(room)


@given(footprints, footprints)
def test_what_two_have_in_common_fits_into_both_and_both_into_the_most_of_them(
    one: Footprint, other: Footprint
) -> None:
    common, most = one.common(other), one.most(other)
    assert one.fits(most)
    assert other.fits(most)
    assert common + most == one + other
    assert common.fits(one)
    assert common.fits(other)
    assert common in (one, other) or not (one.fits(other) or other.fits(one))


@given(st.lists(footprints))
def test_all_together_are_the_sum_of_each(several: list[Footprint]) -> None:
    assert total(several) == Footprint(ram=sum(f.ram for f in several), gpu=sum(f.gpu for f in several))
    assert bool(total(several)) == any(several)
