"""The visual style of every plot, and the conversion of a matplotlib figure to SVG inside a page."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1d2733"
MUTED = "#5f6b7a"
RULE = "#d5dae1"
PAPER = "#fdfdfe"
CHOSEN = "#0b6fb8"
REJECTED = "#d0560b"
BASELINE = "#7f8a99"
ORACLE = "#0a8f6a"
MODEL = "#0b6fb7"

COLOUR_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    PAPER: "--paper",
    CHOSEN: "--chosen",
    REJECTED: "--rejected",
    BASELINE: "--baseline",
    ORACLE: "--oracle",
    MODEL: "--model",
}
"""The CSS variable of the page that takes each colour's place, so that plots follow dark mode."""

WIDTH = 520
"""Width of a plot in CSS pixels: half a page. One matplotlib point is one CSS pixel at that width."""
WIDE = 1084
"""Width of a plot that takes the whole page."""
SMALL = 250
"""Width of a plot that is one of four in a row."""
MAX_POINTED = 200
"""Most points of one series that answer to the pointer; of more, evenly many."""

Hover = tuple["Axes", Sequence[float] | np.ndarray, Sequence[float] | np.ndarray, Sequence[str]]
"""Points of a plot that show words when they are pointed at: axes, x, y, words."""

_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.labelsize": 12,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "text.color": INK,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "plaudit",
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot with its words: ``key`` lists (colour name, label) pairs for the legend in the text."""

    svg: str
    title: str
    caption: str = ""
    key: tuple[tuple[str, str], ...] = ()
    wide: bool = False


@contextmanager
def figure(height: int, *, width: int = WIDTH) -> Iterator[Figure]:
    """Yield a new figure of ``width`` × ``height`` CSS pixels in the style of the report."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        yield Figure(figsize=(width / 72, height / 72), layout="constrained")


def svg(drawing: Figure, *, name: str, title: str, description: str = "", hover: Sequence[Hover] = ()) -> str:
    """Return ``drawing`` as an ``<svg>`` element whose ids begin with ``name``, with no outside address.

    ``title`` and ``description`` are for screen readers: the subject of the plot, and its message. Points that were
    rasterised stand inside as data. The points of ``hover`` are written into ``data-points``, for the script of the
    page, as [x, y, words] with x and y in shares of width and height from the upper left. Call this inside ``figure``,
    whose settings it needs.
    """
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for colour, variable in COLOUR_VARIABLES.items():
        text = text.replace(f": {colour}", f": var({variable})")
    words = f'<title id="{name}-title">{escape(title)}</title>'
    named = f'aria-labelledby="{name}-title"'
    if description:
        words += f'<desc id="{name}-desc">{escape(description)}</desc>'
        named += f' aria-describedby="{name}-desc"'
    if points := _pointed(drawing, hover):
        named += f' data-points="{escape(json.dumps(points, ensure_ascii=False, separators=(",", ":")))}"'
    opening, _, rest = text.partition(">")
    return opening.replace("<svg", f'<svg class="plot" role="img" {named}', 1) + f">{words}{rest}"


def _pointed(drawing: Figure, hover: Sequence[Hover]) -> list[tuple[float, float, str]]:
    found = list[tuple[float, float, str]]()
    for axes, x, y, words in hover:
        kept = np.unique(np.linspace(0, len(words) - 1, min(len(words), MAX_POINTED)).round().astype(int))
        if len(kept):
            places = axes.transData.transform(np.column_stack([x, y])[kept]) / drawing.bbox.size
            found += [
                (round(left, 4), round(1 - up, 4), words[k])
                for (left, up), k in zip(places.tolist(), kept, strict=True)
            ]
    return found


def nice_ticks(count: int, *, integer: bool = False) -> Any:
    """Return a locator of at most ``count`` + 1 round ticks."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=count, integer=integer, steps=[1, 2, 2.5, 5, 10])


def percent_axis(axis: Any) -> None:
    """Write the numbers of an axis as percentages."""
    axis.set_major_locator(nice_ticks(6))
    axis.set_major_formatter(_percent)


def _percent(value: float, _: float) -> str:
    return f"{100 * value:.0f}%".replace("-", "−")
