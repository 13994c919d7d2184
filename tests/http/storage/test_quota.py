"""Room, counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import FileTooLargeError, StorageFullError
from pensieve_http.storage.quota import Quota
from pensieve_inference import FileLimits

LIMITS = FileLimits(max_file_bytes=100, max_total_bytes=150)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 130) | st.none()), max_size=40), st.integers(0, 60))
def test_uploads_side_by_side_never_exceed_the_whole(steps: list[tuple[str, int | None]], kept: int) -> None:
    quota, sizes = Quota(LIMITS), dict[str, int]()
    quota.kept = kept
    for upload, size in steps:
        if size is None:
            quota.release(upload)
            sizes.pop(upload, None)
            continue
        fits = kept + sum(sizes.values()) - sizes.get(upload, 0) + size <= 150
        if size <= 100 and fits:
            quota.grow(upload, size)
            sizes[upload] = size
        else:
            with pytest.raises(StorageFullError if size <= 100 else FileTooLargeError):
                quota.grow(upload, size)
