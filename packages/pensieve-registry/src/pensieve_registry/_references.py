"""Which model somebody means: one typed reference for every command, parsed strictly. Pure.

    Qwen/Qwen3-8B-GGUF:Q4_K_M                    a repository of the hub, and one of its quantisations
    Qwen/Qwen3-8B-GGUF@7c41481f:Q4_K_M           … at one revision (a commit, a tag or a branch)
    Qwen/Qwen3-8B-GGUF:Qwen3-8B-Q4_K_M.gguf      … one file of it
    https://huggingface.co/Qwen/Qwen3-8B-GGUF    the same, as a browser shows it; hf.co/… and huggingface.co/… too
    ./here/model.gguf   model.gguf   ~/a-folder  a path: it ends in .gguf, or begins with /, ./, ../ or ~
    qwen3-8b   my-alias   qwen3-8b:Q8_0          a name: an id, an alias or an entry of the curated catalog

A word with one slash is a repository; a folder of that shape is written with `./` before it. What a reference consists
of has been checked, so that it may become a part of a URL or, as a folder's name, of a path. So must whatever a server
tells us: `checked_file_name` is the only way to a `HubFile`, and nothing else that is remote is joined into a path.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NewType, TypeAlias
from urllib.parse import unquote

import attrs

from pensieve_core import PensieveError

__all__ = [
    "HubFile",
    "HubRef",
    "InvalidReferenceError",
    "ModelRef",
    "NameRef",
    "PathRef",
    "UnsafeFileNameError",
    "checked_file_name",
    "file_named",
    "parse_ref",
]

HubFile = NewType("HubFile", str)
"""A path inside a repository that has passed `checked_file_name`: relative, with `/` between its parts."""

_SUFFIX = ".gguf"
_REFERENCE_LENGTH, _PART_LENGTH, _FILE_LENGTH, _FILE_DEPTH = 512, 255, 512, 8
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of what stands beside them."""
_RESERVED = re.compile(r'[\\:*?"<>|]')
"""What separates or means something else on one system or another."""
_WEB = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://", re.IGNORECASE)
_PAGE = re.compile(r"(?P<repository>[^/]+/[^/]+)/(?P<kind>tree|blob|resolve)/(?P<revision>[^/]+)(?:/(?P<file>.+))?")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
"""The hub's rule: 96 characters of `[A-Za-z0-9_.-]`, no `-` or `.` at an end (huggingface_hub, `_validators.py`)."""
_REPOSITORY = re.compile(rf"(?P<owner>{_LABEL})/(?P<name>{_LABEL})(?:@(?P<revision>[^:@]+))?(?::(?P<selector>.+))?")
_REPOSITORY_FILE = re.compile(rf"{_LABEL}/{_LABEL}(?:@[^:@/]+)?:.+")
_REVISION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?")
_NAME = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._+-]{0,127})(?::(?P<quantization>.+))?")
_QUANTIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,47}")


class InvalidReferenceError(PensieveError):
    """It is no reference to a model. `text` is what it was, and `reason` why."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text!r} is no model: {reason}")
        self.text = text
        self.reason = reason


class UnsafeFileNameError(PensieveError):
    """A repository holds a file whose name must not reach this disk. `name` is as the server gave it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the file name {name[:_FILE_LENGTH]!r} is refused: {reason}")
        self.name = name
        self.reason = reason


