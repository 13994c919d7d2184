"""How far a pull is, in words."""

from __future__ import annotations

import io

from pensieve_cli.model_commands.fetch_report import LinePrinter, progress_line
from pensieve_registry.hub import Advanced, Retrying, Speed, Verified, Waiting

MB = 10**6


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def _advanced(done: int) -> Advanced:
    return Advanced(done_bytes=done, total_bytes=100 * MB, fetched_bytes=done)


def test_a_line_has_the_share_the_rate_and_the_time_left() -> None:
    speed = Speed()
    assert progress_line(_advanced(0), speed) == "[------------------------]   0%  0 MB of 100 MB"
    speed.observe(0.0, 0)
    speed.observe(2.0, 20 * MB)
    assert progress_line(_advanced(25 * MB), speed) == (
        "[######------------------]  25%  25 MB of 100 MB  10 MB/s  7 s left"
    )


def test_what_was_found_on_the_disk_is_no_speed() -> None:
    speed = Speed()
    speed.observe(0.0, 0)
    speed.observe(1.0, 0)
    assert speed.bytes_per_s == 0
    assert speed.left_s(1) is None


def test_the_rate_is_that_of_the_last_ten_seconds() -> None:
    speed = Speed()
    for second in range(30):
        speed.observe(float(second), min(second, 15) * MB)
    assert speed.bytes_per_s == 0


def _told(output: io.StringIO) -> str:
    now = 0.0
    printer = LinePrinter(output, clock=lambda: now)
    for step in range(101):
        now = step / 10
        printer.on_event(_advanced(step * MB))
    printer.on_event(Retrying(file="m.gguf", reason="the hub answers 503", pause_s=2.0))
    printer.on_event(Waiting(file="m.gguf"))
    printer.on_event(Verified(file="m.gguf", sha256=None))
    printer.close()
    return output.getvalue()


def test_a_pipe_gets_a_line_every_five_seconds() -> None:
    assert _told(io.StringIO()).splitlines() == [
        "[############------------]  50%  50 MB of 100 MB  10 MB/s  5 s left",
        "[########################] 100%  100 MB of 100 MB  10 MB/s  0 s left",
        "m.gguf: the hub answers 503; going on in 2 s",
        "m.gguf: another program is fetching it; waiting for that",
        "verified m.gguf",
    ]


def test_a_terminal_gets_one_line_that_moves_and_is_cleared_before_words() -> None:
    told = _told(Screen())
    assert told.count("\r\x1b[K[") >= 40
    assert "\r\x1b[Km.gguf: the hub answers 503" in told
    assert told.endswith("verified m.gguf\n")
