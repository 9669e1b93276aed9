"""Terminal output of every verb: results and tables, the error line, the interrupt sentence, exit codes, streams."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer
from typing_extensions import override

if TYPE_CHECKING:
    from rich.console import Console

    from plaudit.data.schema.report import ReadReport
    from plaudit.records import BestOfNCurve, Interval, Measure, Result

LINE_EVERY_SECONDS = 10.0
"""Between two lines of progress in a log."""
_RESULT_COLUMNS = ("", "", "value", "95 % interval", "n")

_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]")

EXIT_FAILED_CHECK = 1
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""That of a process that SIGPIPE ends, as shells know it."""


def debug_is_on(option: bool) -> bool:
    """Return whether tracebacks are wanted: ``--debug``, or PLAUDIT_DEBUG set to anything but 0."""
    return option or os.environ.get("PLAUDIT_DEBUG", "0") not in ("", "0")


def console() -> Console:
    """Return a console on stdout; without a terminal its tables are as wide as their content."""
    from rich.console import Console

    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=200)


def visible(text: str) -> str:
    """Return ``text`` with control characters but line breaks and tabs, and those that turn its direction, as escapes.

    Data and servers may hold characters that would move the cursor, ring, or show a text that is not there; a terminal
    that cannot show a lone surrogate gets an escape too.
    """
    text = text.encode(errors="backslashreplace").decode()
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: str, *, fg: str | None = None, bold: bool | None = None, err: bool = False) -> None:
    """Print a text that may hold words of others; see ``visible``."""
    typer.secho(visible(text), fg=fg, bold=bold, err=err)


def print_error(error: Exception) -> None:
    """Print ``error: …`` in red on stderr."""
    say(f"error: {error}", fg=typer.colors.RED, err=True)


class _Once(logging.Filter):
    """Lets each message through once."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_new = text not in self._seen
        self._seen.add(text)
        return is_new


def warn_once() -> None:
    """Say each warning of plaudit, and of Python, once in a run of the command line."""
    handler = logging.StreamHandler()
    handler.addFilter(_Once())
    logger = logging.getLogger("plaudit")
    if not logger.handlers:
        logger.addHandler(handler)
    warnings.simplefilter("once", append=True)


def warn_renamed(old: str, new: str) -> None:
    """Say on stderr that a spelling is another one now, and when the old one goes."""
    typer.secho(f"{old} is now {new}; the old spelling is dropped in 0.3", fg=typer.colors.YELLOW, err=True)


@contextlib.contextmanager
def interrupt_keeps(sentence: str | Callable[[], str]) -> Iterator[None]:
    """Turn Ctrl-C inside the block into ``sentence`` (the work kept, how to go on) and exit code 130.

    A function is asked for the sentence when the work has been stopped.
    """
    try:
        yield
    except KeyboardInterrupt:
        words = sentence if isinstance(sentence, str) else sentence()
        typer.secho(f"\ninterrupted: {words}", fg=typer.colors.YELLOW, err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def terminate_as_interrupt() -> None:
    """Let SIGTERM end a command as Ctrl-C does: what is kept is said, locks and half-written files go."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)


def find_modules_here() -> None:
    """Let ``module:function`` name a file of the working directory; installed packages come first."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


class Pace:
    """Rate and time left, over the work since the first call; earlier work cost no time of this run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Tell the time by ``clock``, in seconds."""
        self._clock = clock
        self._begun: tuple[float, int] | None = None

    def words(self, done: int, total: int) -> str:
        """Return ``35.2/s, 2:08 left``, or nothing while there is no rate yet."""
        now = self._clock()
        if self._begun is None:
            self._begun = (now, done)
        seconds, count = now - self._begun[0], done - self._begun[1]
        if seconds <= 0 or count <= 0:
            return ""
        rate = count / seconds
        return f"{rate:.3g}/s, {duration((total - done) / rate)} left"


class Lines:
    """Progress as plain lines, for a log: one at most every ten seconds, and a last one where there was any.

    A model answers in bursts, a window of groups at a time, so a line is not written at a call of ``show``, when
    the burst has only begun, but by a thread that checks progress every ten seconds.
    """

    def __init__(self, title: str, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        """Hand lines that open with ``title`` to ``write``."""
        self._title = title
        self._write = write
        self._pace = Pace(clock)
        self._now: tuple[int, int] | None = None
        self._line = ""
        self._written: tuple[int, int] | None = None

    def show(self, done: int, total: int) -> None:
        """Take note of how far the work is."""
        self._line = self._words(done, total)
        self._now = (done, total)

    def tick(self) -> None:
        """Write a line where the work has gone on since the last one."""
        if self._now is not None and self._now != self._written:
            with contextlib.suppress(OSError):  # a log that is closed must not take the place of what ends the work
                self._write(self._line)
            self._written = self._now

    def _words(self, done: int, total: int) -> str:
        words = self._pace.words(done, total)
        return f"{self._title}: {done:,} of {total:,}{', ' if words else ''}{words}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Callable[[int, int], None]]:
        """Write lines while the block runs, and give ``show``."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(LINE_EVERY_SECONDS):
                self.tick()

        thread = threading.Thread(target=look, name="progress", daemon=True)
        thread.start()
        try:
            yield self.show
        finally:
            over.set()
            thread.join()
            if self._written is not None:
                self.tick()


