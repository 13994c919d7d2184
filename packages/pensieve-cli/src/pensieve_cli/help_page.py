"""What `--help` prints: written by hand, for pages made by a machine cost 250 ms and two screens.

One page for each command, none longer than a screen. tests/cli/test_help_page.py compares them with what can really be
said, flag by flag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

__all__ = ["HELP_PAGES", "OVERVIEW", "help_page"]

OVERVIEW = """\
Claude Code, and every client of the Anthropic Messages API, on your own model.

Usage: pensieve-server [COMMAND] [OPTIONS]

  serve                 serve until Ctrl-C; so does no command at all
  claude [-- ARGS]      Claude Code on it; starts a server if there is none
  run [MODEL] [TEXT]    chat in the terminal, or one answer
Models
  list                  which there are                         (also: models)
  show [MODEL]          what one is, and how it fits this machine
  pull [MODEL]          fetch one from the hub, or what suits this machine
  rm MODEL              remove its files
  alias [NAME MODEL]    names of your own
  bench [MODEL]         how fast it is here
Of a running server
  ps                    which models are loaded
  load, unload MODEL    load one, and let it go
  doctor                what is wrong, and what to do
Further
  settings, cache       every setting; computed prompts on the disk
  completion SHELL      completion of all these words; version

`pensieve-server COMMAND --help` tells more; `serve --help` has all settings.
"""

_SERVE = """\
Serve a model until Ctrl-C. All commands know these settings.
Usage: pensieve-server [serve] [OPTIONS]

Model                                             Server
  --model NAME          id, alias or GGUF file      --host ADDRESS       listens there [127.0.0.1]
  --pinned NAME         stays loaded; repeatable    --port N             0 for any free one [8000]
  --models-folder DIR   has GGUF files [models]     --drain-seconds S    answers go on so long [30]
  --projector FILE      by which it sees images     --idle-exit-seconds S  stop when unused
  --draft-model NAME    guesses ahead; or none      --strict             refuse unknown fields
  --engine NAME         what runs it [gguf]         --log-level LEVEL    debug to error [info]
  --ctx N               context tokens [fitted]     --log-format FORMAT  pretty or json [auto]
  --threads N           CPU threads [fitted]      Access
  --gpu-layers N        -1 for all [fitted]         --api-key KEY        clients send it; repeatable
  --parallel N          requests at once [fitted]   --api-key-file FILE  keys, one a line
  --cells N             tokens in cache [fitted]    --allow-host NAME    of this server; repeatable
  --kv-type TYPE        f16 or q8_0 [fitted]        --allow-origin URL   web page; repeatable
  --no-drafts           compute nothing ahead       --unsafe-no-key      open to all, without a key
Cache and files                                   Memory, of several models
  --data-dir DIR        what clients upload         --memory-budget SIZE     8GB; else what is free
  --files-bytes N       limit of all of it          --gpu-memory-budget SIZE  on the GPU; likewise
  --cache-dir DIR       computed prompts            --idle-unload-seconds S  unload when unused
  --cache-disk-bytes N  limit of these [fitted]     --residence-seconds S    stay so long; else 10
  --cache-ram-bytes N   of those in RAM [fitted]
A flag beats a variable PENSIEVE_<NAME> beats pensieve.toml, here or the user's.
"""

_CLAUDE = """\
Claude Code on a local model. Starts a server if none answers, and waits for its model.
Usage: pensieve-server claude [OPTIONS] [-- ARGUMENTS]

  --lean                four tools and the simple prompt, however large the context is
  --print-env           start the server, and print what Claude Code would be given
  -- ARGUMENTS          handed on to Claude Code: -- -p "What is in this folder?"

And all settings of `serve --help`. The server stays for the next session.
"""

_RUN = """\
Talk to a model: with the server that runs, or with an engine of its own.
Usage: pensieve-server run [MODEL] [TEXT] [OPTIONS]

  pensieve-server run                        chat; Ctrl-C ends an answer, Ctrl-D the chat
  pensieve-server run "Why is the sky blue?" one answer
  cat file | pensieve-server run "Explain"   one answer to both

  MODEL                 id, alias or GGUF file; else the default one
  --system TEXT         what the model is told before
  --max-tokens N        longest answer                                 [4096]
  --json                one object with the answer, instead of its text

And all settings of `serve --help`.
"""

_LIST = """\
Which models this machine has, and which files are none.
Usage: pensieve-server list [--json]           (also: models)

And the settings of `serve --help`, --models-folder for one.
"""

_SHOW = """\
What a model is, which files it has, and how it fits this machine.
Usage: pensieve-server show [MODEL] [--json]

  MODEL                 id, alias or GGUF file; else the default one

And the settings of `serve --help`: --ctx, --kv-type and --gpu-layers change how it fits.
"""

_PS = """\
Which models the server holds, and for how long.
Usage: pensieve-server ps [--json]

