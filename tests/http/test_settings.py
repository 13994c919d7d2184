from __future__ import annotations

import hashlib

import pytest

from pensieve_http import ApiKey, HttpSettings


def test_a_key_is_kept_as_its_hash_alone() -> None:
    key = ApiKey.from_plain("sk-secret", name="laptop")
    assert key.digest == hashlib.sha256(b"sk-secret").digest()
    assert "secret" not in repr(key)
    assert key.digest.hex() not in repr(HttpSettings(api_keys=(key,)))


def test_a_hashed_key_is_the_same_key() -> None:
    hashed = hashlib.sha256(b"sk-secret").hexdigest()
    assert ApiKey.from_hex(hashed, name="a") == ApiKey.from_plain("sk-secret", name="a")


@pytest.mark.parametrize("digest", ["", "abcd", "zz" * 32])
def test_what_is_no_sha256_is_refused(digest: str) -> None:
    with pytest.raises(ValueError, match=r"sha256|hexadecimal"):
        ApiKey.from_hex(digest)
