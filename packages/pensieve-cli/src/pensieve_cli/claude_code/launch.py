"""How Claude Code is started on a local model: variables, flags, settings; for one process and never in a file.

Pure: what is known of the server goes in, a `Launch` comes out. What each variable does was tried with Claude Code
2.1.197 and 2.1.330. Above: `launcher`, which starts it, and prints what is decided here.
"""

from __future__ import annotations

import enum
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence

import attrs

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode

__all__ = ["Launch", "Profile", "Target", "plan_launch", "profile_for", "shell_lines"]

NO_KEY = "none-needed"
"""Claude Code wants some token, or it asks the user to log in."""

_FULL_FROM, _LEAN_FROM, _LEAST = 49_152, 8_192, 2_048
"""Tokens of context. Claude Code's whole prompt has some 25,000, and it compacts 13,000 before the end of what an
answer leaves; with four tools it has 2,900, bare 900."""
_BUFFER, _BUFFER_SHARE = 13_000, 6
"""Claude Code compacts so many tokens before the end, whatever the context; here that may be one part in six of it."""
_ANSWER_SHARE, _LEAST_ANSWER, _LONGEST_ANSWER = 8, 1_024, 32_000
"""Of the context, one part in so many is kept free for an answer. Claude Code itself asks for 32,000."""
_LEAN_TOOLS = "Bash,Read,Edit,Write"
_LOOPBACK = "127.0.0.1,localhost,::1"
_HOUR_MS, _HALF_HOUR_MS = 3_600_000, 1_800_000


class Profile(enum.Enum):
    """How much of Claude Code's prompt is sent."""

    FULL = "full"
    LEAN = "lean"
    """Four tools and a short system prompt."""
    BARE = "bare"
    """Claude Code's own minimal mode: no hooks, no memory files."""


@attrs.frozen(kw_only=True)
class Target:
    """The server, and the model on it."""

    url: str
    token: str | None
    """A key that the server accepts; None: it asks for none."""
    model: str
    no_proxy: str = ""
    """Whom the user reaches without a proxy, by commas; the server is added."""
    context_tokens: int
    """What was fitted: prompt and answer of one request."""
    memory: bool = False
    """The user insists on Claude Code's memory of each folder."""


@attrs.frozen(kw_only=True)
class Launch:
    """A process to be."""

    environment: Mapping[str, str]
    """To be set for it, the empty ones too: they blot out what a cloud session would use."""
    arguments: tuple[str, ...]
    """Without the program's name."""
    notes: tuple[str, ...] = ()
    """What the user should know, in sentences."""


def plan_launch(target: Target, words: Sequence[str], *, status_line: str, lean: bool = False) -> Launch:
    """Decide how Claude Code is started.

    Args:
        target: Where it is to go.
        words: The user's own arguments for it, which win over ours.
        status_line: The command of the status line.
        lean: The user wants the lean prompt, however large the context is.

    Raises:
        CommandError: the context is too small for Claude Code at all.
    """
    profile = profile_for(target, lean=lean)
    if _chosen(words, "--bare", "--tools"):  # the user has trimmed the prompt
        profile = Profile.FULL
    environment = {**_environment(target), **_trimmed_environment(profile)}
    own = () if _chosen(words, "--settings") else ("--settings", _settings(environment, status_line))
    return Launch(
        environment={**environment, "ANTHROPIC_AUTH_TOKEN": target.token or NO_KEY},
        arguments=(*_flags(profile, words), *own, "--exclude-dynamic-system-prompt-sections", *words),
        notes=(*_profile_notes(profile, target), *([] if own else [_NO_STATUS_LINE])),
    )


def profile_for(target: Target, *, lean: bool = False) -> Profile:
    """Choose by the fitted context.

    Raises:
        CommandError: nothing fits.
    """
    context = target.context_tokens
    if context < _LEAST:
        raise CommandError(
            f"{target.model} has {context:,} tokens of context here, and Claude Code needs {_LEAST:,} at the very "
            f"least, {_FULL_FROM:,} for all its tools; choose another --model, or give it more --ctx",
            ExitCode.FAILURE,
        )
    if context < _LEAN_FROM:
        return Profile.BARE
    return Profile.LEAN if lean or context < _FULL_FROM else Profile.FULL


def shell_lines(launch: Launch) -> Iterator[str]:
    """Yield what a shell is to be fed: exports, and as a comment the command they are for."""
    yield from (f"export {name}={shlex.quote(value)}" for name, value in launch.environment.items())
    yield f"# claude {shlex.join(launch.arguments)}"


_NO_STATUS_LINE = "your own --settings are used, so there is no status line"


def _chosen(words: Sequence[str], *flags: str) -> bool:
    return any(word.partition("=")[0] in flags for word in words)


