"""Records what the real Claude Code sends, for the scenarios to replay. By hand, when Claude Code has changed:

    .venv/bin/python tests/benchmarks/record.py conversation --claude PATH --url http://127.0.0.1:8000
    .venv/bin/python tests/benchmarks/record.py heads        --claude PATH --url http://127.0.0.1:8000

`PATH` is the native program (`make e2e` installs one below .build/e2e). The server at `--url` should hold the Qwen
coder for `conversation`; for `heads` anything that answers 25,000 tokens (the scripted engine of tests/e2e does).

Stands between the two as a proxy, keeps each request's body, blanks what tells of this machine, and writes
recordings/NAME.json.xz. Knows nothing of what is made of the recordings.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
from recordings import Recording, blanked, save

__all__ = ["FILES", "harmless", "main_requests", "record_conversation", "record_heads", "recording"]

_TURN_S = 600
_POLL_S = 0.02
FILES = {
    "inventory.py": (
        '"""What is on the shelf."""\n\nSTOCK = {"apples": 7, "pears": 3, "plums": 12}\n\n\n'
        "def count(name):\n    return STOCK[name]\n\n\ndef total():\n    return sum(STOCK.values())\n"
    ),
    "orders.py": (
        '"""Orders of the day."""\n\nfrom inventory import count\n\n\ndef can_serve(name, wanted):\n'
        "    return count(name) > wanted\n"
    ),
    "README.md": "# Shop\n\nA toy shop: `inventory.py` counts, `orders.py` serves.\n\nRun `python -m pytest`.\n",
    "notes.txt": "Monday: pears are late.\nTuesday: plums came.\nWednesday: count the apples again.\n",
}
_PROMPTS = (
    "Use the Bash tool to run ls, then use the Read tool to read inventory.py, and tell me what it holds.",
    "Use the Read tool to read orders.py and tell me what is wrong in can_serve.",
    "Use the Bash tool to run: cat notes.txt",
    "Use the Bash tool to run: wc -l inventory.py orders.py README.md notes.txt",
    "Use the Read tool to read README.md and say in one sentence what this is.",
    "Use the Bash tool to run: grep -n def inventory.py orders.py",
    "Use the Bash tool to run: python3 -c 'import inventory; print(inventory.total())'",
)
_WANTED_TURNS = 10
_QUIET_START = {"CLAUDE_CODE_ATTRIBUTION_HEADER": "0", "CLAUDE_CODE_TOTAL_TOKENS_REMINDER": "off"}
"""What design 4 has a launcher set, beside the flag below."""


class _Recorder(ThreadingHTTPServer):
    """A proxy in front of `upstream` that keeps the bodies of what is posted."""

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Proxy)
        self.upstream = upstream
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []


class _Proxy(BaseHTTPRequestHandler):
    """Passes a request on, keeps its body, and passes the answer back as it comes."""

    server: _Recorder
    protocol_version = "HTTP/1.0"  # an answer ends where its connection does

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.server.bodies.append(json.loads(body))
        self._pass_on(body)

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_HEAD(self) -> None:
        self._pass_on(None)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""

    def _pass_on(self, body: bytes | None) -> None:
        kept = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "connection"}}
        url = self.server.upstream + self.path
        request = urllib.request.Request(url, body, kept, method=self.command)
        try:
            answer = urllib.request.urlopen(request, timeout=_TURN_S)
        except urllib.error.HTTPError as error:
            answer = error
        with answer, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers.get("content-type", "application/json"))
            self.end_headers()
            while piece := answer.read1(1 << 16):
                self.wfile.write(piece)
                self.wfile.flush()


@contextlib.contextmanager
def recording(upstream: str, headers: list[dict[str, str]] | None = None) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run the proxy; yields its URL, and the bodies as they come. Their headers, in lower case, go to `headers`."""
    server = _Recorder(upstream)
    server.headers = server.headers if headers is None else headers
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@attrs.frozen(kw_only=True)
class _Claude:
    """The real Claude Code in a home of its own; nothing is set that changes how it talks to a server."""

    program: Path
    home: Path
    url: str

    def run(self, work: Path, prompt: str, *arguments: str, **more: str) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TERM": "dumb",
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "dummy",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            **more,
        }
        command = [str(self.program), "-p", prompt, *arguments]
        subprocess.run(command, cwd=work, env=environment, stdin=subprocess.DEVNULL, timeout=_TURN_S, check=False)


def _folder(root: Path, name: str, files: Mapping[str, str], *, git: bool = False) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(text)
    if git:
        author = ("-c", "user.name=user", "-c", "user.email=user@localhost")
        for command in (("init", "-q", "-b", "main"), ("add", "."), (*author, "commit", "-q", "-m", "Begin")):
            subprocess.run(("git", *command), cwd=folder, check=True)
    return folder


def main_requests(bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the requests of the conversation itself: title calls and their kin bring no tools."""
    return [body for body in bodies if body.get("tools") and body.get("stream")]


def record_conversation(claude: Path, upstream: str, root: Path) -> Recording:
    """Let Claude Code work in a folder of small files until it has asked ten times."""
    work = _folder(root, "project", FILES)
    with recording(upstream) as (url, bodies):
        program = _Claude(program=claude, home=_folder(root, "home", {}), url=url)
        for number, prompt in enumerate(_PROMPTS):
            resumed = ("--continue",) if number else ()
            program.run(work, prompt, *resumed, "--bare", "--allowedTools", "Bash,Read", "--max-turns", "4")
            print(f"  {len(main_requests(bodies))} requests", flush=True)
            if len(main_requests(bodies)) >= _WANTED_TURNS:
                break
    return blanked({"conversation": main_requests(bodies)}, paths=harmless(root))


def record_heads(claude: Path, upstream: str, root: Path) -> Recording:
    """Record the first request of two conversations in different folders; as it comes, and with design 4's flags."""
    folders = {
        "shop": _folder(root, "shop", FILES, git=True),
        "library": _folder(root, "library", {"main.py": "print('books')\n", "AUTHORS": "Ann\n"}),
    }
    first: dict[str, list[dict[str, Any]]] = {}
    for kind, flags, variables in (
        ("plain", (), {}),
        ("flags", ("--exclude-dynamic-system-prompt-sections",), _QUIET_START),
    ):
        for name, folder in folders.items():
            with recording(upstream) as (url, bodies):
                home = _folder(root, f"{kind}-{name}/home", {})
                _Claude(program=claude, home=home, url=url).run(folder, "What is in this folder?", *flags, **variables)
            first[f"{kind}-{name}"] = main_requests(bodies)[:1]
    return blanked(first, paths=harmless(root))


def harmless(root: Path) -> dict[str, str]:
    """Return what stands for this machine's folders: Claude Code also writes them with dashes."""
    return {str(root): "/home/user", str(root).replace("/", "-").replace("_", "-"): "-home-user"}


def main() -> None:
    """Record one kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("conversation", "heads"))
    parser.add_argument("--claude", type=Path, required=True)
    parser.add_argument("--url", required=True)
    options = parser.parse_args()
    kinds = {"conversation": record_conversation, "heads": record_heads}
    with tempfile.TemporaryDirectory() as root:
        save(options.kind, kinds[options.kind](options.claude, options.url, Path(root)))


if __name__ == "__main__":
    main()
