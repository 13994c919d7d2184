"""How parts are chosen and joined; what the parts do is tested where they live."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pensieve_cli.composition import build_catalog, compose
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.settings import (
    AccessSettings,
    EngineSettings,
    MemorySettings,
    ModelSettings,
    Secret,
    Settings,
    StorageSettings,
)
from pensieve_core import ModelId, ModelNotFoundError
from pensieve_gguf import GgufProvider, GgufSettings
from pensieve_http.testing import AppClient
from pensieve_inference.testing import FakeClock, InMemoryCatalog, ScriptedEngine, ScriptedProvider, make_descriptor
from pensieve_registry.testing import write_chat_model

InstallEngine = Callable[[str, str], None]


@pytest.fixture
def install_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallEngine:
    """Install a distribution with one engine, as a stranger's package would be."""

    def install(name: str, source: str) -> None:
        folder = tmp_path / "site"
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[pensieve.engines]\n{name} = {name}_engine:create\n")
        (folder / f"{name}_engine.py").write_text(source)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, f"{name}_engine", raising=False)

    return install


_STRANGER = """
import attrs
from pensieve_core import Clock
from pensieve_inference.testing import ScriptedProvider

@attrs.frozen(kw_only=True)
class StrangerSettings:
    context_tokens: int = 1
    max_running: int = 2

class StrangerProvider(ScriptedProvider):
    def __init__(self, settings, clock):
        super().__init__()
        self.settings, self.clock = settings, clock

def create(settings: StrangerSettings, clock: Clock) -> StrangerProvider:
    return StrangerProvider(settings, clock)
"""


def test_all_parts_can_be_given() -> None:
    catalog, engines, clock = InMemoryCatalog(), ScriptedProvider(), FakeClock()
    application = compose(Settings(), catalog=catalog, engines=engines, clock=clock)
    assert (application.catalog, application.engines, application.clock) == (catalog, engines, clock)
    assert application.keys == 0


def test_keys_are_counted() -> None:
    settings = Settings(access=AccessSettings(api_key=(Secret("sk-1"), Secret("sk-2"))))
    assert compose(settings, catalog=InMemoryCatalog(), engines=ScriptedProvider()).keys == 2


def test_the_usual_engine_is_the_one_on_gguf() -> None:
    assert isinstance(compose(Settings(), catalog=InMemoryCatalog()).engines, GgufProvider)


def test_a_strangers_engine_is_found_by_name_and_told_what_the_user_has_set(install_engine: InstallEngine) -> None:
    install_engine("stranger", _STRANGER)
    clock = FakeClock()
    settings = Settings(engine=EngineSettings(engine="stranger", ctx=99))
    engines = compose(settings, catalog=InMemoryCatalog(), clock=clock).engines
    assert getattr(engines, "clock", None) is clock
    told = getattr(engines, "settings", None)
    assert (told.context_tokens, told.max_running) == (99, 2)  # type: ignore[union-attr]


def test_what_an_engine_cannot_be_told_is_an_error_and_not_ignored(install_engine: InstallEngine) -> None:
    install_engine("stranger", _STRANGER)
    settings = Settings(engine=EngineSettings(engine="stranger", gpu_layers=3))
    with pytest.raises(CommandError, match="cannot be told its gpu_layers") as refused:
        compose(settings, catalog=InMemoryCatalog())
    assert refused.value.exit_code is ExitCode.USAGE


def test_drafts_are_the_engines_choice_unless_the_user_forbids_them() -> None:
    told = [
        getattr(compose(Settings(engine=engine), catalog=InMemoryCatalog()).engines, "_settings", None)
        for engine in (EngineSettings(), EngineSettings(no_drafts=True))
    ]
    assert [settings and settings.drafts for settings in told] == [True, False]