@attrs.frozen(kw_only=True)
class HubRef:
    """A repository of the Hugging Face hub. Of `quantization` and `file`, at most one is given."""

    type: Literal["hub"] = "hub"
    owner: str
    name: str
    revision: str | None = None
    """None: the repository's main branch."""
    quantization: str | None = None
    """In upper case, as files say it: "Q4_K_M"."""
    file: HubFile | None = None

    @property
    def repository(self) -> str:
        """Return `owner/name`."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        selector = self.file or self.quantization
        text = f"{self.repository}{revision}" + (f":{selector}" if selector else "")
        return f"hf.co/{text}" if _is_path(text) or _WEB.match(text) else text


@attrs.frozen(kw_only=True)
class PathRef:
    """A file or a folder of this machine, as the user wrote it; there or not."""

    type: Literal["path"] = "path"
    path: Path

    def __str__(self) -> str:
        text = str(self.path)
        return text if _is_path(text) and not _WEB.match(text) else f"./{text}"


@attrs.frozen(kw_only=True)
class NameRef:
    """A name that a catalog resolves: an id, an alias, a curated entry."""

    type: Literal["name"] = "name"
    name: str
    quantization: str | None = None
    """In upper case."""

    def __str__(self) -> str:
        return f"{self.name}:{self.quantization}" if self.quantization else self.name


ModelRef: TypeAlias = HubRef | PathRef | NameRef


def parse_ref(text: str) -> ModelRef:
    """Return what `text` refers to, by its form alone: nothing is looked up, `~` stays as it is.

    Raises:
        InvalidReferenceError: it has none of the forms above.
    """
    _check_text(text)
    web = _WEB.match(text)
    if web is not None:
        return _page(text, text[web.end() :])
    if _is_path(text):
        return PathRef(path=Path(text))
    return _hub(text, text) if "/" in text else _name(text)


def file_named(text: str) -> Path | None:
    """Return the GGUF file of this machine that `text` names, there or not; None: it is another reference, or none."""
    if not text.lower().endswith(_SUFFIX):
        return None
    try:
        reference = parse_ref(text)
    except InvalidReferenceError:
        return Path(text)
    return None if isinstance(reference, HubRef) else Path(text)


def checked_file_name(name: str) -> HubFile:
    r"""Return `name`, the path of a file in a repository, when it is safe below a folder on any system.

    Refused: absolute paths, `..`, `.`, empty parts, backslashes, control characters, `: * ? " < > |`, parts that begin
    with a dot or `~`, or end with a dot or a blank, and anything longer or deeper than a file system takes.

    Raises:
        UnsafeFileNameError: it is not.
    """
    parts = name.split("/")
    if not name or len(name.encode("utf-8", "replace")) > _FILE_LENGTH or len(parts) > _FILE_DEPTH:
        raise UnsafeFileNameError(name, f"it is empty, longer than {_FILE_LENGTH} bytes or deeper than {_FILE_DEPTH}")
    for part in parts:
        reason = _why_unsafe(part)
        if reason:
            raise UnsafeFileNameError(name, reason)
    return HubFile(name)


def _why_unsafe(part: str) -> str | None:
    if not part:
        return "it is absolute, or has an empty part"
    if part.startswith((".", "~")) or part.endswith((".", " ")):
        return f"its part {part!r} begins or ends with what a file system may read as something else"
    if _CONTROL.search(part) or _RESERVED.search(part) or not part.isprintable():
        return f"its part {part!r} holds a character that no file name should"
    if len(part.encode("utf-8", "replace")) > _PART_LENGTH:
        return f"a part of it is longer than {_PART_LENGTH} bytes"
    return None


def _check_text(text: str) -> None:
    if not text or text != text.strip() or len(text) > _REFERENCE_LENGTH:
        raise InvalidReferenceError(text[:_REFERENCE_LENGTH], "it is empty, too long, or has blanks around it")
    if _CONTROL.search(text):
        raise InvalidReferenceError(text, "it holds control characters")


def _is_path(text: str) -> bool:
    if text in {".", ".."} or text.startswith(("/", "./", "../", "~")) or "\\" in text:
        return True
    return text.lower().endswith(_SUFFIX) and _REPOSITORY_FILE.fullmatch(text) is None


def _page(text: str, rest: str) -> HubRef:
    """Read what follows the hub's address: a reference, or a page of a file or of a revision."""
    rest = rest.partition("?")[0].partition("#")[0].rstrip("/")
    page = _PAGE.fullmatch(rest)
    if page is None:
        return _hub(text, rest)
    found = _hub(text, f"{page['repository']}@{unquote(page['revision'])}")
    return attrs.evolve(found, file=_file(text, unquote(page["file"]))) if page["file"] else found


def _hub(text: str, repository: str) -> HubRef:
    found = _REPOSITORY.fullmatch(repository)
    if found is None or any("--" in part or ".." in part for part in (found["owner"], found["name"])):
        raise InvalidReferenceError(
            text, "a repository is OWNER/NAME, with :QUANT behind it perhaps; a path ends in .gguf or begins with ./"
        )
    selector = found["selector"]
    is_file = selector is not None and selector.lower().endswith(_SUFFIX)
    return HubRef(
        owner=found["owner"],
        name=found["name"],
        revision=_revision(text, found["revision"]),
        quantization=None if is_file else _quantization(text, selector),
        file=_file(text, selector) if is_file else None,
    )


def _name(text: str) -> NameRef:
    found = _NAME.fullmatch(text)
    if found is None:
        raise InvalidReferenceError(text, "a name consists of letters, digits, '.', '_', '+' and '-'")
    return NameRef(name=found["name"], quantization=_quantization(text, found["quantization"]))


def _revision(text: str, revision: str | None) -> str | None:
    if revision is not None and (_REVISION.fullmatch(revision) is None or ".." in revision):
        raise InvalidReferenceError(text, f"{revision!r} is no revision")
    return revision


def _quantization(text: str, quantization: str | None) -> str | None:
    if quantization is None:
        return None
    if _QUANTIZATION.fullmatch(quantization) is None:
        raise InvalidReferenceError(text, f"{quantization!r} is no quantisation")
    return quantization.upper()


def _file(text: str, name: str) -> HubFile:
    try:
        return checked_file_name(name)
    except UnsafeFileNameError as error:
        raise InvalidReferenceError(text, error.message) from error