def duration(seconds: float) -> str:
    """Return ``1:02:03``, or ``2:03`` below an hour."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress on stderr, rate and time left, whenever the yielded function is called with (done, total).

    A terminal gets a bar; a log gets a line at most every ten seconds. The bars that transformers draws while it loads
    and saves are hidden.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from transformers.utils import logging

    logging.disable_progress_bar()
    shown = Console(stderr=True)
    if not shown.is_terminal:
        with Lines(title, partial(typer.echo, err=True), time.monotonic).running() as show:
            yield show
        return
    pace = Pace(time.monotonic)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=shown) as bar:
        task = bar.add_task(title, total=None, pace="")
        yield lambda done, total: bar.update(task, completed=done, total=total, pace=pace.words(done, total))


def print_counts(title: str, counts: Mapping[str, int], *, err: bool = False) -> None:
    """Print ``title: 3 of this, 4 of that``, the most frequent first; nothing where there is nothing."""
    if counts:
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        say(f"{title}: " + ", ".join(f"{count} {name}" for name, count in ordered), err=err)


def print_dropped(report: ReadReport) -> None:
    """Say on stderr how many rows were left out, if any, and why, and what was read with a remark."""
    if report.dropped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(report.dropped.items()))
        say(f"{report.path}: left out {reasons}", fg=typer.colors.YELLOW, err=True)
    print_noted(report)


def print_noted(report: ReadReport) -> None:
    """Say on stderr what was read with a remark, as responses that are empty or hold control tokens."""
    if report.noted:
        remarks = ", ".join(f"{count} {remark}" for remark, count in sorted(report.noted.items()))
        say(f"{report.path}: read with a remark: {remarks}", fg=typer.colors.YELLOW, err=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0) -> None:
    """Print a table whose last ``numbers`` columns are right-aligned; nothing where there are no rows."""
    if not rows:
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(visible(title)), title_justify="left", title_style="bold", header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position >= len(columns) - numbers else "left")
    for row in rows:
        table.add_row(*(escape(visible(cell)) for cell in row))
    console().print(table)


def print_result(result: Result, *, everything: bool = False) -> None:
    """Print the verdict in words, then the primary metric of every measure with its baselines, and the counts.

    With ``everything`` every metric, slice, curve and rule of each measure too.
    """
    from plaudit.reports.primary_metric import verdict

    say(" ".join(verdict(result)), bold=True)
    for measure in result.measures:
        print_measure(measure, result.name, everything=everything)
    if result.position is not None:
        say(result.position.in_words())
    print_counts("without a reward", result.reasons)
    print_counts("rows that are no items", result.left_out)
    cut = {name.replace("_", " "): count for name, count in result.details.items() if "trunca" in name and count}
    print_counts("longer than the model takes", cut)
    preference = result.preference
    ties = (
        f"; {preference.details['ties']} exact ties, each counted as {result.tie_rule}"
        if preference is not None and preference.metrics
        else ""
    )
    say(f"{result.n} items: {result.scored} scored, {result.unscored} without a label, {result.failed} failed{ties}")


def print_measure(measure: Measure, title: str, *, everything: bool = False) -> None:
    """Print the primary metric of one kind of label, or of a benchmark, with its baselines or why it is missing.

    With ``everything`` all metrics and slices, those missing with why, curves, rules and counts.
    """
    rows: list[tuple[str, ...]] = []
    for name, interval in measure.metrics.items():
        if everything or name == measure.primary:
            rows.append(("metric", name, *_cells(interval)))
            rows += [("baseline", f"  {rule}", *_cells(each)) for rule, each in measure.baselines.get(name, {}).items()]
    word = "slice" if measure.kind == "benchmark" else "source"
    for source, metrics in measure.slices.items() if everything else ():
        if measure.primary in metrics:
            rows.append((word, source, *_cells(metrics[measure.primary])))
    print_table(f"{title}: {measure.name}", _RESULT_COLUMNS, rows, numbers=3)
    for name, reason in measure.absent.items():
        if everything or name == measure.primary:
            say(f"no {name}: {reason}")
    if measure.missing:
        say(f"not the whole official set: {len(measure.missing)} of its subsets are missing, in part or new")
    if everything:
        _print_rest(measure, title)


def _print_rest(measure: Measure, title: str) -> None:
    if measure.best_of_n is not None:
        _print_curve(measure, measure.best_of_n, title)
    for name, rule in measure.rules.items():
        say(f"{name.replace('_', ' ')}: {rule}")
    counts = measure.counts
    say(f"{counts.n} groups: {counts.scored} scored, {counts.unscored} that say nothing, {counts.failed} failed")
    say(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in measure.details.items() if value))


def _print_curve(measure: Measure, curve: BestOfNCurve, title: str) -> None:
    from plaudit.reports.best_of_n import COLUMNS, curve_note, curve_rows, curve_sentences, curve_title

    print_table(f"{title}: {curve_title(measure)}", COLUMNS, curve_rows(measure), numbers=len(COLUMNS))
    say(" ".join([*curve_sentences(measure), curve_note(curve)]))


def _cells(interval: Interval) -> tuple[str, str, str]:
    return f"{interval.value:.3f}", f"{interval.low:.3f} – {interval.high:.3f}", str(interval.n)


# ---------------------------------------------------------------------------------------------------------- streams


def is_stream(path: str | Path) -> bool:
    """Return whether ``path`` stands for standard input or output."""
    return str(path) == "-"


def close_quietly() -> None:
    """Let nothing more be written to a pipe that its reader has closed, as ``| head`` does."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