def test_the_memory_that_models_share_reaches_the_engine() -> None:
    catalog = InMemoryCatalog(make_descriptor("one"), make_descriptor("two"), aliases={"second": ModelId("two")})
    memory = MemorySettings(
        memory_budget=1 << 33,
        gpu_memory_budget=1 << 34,
        pinned=("second",),
        idle_unload_seconds=60.0,
        residence_seconds=0.0,
    )
    application = compose(Settings(memory=memory), catalog=catalog)
    told = getattr(application.engines, "_settings", None)
    assert isinstance(told, GgufSettings)
    assert told.gpu_memory_budget_bytes == 1 << 34
    assert (told.memory_budget_bytes, told.idle_unload_s, told.residence_s) == (1 << 33, 60.0, 0.0)
    assert [model.id for model in application.pinned] == ["two"]


def test_an_unknown_model_cannot_be_pinned() -> None:
    with pytest.raises(ModelNotFoundError, match="nobody"):
        compose(Settings(memory=MemorySettings(pinned=("nobody",))), catalog=InMemoryCatalog())


def test_a_switch_that_the_engine_refuses_something_beside_is_told_without_a_value() -> None:
    with pytest.raises(CommandError, match=r"^--parallel 99 --no-drafts: the engine gguf refuses it"):
        compose(Settings(engine=EngineSettings(parallel=99, no_drafts=True)), catalog=InMemoryCatalog())


def test_a_setting_that_the_engine_refuses_is_told_as_the_user_gave_it() -> None:
    """`--parallel 0` is refused before by the command line; how many are too many only the engine knows."""
    with pytest.raises(CommandError, match=r"^--parallel 99: the engine gguf refuses it: .*max_running") as refused:
        compose(Settings(engine=EngineSettings(parallel=99)), catalog=InMemoryCatalog())
    assert refused.value.exit_code is ExitCode.USAGE


class ProviderWithModels(ScriptedProvider, InMemoryCatalog):
    """Its models are no files of this machine."""

    def __init__(self) -> None:
        ScriptedProvider.__init__(self)
        InMemoryCatalog.__init__(self)


def test_a_provider_that_knows_its_own_models_is_the_catalog_unless_another_is_given() -> None:
    engines = ProviderWithModels()
    assert compose(Settings(), engines=engines).catalog is engines
    catalog = InMemoryCatalog()
    assert compose(Settings(), engines=engines, catalog=catalog).catalog is catalog


def test_an_unknown_engine_is_told_with_those_that_are_installed() -> None:
    with pytest.raises(CommandError, match=r"--engine onnx.*installed: gguf") as refused:
        compose(Settings(engine=EngineSettings(engine="onnx")), catalog=InMemoryCatalog())
    assert refused.value.exit_code is ExitCode.USAGE


def test_an_engine_that_cannot_be_loaded_is_told_with_the_reason(install_engine: InstallEngine) -> None:
    install_engine("torn", "import a_library_that_is_missing\n")
    with pytest.raises(CommandError, match="a_library_that_is_missing") as refused:
        compose(Settings(engine=EngineSettings(engine="torn")), catalog=InMemoryCatalog())
    assert refused.value.exit_code is ExitCode.FAILURE


def test_models_are_looked_for_in_the_models_folder(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "m" / "mine.gguf")
    assert build_catalog(ModelSettings(models_folder=tmp_path / "m")).models()[0].id == "mine"


def test_a_file_can_be_the_default_model_wherever_it_lies(model_file: Path, tmp_path: Path) -> None:
    write_chat_model(tmp_path / "m" / "mine.gguf")
    catalog = build_catalog(ModelSettings(model=str(model_file), models_folder=tmp_path / "m"))
    assert [model.id for model in catalog.models()][:2] == ["tiny", "mine"]


