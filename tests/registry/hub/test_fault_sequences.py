"""Any sequence of faults, over as many pulls as it takes: each ends with the right model or an error."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pensieve_registry import HubRef
from pensieve_registry.hub import Hub, HubStore, Patience, Pulled, PullError, plan_pull, pull
from pensieve_registry.testing import Fault

NAME = "m-Q4_0.gguf"
KIB = 1024
_PLACES = st.integers(min_value=0, max_value=40 * KIB)
_FAULTS = st.one_of(
    st.builds(Fault, status=st.sampled_from([408, 429, 500, 503, 400, 403])),
    st.builds(Fault, cut_after=_PLACES, silent_cut=st.booleans(), whole=st.booleans()),
    st.builds(Fault, corrupt_at=st.integers(min_value=0, max_value=30 * KIB)),
    st.builds(Fault, corrupt_at=st.integers(min_value=0, max_value=1000), cut_after=_PLACES),
    st.builds(Fault, shifted=st.integers(min_value=1, max_value=100)),
    st.builds(Fault, longer=st.binary(min_size=1, max_size=100)),
    st.builds(Fault, whole=st.just(value=True)),
)
_FRESH = itertools.count()


def _pull(hub: Hub, store: HubStore, ref: HubRef) -> Pulled:
    patience = Patience(pauses_s=(0.0,))
    return pull(plan_pull(hub, store, ref, patience=patience), hub, store, on_event=lambda _: None, patience=patience)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(_FAULTS, max_size=8))
def test_no_sequence_of_faults_names_a_wrong_model(
    server: Any, make_model: Any, tmp_path: Path, faults: list[Fault]
) -> None:
    number = next(_FRESH)
    content = make_model(32, seed=number)
    server.add(f"owner/m{number}", {NAME: content})
    hub, store = Hub(endpoint=server.url, patience_s=5.0), HubStore(tmp_path / str(number))
    server.upset(NAME, *faults)
    for _ in range(len(faults) + 1):
        try:
            path = _pull(hub, store, HubRef(owner="owner", name=f"m{number}")).path
        except PullError:
            named = store.folder.glob("models--*/snapshots/*/*")
            blobs = [blob for blob in store.folder.glob("models--*/blobs/*") if blob.suffix != ".incomplete"]
            assert [*named, *blobs] == []
        else:
            assert path.read_bytes() == content
            server.calm(NAME)
            return
    raise AssertionError(faults)