--host and --port say where it is. Exit code 4: no server answers there.
"""

_LOAD = """\
Let the server load a model, and wait until it is there; a bar shows how much of it is.
Usage: pensieve-server load MODEL [--pin] [--json]

  --pin                 never unload it to make room for another

--host and --port say where the server is. Exit codes: 3 no such model, 4 no server.
"""

_UNLOAD = """\
Let the server let go of a model. Its conversations are kept for the next time.
Usage: pensieve-server unload MODEL [--json]

--host and --port say where the server is. Exit codes: 3 no such model, 4 no server.
"""

_RM = """\
Remove the files of models from the models folder and from the Hugging Face cache. Asks before.
Usage: pensieve-server rm MODEL… [--yes] [--force] [--json]

  --yes                 do not ask
  --force               even while a running server has it loaded

Files of other programs are never touched; you are told how they remove them.
Exit codes: 3 no such model, 5 refused.
"""

_ALIAS = """\
Names of your own for models.
Usage: pensieve-server alias [--json]          lists them
       pensieve-server alias NAME MODEL        gives one
       pensieve-server alias --remove NAME     takes it away

An alias can be used wherever a model is named. A server learns of it when it starts.
"""

_PULL = """\
Fetch a model from the Hugging Face hub into its cache, where every program finds it.
Usage: pensieve-server pull [--yes]            what suits this machine, and why; asks before
       pensieve-server pull NAME               one of the catalog: qwen3.5-9b, gpt-oss-20b…
       pensieve-server pull OWNER/NAME[:QUANT] any other; without QUANT, what suits this machine
       pensieve-server pull --check            hold the catalog against the hub; fetches nothing

  --yes                 do not ask
  --offline             only what is here already, checked again
  --json                one object a line

Also OWNER/NAME:FILE.gguf, OWNER/NAME@REVISION, and a page's address. What was interrupted goes
on when it is asked for again. Private ones: hf auth login, or HF_TOKEN.
"""

_BENCH = """\
How fast a model is on this machine: new prompts and their answers, several times.
Usage: pensieve-server bench [MODEL] [OPTIONS]

  MODEL                 id, alias or GGUF file; else the default one
  --prompt-tokens N     length of the prompt, about                    [512]
  --answer-tokens N     length of the answer                           [128]
  --rounds N            how often; the median is told                  [3]
  --json                one object, with every round

And all settings of `serve --help`. Nothing else should run meanwhile.
"""

_DOCTOR = """\
What is wrong with this machine and the server on it, and what to do.
Usage: pensieve-server doctor [--json]

And the settings of `serve --help`. Exit code 1: something is wrong.
"""

_SETTINGS = """\
Every setting, its value, and where that comes from.
Usage: pensieve-server settings [--json]

A flag beats a variable PENSIEVE_<NAME> beats pensieve.toml, here or the user's. What they
mean says `serve --help`.
"""

_CACHE = """\
Computed prompts that are kept on the disk.
Usage: pensieve-server cache [list] [--json]   each of them
       pensieve-server cache size [--json]     how many, and how large
       pensieve-server cache clear             remove them; asks before

  --older-than DAYS     only those that were not used for so long
  --yes                 do not ask
  --cache-dir DIR       where they are, and more settings: `serve --help`
"""

_COMPLETION = """\
Completion of commands, flags and names of models. Put it where the shell looks for it, once:
Usage: pensieve-server completion bash|zsh|fish

  pensieve-server completion bash > ~/.local/share/bash-completion/completions/pensieve-server
  pensieve-server completion zsh > ~/.zfunc/_pensieve-server   (where $fpath has it)
  pensieve-server completion fish > ~/.config/fish/completions/pensieve-server.fish
"""

_STATUS_LINE = """\
The line under Claude Code's prompt; `pensieve-server claude` sets it up.
Usage: pensieve-server statusline < JSON
"""

_VERSION = """\
Which Pensieve this is.
Usage: pensieve-server version
"""

HELP_PAGES: Mapping[str, str] = MappingProxyType(
    {
        "serve": _SERVE,
        "claude": _CLAUDE,
        "run": _RUN,
        "list": _LIST,
        "models": _LIST,
        "show": _SHOW,
        "rm": _RM,
        "alias": _ALIAS,
        "bench": _BENCH,
        "ps": _PS,
        "load": _LOAD,
        "unload": _UNLOAD,
        "pull": _PULL,
        "doctor": _DOCTOR,
        "settings": _SETTINGS,
        "cache": _CACHE,
        "completion": _COMPLETION,
        "statusline": _STATUS_LINE,
        "version": _VERSION,
    }
)
"""By the command's word."""


def help_page(words: Sequence[str]) -> str:
    """Return the page of the command that `words` begin with; of all of them when there is none."""
    return HELP_PAGES.get(words[0], OVERVIEW) if words else OVERVIEW
