"""What `--help` prints: written by hand, for a page made by a machine costs 250 ms and two screens.

tests/cli/test_help_page.py compares it with the settings, flag by flag.
"""

from __future__ import annotations

__all__ = ["HELP_PAGE"]

HELP_PAGE = """\
Claude Code, and every client of the Anthropic Messages API, on your own model.

Usage: pensieve-server [serve] [OPTIONS]      serve until Ctrl-C
       pensieve-server claude [OPTIONS] [--lean] [--print-env] [-- ARGUMENTS]
       pensieve-server doctor | models | settings [--json]
       pensieve-server cache [list|size|clear] | statusline | version

Model
  --model NAME           default model: an id, an alias or a GGUF file
  --models-folder DIR    folder with GGUF files                     [models]
  --projector FILE       by which it sees, if not the mmproj file beside it
  --engine NAME          installed engine that runs them            [gguf]
  --ctx N                context in tokens                          [fitted]
  --threads N            CPU threads                                [fitted]
  --gpu-layers N         layers on the GPU, -1 for all              [fitted]
  --parallel N           requests computed at the same time         [fitted]
  --cells N              tokens of all requests in the KV cache     [fitted]
  --kv-type TYPE         f16, or q8_0 for half the memory           [fitted]
  --no-drafts            do not compute ahead what probably comes next
Cache and files
  --data-dir DIR         folder of what clients have uploaded
  --files-bytes N        how much all files may have together
  --cache-dir DIR        folder of computed prompts, for the next start
  --cache-disk-bytes N   how much it may hold, 0 for nothing        [fitted]
  --cache-ram-bytes N    memory for prompts that had to leave the KV cache
Server
  --host ADDRESS         address to listen on                       [127.0.0.1]
  --port N               port to listen on, 0 for any free one      [8000]
  --drain-seconds S      how long answers may go on after Ctrl-C    [30]
  --strict               refuse fields and betas that are not known
  --log-level LEVEL      debug, info, warning or error              [info]
  --log-format FORMAT    auto, pretty or json                       [auto]
Access
  --api-key KEY          key that clients must send; repeatable
  --api-key-file FILE    keys, one a line
  --allow-host NAME      further name of this server; repeatable
  --allow-origin ORIGIN  web page that may call this server; repeatable
  --unsafe-no-key        listen beyond this machine without any key

A flag beats a variable PENSIEVE_<NAME> beats pensieve.toml, here or the user's.
"""
