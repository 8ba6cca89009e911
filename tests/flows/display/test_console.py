"""What a log and a terminal show, with a clock that the test moves."""

from __future__ import annotations

import io
import os

from flows.display.console import LOG_SECONDS, Console


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_now_and_then_with_rate_and_remaining_time() -> None:
    stream, clock = io.StringIO(), Clock()
    report = Console(stream, clock).progress("tokens")
    for done in range(2001):
        report(done, 10_000, "reviews · part 1")
        clock.now += 1 / 128  # seconds
    assert stream.getvalue().splitlines() == [
        "tokens: 640 of 10,000 reviews (6%), 128/s, 1:13 left · part 1",
        "tokens: 1,280 of 10,000 reviews (13%), 128/s, 1:08 left · part 1",
        "tokens: 1,920 of 10,000 reviews (19%), 128/s, 1:03 left · part 1",
    ]


def test_a_log_gets_news_at_once_and_once() -> None:
    stream = io.StringIO()
    report = Console(stream, Clock()).progress("source")
    for _ in range(3):
        report(0, None, "waiting for another run that builds the same")
    assert stream.getvalue() == "source: waiting for another run that builds the same\n"


def test_what_was_there_before_does_not_count_in_the_rate() -> None:
    stream, clock = io.StringIO(), Clock()
    report = Console(stream, clock).progress("source")
    report(90e6, 100e6, "bytes of a.tar.gz")
    clock.now += LOG_SECONDS
    report(95e6, 100e6, "bytes of a.tar.gz")
    assert stream.getvalue() == (
        "source: 95.0 M of 100.0 M bytes of a.tar.gz (95%), 1.0 M/s, 0:05 left\n"
    )


def test_without_a_total_the_count_and_the_rate_remain() -> None:
    stream, clock = io.StringIO(), Clock()
    report = Console(stream, clock).progress("tokens")
    report(1, None, "shards")
    clock.now += 7200
    report(7201, None, "shards")
    report(7202, 1e9, "rows")
    assert stream.getvalue() == "tokens: 7,201 shards, 1/s\n"


def test_a_terminal_shows_one_line_that_a_notice_ends() -> None:
    stream, clock = Terminal(), Clock()
    with Console(stream, clock) as console:
        report = console.progress("model")
        report(1, 100, "steps")
        clock.now += 30
        report(31, 100, "steps")
        console.notice("imdb · model: done in 30.0 s (not built yet)")
        shown = stream.getvalue()
        assert "model" in shown and "31 of 100 steps (31%), 1/s, 1:09 left" in shown
        assert shown.endswith("imdb · model: done in 30.0 s (not built yet)\n")
        console.notice("the next")
    assert stream.getvalue().removeprefix(shown) == "the next\n"


def test_a_reader_that_is_gone_does_not_end_the_run() -> None:
    """A worker is killed, and the run that it has started goes on."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        console, clock = Console(stream, Clock()), Clock()
        console.notice("the first line")
        report = Console(stream, clock).progress("tokens")
        for _ in range(3):
            clock.now += LOG_SECONDS
            report(1, 2, "reviews")
        console.notice("another line")
