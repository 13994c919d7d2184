"""What a person can set: one value class per concern.

Knows names, types, defaults and limits. Does not know where values come from (`command_line` does) nor what is
made of them (`composition` does). A field's name is its flag (`drain_seconds`: `--drain-seconds`), its variable
(`PENSIEVE_DRAIN_SECONDS`) and its key in `pensieve.toml` (`drain-seconds`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import attrs
import platformdirs
from cyclopts import Parameter
from cyclopts.validators import Number

from pensieve_cli.sizes import read_size

__all__ = [
    "AccessSettings",
    "ApiSettings",
    "CacheSettings",
    "EngineSettings",
    "ListenSettings",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "MemorySettings",
    "ModelName",
    "ModelSettings",
    "Secret",
    "Settings",
    "StorageSettings",
]

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "pretty", "json"]

_Switch = Parameter(negative="")
_OneToken = Parameter(negative="", n_tokens=1, accepts_keys=False)
_Repeatable = Parameter(negative="")
_AtLeastOne = Parameter(validator=Number(gte=1))


def _asked_of_main(_: object) -> tuple[str, ...]:
    """Say nothing: `main` answers a shell before cyclopts is there (`model_completion`). This makes its script ask."""
    return ()


ModelName: TypeAlias = Annotated[str, Parameter(completer=_asked_of_main)]
"""What a shell completes to the name of a model."""


@attrs.frozen
class Secret:
    """A text that shows itself to nobody who does not ask for it by name."""

    _text: str = attrs.field(repr=False)

    def reveal(self) -> str:
        """Return the text. Never to be printed or logged."""
        return self._text

    def __str__(self) -> str:
        return "********"


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ListenSettings:
    """Where the server listens, and how it stops."""

    host: str = "127.0.0.1"
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65_535))] = 8000
    """0: any free port; the banner says which."""
    drain_seconds: Annotated[float, Parameter(validator=Number(gte=0, lte=3_600))] = 30.0
    """How long running answers may go on after a signal to stop; then they end with an error."""
    idle_exit_seconds: Annotated[float | None, Parameter(validator=Number(gte=0))] = None
    """When nobody has asked anything for so long, the server stops, as after a signal. 0: never. None: never, but an
    hour for a server that `pensieve-server claude` starts."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class AccessSettings:
    """Who may use the server."""

    api_key: Annotated[tuple[Secret, ...], _OneToken] = ()
    api_key_file: Path | None = None
    """One key a line; empty lines and lines that start with # do not count."""
    allow_host: Annotated[tuple[str, ...], _Repeatable] = ()
    """Names that clients may call this server by (the `Host` header), besides loopback's and `host`."""
    allow_origin: Annotated[tuple[str, ...], _Repeatable] = ()
    """Web pages that may call this server (the `Origin` header)."""
    unsafe_no_key: Annotated[bool, _Switch] = False
    """Listen beyond this machine without any key, on the user's own risk."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ApiSettings:
    """How requests are taken."""

    strict: Annotated[bool, _Switch] = False
    """Refuse fields and betas that are not known instead of ignoring them, and a `max_tokens` that may not fit instead
    of answering with what is left; for those who write clients."""

    @property
    def signing_key_file(self) -> Path:
        """Where the key is kept that signs reasoning, there or not."""
        return platformdirs.user_data_path("pensieve") / "signing.key"


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ModelSettings:
    """Which models there are."""

    model: ModelName | None = None
    """The default model: an id, an alias, or the path of a GGUF file. None: the catalog's choice."""
    models_folder: Path = Path("models")
    projector: Path | None = None
    """The file (mmproj) by which the default model sees images. None: the one beside the model, if there is one."""
    draft_model: str | None = None
    """A smaller model of the same vocabulary that guesses ahead for the default model, where that pays: a name, or the
    path of a GGUF file. "none": no model is guessed for. None: the one that is found to fit, if memory has room."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class EngineSettings:
    """How models run. None: the engine fits it to the machine, and says how."""

    engine: str = "gguf"
    """Name of an entry point in the group `pensieve.engines`."""
    ctx: Annotated[int | None, _AtLeastOne] = None
    """Tokens that the prompt and the answer of one request may have together."""
    threads: Annotated[int | None, _AtLeastOne] = None
    gpu_layers: Annotated[int | None, Parameter(validator=Number(gte=-1))] = None
    """-1: all of them."""
    parallel: Annotated[int | None, _AtLeastOne] = None
    """Requests that are computed at the same time; further ones wait."""
    cells: Annotated[int | None, _AtLeastOne] = None
    """Tokens that all requests may have together in the KV cache, running and remembered."""
    kv_type: Literal["f16", "q8_0"] | None = None
    """Type of the cached keys and values; q8_0 halves their memory."""
    no_drafts: Annotated[bool, _Switch] = False
    """Compute no token before those ahead of it are known: the same answers, slower where drafts would pay."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class MemorySettings:
    """How several models share the memory."""

    memory_budget: Annotated[int | None, Parameter(converter=read_size, validator=Number(gte=1))] = None
    """Bytes of RAM for all loaded models together: `8GB`, `7.5GiB`. None: what is free when a model is to be loaded."""
    gpu_memory_budget: Annotated[int | None, Parameter(converter=read_size, validator=Number(gte=1))] = None
    """Likewise of GPU memory, all GPUs together. None: what is free there when the first model is loaded."""
    pinned: Annotated[tuple[ModelName, ...], _Repeatable] = ()
    """Models that are loaded at the start, and make no room for others."""
    idle_unload_seconds: Annotated[float | None, Parameter(validator=Number(gt=0))] = None
    """A model that nobody asked for so long is unloaded. None: only when another one needs the room."""
    residence_seconds: Annotated[float | None, Parameter(validator=Number(gte=0))] = None
    """So long a model stays at least, once it is loaded, whoever wants its room. None: 10."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class CacheSettings:
    """Where computed prompts are kept for the next start, and how much of them."""

    cache_dir: Path | None = None
    """None: `pensieve/anchors` in the platform's cache folder (`XDG_CACHE_HOME`, or `~/.cache`)."""
    cache_disk_bytes: Annotated[int | None, Parameter(validator=Number(gte=0))] = None
    """None: 20 GB, or a tenth of what is free, whichever is less. 0: nothing is kept on the disk."""
    cache_ram_bytes: Annotated[int | None, Parameter(validator=Number(gte=0))] = None
    """Prompts that had to leave the KV cache are kept in so much memory at most. None: 2 GiB, or less as it fits."""

    @property
    def folder(self) -> Path:
        """Where computed prompts are kept, there or not."""
        if self.cache_dir is not None:
            return self.cache_dir.expanduser()
        return platformdirs.user_cache_path("pensieve") / "anchors"


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class StorageSettings:
    """What is kept for clients: files and batches."""

    data_dir: Path | None = None
    """None: `pensieve` in the platform's data folder (`XDG_DATA_HOME`, or `~/.local/share`)."""
    files_bytes: Annotated[int | None, Parameter(validator=Number(gte=0))] = None
    """How much all uploaded files may have together. None: 10 GiB."""

    @property
    def folder(self) -> Path:
        """Where it is kept, there or not."""
        if self.data_dir is not None:
            return self.data_dir.expanduser()
        return platformdirs.user_data_path("pensieve")


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class LogSettings:
    """What is logged, and in which form. Bodies, prompts and keys never are."""

    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"
    """auto: pretty on a terminal, else JSON, one object a line."""


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be set."""

    listen: ListenSettings = ListenSettings()
    access: AccessSettings = AccessSettings()
    api: ApiSettings = ApiSettings()
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    memory: MemorySettings = MemorySettings()
    cache: CacheSettings = CacheSettings()
    storage: StorageSettings = StorageSettings()
    log: LogSettings = LogSettings()