def _environment(target: Target) -> dict[str, str]:
    """Return all variables but the key, which is not for eyes that see a command line."""
    return {
        "ANTHROPIC_BASE_URL": target.url,
        "ANTHROPIC_API_KEY": "",
        **dict.fromkeys(_MODEL_VARIABLES, target.model),
        **_limits(target.context_tokens),
        **_PATIENCE,
        **_STABLE_PROMPTS,
        **({} if target.memory else _NO_MEMORY),
        **_QUIET,
        **dict.fromkeys(_CLOUDS, ""),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(name for name in (target.no_proxy, _LOOPBACK) if name)),
    }


_MODEL_VARIABLES = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_FABLE_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)
"""All the same, and no `claude-…`: for those the context is taken from a table, not from the variable."""
_PATIENCE = {
    "API_TIMEOUT_MS": str(_HOUR_MS),
    "CLAUDE_STREAM_IDLE_TIMEOUT_MS": str(_HALF_HOUR_MS),
    "API_FORCE_IDLE_TIMEOUT": "0",
}
_STABLE_PROMPTS = {"CLAUDE_CODE_ATTRIBUTION_HEADER": "0", "CLAUDE_CODE_TOTAL_TOKENS_REMINDER": "off"}
_NO_MEMORY = {"CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1"}
"""The path of each folder's memory stands at the beginning of the interactive prompt (2.1.330), so that nothing behind
it, the tools included, could be shared with another folder; and small models write to it what belongs into files."""
_QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
}
_PERMISSIONS = {"disableAutoMode": "disable"}
"""Auto mode, which 2.1.283 and later begin in, has the cloud judge each action, and stops at a dialog when it is not
there. Without it the user is asked, or whatever `defaultMode` they have chosen holds."""
_CLOUDS = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")
"""Set in the user's settings or shell, they would win over the base URL."""


def _limits(context_tokens: int) -> dict[str, str]:
    """Return what Claude Code is told of the context.

    More than there is when it is small, or it would compact at once: of 16,384 tokens 13,000 and the answer would have
    to stay free, and its prompt alone has 3,000. What does not fit is refused by the server, in words that make it
    compact. Were it told nothing it would take any other model's window to be one of a million tokens, and say so.
    """
    answer = min(_LONGEST_ANSWER, max(_LEAST_ANSWER, context_tokens // _ANSWER_SHARE))
    needed = min(_BUFFER, context_tokens // _BUFFER_SHARE) if context_tokens >= _LEAN_FROM else 0
    return {
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(answer),
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(context_tokens + _BUFFER - needed),
    }


_LEAN = {
    "CLAUDE_CODE_SIMPLE_SYSTEM_PROMPT": "1",
    "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
    "ENABLE_TOOL_SEARCH": "false",
}
"""Of how to sign a commit small models would read before every question; and they call the placeholder of tools that
are found by search."""
_LEAN_PROMPT = """\
You are a coding agent in the user's folder. You work by calling tools, one after the other, until the task is done.

- To see what a file holds, call Read. To see what there is, or to run something, call Bash.
- To make a new file, call Write with its absolute path and all of its content.
- To change a file, call Read first, then Edit: old_string is copied exactly from the file, new_string takes its place.
- Once you have changed something, run it with Bash, if it can be run.
- When a call fails, read the error, and make another call that avoids it.
- Do it yourself with tools; never tell the user to do it, and never guess what a file holds or a command prints.
- Do only what was asked. Delete or commit nothing unless you are told to.
- When it is done, say so in one or two sentences, with the result that was asked for.
"""
"""In the place of 1,200 tokens about Claude. The folder, the platform and the date come behind it, from Claude Code."""


def _trimmed_environment(profile: Profile) -> Mapping[str, str]:
    return _LEAN if profile is Profile.LEAN else {}


def _flags(profile: Profile, words: Sequence[str]) -> tuple[str, ...]:
    match profile:
        case Profile.FULL:
            return ()
        case Profile.LEAN:
            prompt = () if _chosen(words, *_PROMPT_FLAGS) else (f"--system-prompt={_LEAN_PROMPT}",)
            # With `=`: as words of its own the list would go on into the user's arguments.
            return (f"--tools={_LEAN_TOOLS}", *prompt)
        case Profile.BARE:
            return ("--bare",)


_PROMPT_FLAGS = ("--system-prompt", "--system-prompt-file", "--append-system-prompt", "--append-system-prompt-file")
"""Who gives one of these has a prompt in mind that ours would not be."""


def _settings(environment: Mapping[str, str], status_line: str) -> str:
    """Return `--settings`: the status line, and the variables again, for here they win over the user's settings."""
    line = {"type": "command", "command": status_line, "refreshInterval": 1}
    return json.dumps({"env": dict(environment), "permissions": _PERMISSIONS, "statusLine": line})


def _profile_notes(profile: Profile, target: Target) -> tuple[str, ...]:
    context = f"{target.context_tokens:,} tokens of context"
    match profile:
        case Profile.FULL:
            return ()
        case Profile.LEAN:
            return (f"{context}: Claude Code gets four tools ({_LEAN_TOOLS}) and a short system prompt",)
        case Profile.BARE:
            return (f"{context} are few: Claude Code runs --bare, and a conversation will be short",)