@pytest.mark.parametrize("content", [None, b"GGUF and nothing more"])
def test_a_file_that_cannot_be_served_is_refused_rather_than_replaced_by_another(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "broken.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError, match=r"broken\.gguf") as refused:
        build_catalog(ModelSettings(model=str(file)))
    assert refused.value.exit_code is ExitCode.NOT_FOUND


def test_the_default_model_sees_by_the_projector_that_is_named(model_file: Path, tmp_path: Path) -> None:
    eyes = write_chat_model(tmp_path / "eyes.gguf", {"general.architecture": "clip", "general.type": "mmproj"})
    (first, *_) = build_catalog(ModelSettings(model=str(model_file), projector=eyes)).models()
    assert (first.projector, first.capabilities.images) == (eyes, True)


@pytest.mark.parametrize("there", [True, False])
def test_what_is_no_projector_is_refused(model_file: Path, tmp_path: Path, *, there: bool) -> None:
    named = model_file if there else tmp_path / "missing.gguf"
    with pytest.raises(CommandError, match=r"--projector .*\.gguf: ") as refused:
        build_catalog(ModelSettings(projector=named))
    assert refused.value.exit_code is ExitCode.NOT_FOUND


def test_the_default_model_has_the_draft_model_that_is_named(model_file: Path, tmp_path: Path) -> None:
    small = write_chat_model(tmp_path / "m" / "small.gguf")
    for wanted in (str(small), "small"):
        settings = ModelSettings(model=str(model_file), models_folder=tmp_path / "m", draft_model=wanted)
        (first, *_) = build_catalog(settings).models()
        assert first.draft is not None
        assert (first.draft.path, first.draft.named) == (small, True)
    (first, *_) = build_catalog(ModelSettings(model=str(model_file), draft_model="none")).models()
    assert first.draft is None


@pytest.mark.parametrize("wanted", ["nobody", "missing.gguf"])
def test_a_draft_model_that_is_not_there_is_told_at_the_start(model_file: Path, wanted: str) -> None:
    with pytest.raises(CommandError, match=rf"^--draft-model {wanted}: ") as refused:
        build_catalog(ModelSettings(model=str(model_file), draft_model=wanted))
    assert refused.value.exit_code is ExitCode.NOT_FOUND


def test_a_model_can_be_the_default_by_its_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_chat_model(tmp_path / "m" / f"{name}.gguf")
    for name in ("one", "two"):
        assert build_catalog(ModelSettings(model=name, models_folder=tmp_path / "m")).models()[0].id == name


def test_an_unknown_default_model_is_told_with_the_known_ones(tmp_path: Path) -> None:
    write_chat_model(tmp_path / "m" / "mine.gguf")
    with pytest.raises(ModelNotFoundError, match="mine"):
        build_catalog(ModelSettings(model="nobody", models_folder=tmp_path / "m")).models()


def test_what_clients_upload_lies_in_the_data_folder(tmp_path: Path) -> None:
    """XDG_DATA_HOME is the test's (conftest); nothing is created before something is to be kept."""
    assert StorageSettings().folder == tmp_path / "data" / "pensieve"
    assert StorageSettings(data_dir=Path("~/mine")).folder == Path.home() / "mine"
    application = compose(Settings(), catalog=InMemoryCatalog(), engines=ScriptedProvider(ScriptedEngine()))
    assert not application.database.exists


async def test_files_are_taken_up_to_the_quota_that_is_set(tmp_path: Path) -> None:
    settings = Settings(storage=StorageSettings(data_dir=tmp_path / "kept", files_bytes=3))
    application = compose(settings, catalog=InMemoryCatalog(), engines=ScriptedProvider(ScriptedEngine()))
    client = AppClient(application.app, headers={"content-type": "multipart/form-data; boundary=xyz"})
    head = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    try:
        replies = [await client.post("/v1/files", body=head + data + b"\r\n--xyz--\r\n") for data in (b"abc", b"d")]
    finally:
        await application.database.aclose()
    assert [reply.status for reply in replies] == [200, 400]
    assert (tmp_path / "kept" / "files" / replies[0].json()["id"]).read_bytes() == b"abc"
