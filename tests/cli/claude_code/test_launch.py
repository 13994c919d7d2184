from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.claude_code.launch import Launch, Profile, Target, plan_launch, profile_for, shell_lines
from pensieve_cli.errors import CommandError


def _target(context_tokens: int = 131_072, token: str | None = None, no_proxy: str = "") -> Target:
    return Target(
        url="http://127.0.0.1:8000", token=token, model="qwen", context_tokens=context_tokens, no_proxy=no_proxy
    )


def _plan(target: Target | None = None, *words: str, lean: bool = False) -> Launch:
    return plan_launch(target or _target(), words, status_line="the line", lean=lean)


def _settings(launch: Launch) -> dict[str, object]:
    settings: dict[str, object] = json.loads(launch.arguments[launch.arguments.index("--settings") + 1])
    return settings


def test_every_model_name_is_ours_and_none_is_a_claude() -> None:
    # Design 4: for `claude-*` ids the context variable is ignored.
    names = {value for name, value in _plan().environment.items() if name.endswith("_MODEL")}
    assert names == {"qwen"}


def test_claude_code_is_told_the_fitted_context() -> None:
    environment = _plan(_target(131_072)).environment
    assert environment["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "131072"
    assert environment["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "16384"


@pytest.mark.parametrize("context", [8_192, 16_384, 32_768, 49_152, 65_536])
def test_of_a_small_context_claude_code_does_not_keep_13000_tokens_free(context: int) -> None:
    """Observed with 2.1.330: of 16,384 tokens it kept 13,000 and the answer free, and compacted after each turn."""
    environment = _plan(_target(context)).environment
    answer = int(environment["CLAUDE_CODE_MAX_OUTPUT_TOKENS"])
    compacts_at = int(environment["CLAUDE_CODE_MAX_CONTEXT_TOKENS"]) - answer - 13_000
    assert 0.7 * context < compacts_at < context - 2 * answer + 1  # there is room for the summary as well


@pytest.mark.parametrize("context", [2_048, 4_096])
def test_of_a_very_small_context_it_is_told_enough_to_send_all_that_fits(context: int) -> None:
    """Observed with 2.1.330: told 4,096, it has 900 tokens for too many; told nothing, it tells of a million."""
    environment = _plan(_target(context)).environment
    compacts_at = int(environment["CLAUDE_CODE_MAX_CONTEXT_TOKENS"]) - 13_000
    assert compacts_at == context


def test_prompts_are_kept_stable_and_waits_long() -> None:
    # Design 4: 22k of 24k tokens shared between folders with these, nothing without.
    launch = _plan()
    assert "--exclude-dynamic-system-prompt-sections" in launch.arguments
    assert launch.environment["CLAUDE_CODE_ATTRIBUTION_HEADER"] == "0"
    assert launch.environment["CLAUDE_CODE_TOTAL_TOKENS_REMINDER"] == "off"
    assert launch.environment["API_FORCE_IDLE_TIMEOUT"] == "0"
    assert int(launch.environment["CLAUDE_STREAM_IDLE_TIMEOUT_MS"]) == 30 * 60 * 1_000


@pytest.mark.parametrize("context", [4_096, 32_768, 131_072])
def test_there_is_no_memory_of_each_folder_unless_the_user_insists(context: int) -> None:
    """Observed with 2.1.330: its path stands before the tools, so that another folder computed all 12,761 tokens."""
    target = _target(context)
    assert _plan(target).environment["CLAUDE_CODE_DISABLE_AUTO_MEMORY"] == "1"
    assert "CLAUDE_CODE_DISABLE_AUTO_MEMORY" not in _plan(attrs.evolve(target, memory=True)).environment


def test_the_cloud_is_blotted_out() -> None:
    environment = _plan().environment
    assert environment["ANTHROPIC_API_KEY"] == ""
    assert environment["CLAUDE_CODE_USE_BEDROCK"] == ""
    assert environment["ANTHROPIC_AUTH_TOKEN"]  # or Claude Code asks the user to log in


def test_settings_repeat_the_variables_for_there_they_beat_the_users_own() -> None:
    launch = _plan()
    settings = _settings(launch)
    assert settings["statusLine"] == {"type": "command", "command": "the line", "refreshInterval": 1}
    assert settings["env"] == {
        name: value for name, value in launch.environment.items() if name != "ANTHROPIC_AUTH_TOKEN"
    }


def test_a_mode_that_needs_the_clouds_judgement_is_off() -> None:
    """Observed with 2.1.330: it begins in auto mode, and the first command ends the turn with a dialog."""
    assert _settings(_plan())["permissions"] == {"disableAutoMode": "disable"}


def test_a_key_goes_into_the_environment_and_never_onto_the_command_line() -> None:
    launch = _plan(_target(token="sk-secret"))
    assert launch.environment["ANTHROPIC_AUTH_TOKEN"] == "sk-secret"
    assert "sk-secret" not in " ".join(launch.arguments)


@pytest.mark.parametrize(
    ("context", "lean", "profile"),
    [
        (2_048, False, Profile.BARE),
        (8_191, True, Profile.BARE),
        (8_192, False, Profile.LEAN),
        (49_151, False, Profile.LEAN),
        (49_152, False, Profile.FULL),
        (131_072, True, Profile.LEAN),
    ],
)
def test_the_prompt_is_trimmed_to_the_context(context: int, *, lean: bool, profile: Profile) -> None:
    assert profile_for(_target(context), lean=lean) is profile


def test_a_trimmed_prompt_is_said_aloud() -> None:
    assert "four tools" in _plan(_target(32_768)).notes[0]
    assert "--bare" in _plan(_target(2_048)).notes[0]
    assert _plan().notes == ()


def test_a_context_that_is_too_small_is_told_with_what_would_do() -> None:
    with pytest.raises(CommandError, match=r"1,024 tokens.*2,048.*49,152.*--ctx"):
        _plan(_target(1_024))


def test_lean_is_four_tools_and_a_short_prompt() -> None:
    launch = _plan(lean=True)
    (prompt,) = (word for word in launch.arguments if word.startswith("--system-prompt="))
    assert len(prompt) < 1_500
    assert "--tools=Bash,Read,Edit,Write" in launch.arguments
    assert launch.environment["CLAUDE_CODE_SIMPLE_SYSTEM_PROMPT"] == "1"


@pytest.mark.parametrize("flag", ["--system-prompt", "--append-system-prompt", "--system-prompt-file"])
def test_the_users_own_system_prompt_has_none_of_ours_beside_it(flag: str) -> None:
    for words in ((flag, "Be brief."), (f"{flag}=Be brief.",)):
        launch = _plan(_target(), *words, lean=True)
        assert [word for word in launch.arguments if "system-prompt" in word.partition("=")[0]][-1] == words[0]
        assert not any(word.startswith("--system-prompt=You are") for word in launch.arguments)
        assert "--tools=Bash,Read,Edit,Write" in launch.arguments


@pytest.mark.parametrize("words", [("--bare",), ("--tools", "Read"), ("--tools=Read",)])
def test_a_prompt_that_the_user_trimmed_is_left_alone(words: tuple[str, ...]) -> None:
    launch = _plan(_target(2_048), *words)
    assert [word for word in launch.arguments if word.startswith(("--bare", "--tools"))] == [words[0]]
    assert launch.notes == ()


def test_the_users_own_settings_are_used_and_ours_are_not() -> None:
    launch = _plan(None, "--settings", "mine.json")
    assert launch.arguments.count("--settings") == 1
    assert "no status line" in launch.notes[0]


def test_whom_the_user_reaches_without_a_proxy_stays_reachable() -> None:
    assert _plan(_target(no_proxy="intranet")).environment["NO_PROXY"].startswith("intranet,127.0.0.1")


@given(words=st.lists(st.text(max_size=10), max_size=5), context=st.integers(2_048, 10**7), lean=st.booleans())
def test_whatever_the_user_says_comes_last_and_unchanged(words: list[str], context: int, *, lean: bool) -> None:
    launch = _plan(_target(context), *words, lean=lean)
    assert list(launch.arguments[len(launch.arguments) - len(words) :]) == words


def test_a_shell_can_read_what_is_printed() -> None:
    lines = list(shell_lines(Launch(environment={"A": "", "B": "it's"}, arguments=("-p", "two words"))))
    assert lines == ["export A=''", "export B='it'\"'\"'s'", "# claude -p 'two words'"]
