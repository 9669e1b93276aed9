"""Progress in words: rate and time left over what this run did, and lines for a log that are no flood."""

from __future__ import annotations

import threading

import pytest

from plaudit.cli import console
from plaudit.cli.console import Lines, Pace, duration


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_what_was_on_file_costs_no_time_and_makes_no_rate():
    clock = Clock()
    pace = Pace(clock)
    assert pace.words(600, 1000) == ""
    clock.now += 20
    # 100 in 20 s are 5 a second, and 300 more take 60 s
    assert pace.words(700, 1000) == "5/s, 1:00 left"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0:00"), (59.6, "1:00"), (128, "2:08"), (3723, "1:02:03")])
def test_a_duration_is_minutes_and_seconds_or_hours(seconds, words):
    assert duration(seconds) == words


def test_a_log_gets_a_line_for_what_was_done_since_the_last_one():
    clock, written = Clock(), []
    lines = Lines("pairs", written.append, clock)
    lines.tick()
    for done in range(25):
        lines.show(done, 24)
        clock.now += 1
        if done % 10 == 9:
            lines.tick()
            lines.tick()
    assert written == ["pairs: 9 of 24, 1/s, 0:15 left", "pairs: 19 of 24, 1/s, 0:05 left"]


def test_a_line_in_the_middle_of_a_burst_says_what_the_whole_burst_brought():
    """256 groups come at once after 128 seconds: the rate is two a second, not that of the first of them."""
    clock, written = Clock(), []
    lines = Lines("pairs", written.append, clock)
    lines.show(0, 512)
    clock.now += 128
    for done in range(1, 257):
        lines.show(done, 512)
    lines.tick()
    assert written == ["pairs: 256 of 512, 2/s, 2:08 left"]


def test_a_log_of_long_work_gets_a_last_line_and_one_of_short_work_none(monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY_SECONDS", 0.01)
    written, first = [], threading.Event()

    def write(line):
        written.append(line)
        first.set()

    with Lines("pairs", write, Clock()).running() as show:
        show(1, 4)
        assert first.wait(10)
        show(4, 4)
    assert written[0] == "pairs: 1 of 4"
    assert written[-1] == "pairs: 4 of 4"

    monkeypatch.setattr(console, "LINE_EVERY_SECONDS", 60)
    written.clear()
    with Lines("pairs", write, Clock()).running() as show:
        show(4, 4)
    assert written == []


def test_a_log_that_is_closed_does_not_take_the_place_of_what_ended_the_work(monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY_SECONDS", 0.01)
    tried = threading.Event()

    def write(line):
        tried.set()
        raise BrokenPipeError

    def work():
        with Lines("pairs", write, Clock()).running() as show:
            show(1, 4)
            assert tried.wait(10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
