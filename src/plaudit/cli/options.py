"""Options of several verbs: each is declared once, and those of one idea reach a verb as one value.

A parameter of a verb that is annotated with a ``Bundle``, as ``reading: Reading``, stands for several options; ``verb``
puts these in its place for typer, and builds the value from those given.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from plaudit.cli.console import find_modules_here, progress_bar
from plaudit.data.reading.options import ReadingOptions, reading_options
from plaudit.errors import ConfigError
from plaudit.statistics.steps import Aggregation

if TYPE_CHECKING:
    from plaudit.evaluation.store.result_folder import Replace
    from plaudit.scoring.scorer import Scorer

MODEL_HELP = "Folder, run, hub id, http://…, module:function, ensemble:RULE:MODEL,MODEL,… or dpo:POLICY,REFERENCE."
"""Forms of a model that ``plaudit score`` and ``plaudit evaluate`` take."""
TARGET_HELP = (
    "Files of groups with labels, - for standard input; benchmarks, as NAME=PATH of the official files or NAME for the "
    "hub."
)

InputArgument = Annotated[
    str,
    typer.Argument(metavar="INPUT", help="File of groups, or - for standard input.", show_default=False),
]
ModelArgument = Annotated[str, typer.Argument(help=MODEL_HELP, show_default=False)]
TargetsArgument = Annotated[list[str] | None, typer.Argument(metavar="TARGET", help=TARGET_HELP, show_default=False)]
ConfigArgument = Annotated[Path, typer.Argument(help="YAML file; see docs/reference/config.md.", show_default=False)]
RunDirOption = Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/NAME-TIME")]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Read first rows, tokenizer and template; print the config, steps, tokens and memory."
    ),
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME|MODULE:FUNCTION",
        help="How rows become groups: a format, or a reader of your own.",
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAME=COLUMN,…",
        help="Your columns under the names of the format, as prompt=question,chosen=good_answer.",
        show_default=False,
    ),
]
OnErrorOption = Annotated[
    Literal["raise", "skip"], typer.Option("--on-error", help="Stop at an unreadable row, or count it and go on.")
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option("--max-tokens", min=1, help="Tokens in one forward pass.", show_default="chosen for the device"),
]
AggregationOption = Annotated[
    Aggregation | None,
    typer.Option("--aggregation", help="How step rewards make a response's.", show_default="that of the model"),
]
QuantizationOption = Annotated[
    Literal["4bit", "none"] | None,
    typer.Option("--quantization", help="Round the weights on loading.", show_default="that of the model"),
]
TruncationOption = Annotated[
    Literal["truncate_prompt", "drop", "truncate_response"] | None,
    typer.Option(
        "--truncation",
        help="Of longer ones: cut the prompt from the left, leave them out, or cut the response's end.",
        show_default="that of the model",
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Import code that a model names: a head of your own, its repository's."),
]
TieRuleOption = Annotated[
    Literal["half", "loss", "exclude"],
    typer.Option("--tie-rule", help="What an exact tie counts as: half, wrong, or nothing."),
]
GoldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--gold",
        metavar="FILE",
        help="Gold rewards of the groups, computed elsewhere: they become the rating gold.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Bundle:
    """Annotation of a parameter of a verb whose value ``make`` makes of options, those that it declares."""

    make: Callable[..., Any]
    names: tuple[str, ...] = ()
    """The options of the verb; none for all."""
    on_error: Literal["raise", "skip"] | None = None
    """Default of ``--on-error`` where it is another one."""

    def parameters(self) -> list[inspect.Parameter]:
        """Return the options for typer."""
        declared = inspect.signature(self.make, eval_str=True).parameters
        shown = [each for name, each in declared.items() if not self.names or name in self.names]
        return [
            each.replace(default=self.on_error) if each.name == "on_error" and self.on_error else each for each in shown
        ]


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """Return ``function`` as typer takes it: with the options themselves in place of every parameter of a bundle."""
    bundles: dict[str, tuple[Bundle, list[inspect.Parameter]]] = {}
    shown: list[inspect.Parameter] = []
    for each in inspect.signature(function, eval_str=True).parameters.values():
        found = [mark for mark in getattr(each.annotation, "__metadata__", ()) if isinstance(mark, Bundle)]
        for bundle in found:
            bundles[each.name] = bundle, bundle.parameters()
        shown += bundles[each.name][1] if found else [each]

    @functools.wraps(function)
    def run(**given: Any) -> None:
        made = {
            name: bundle.make(**{each.name: given.pop(each.name) for each in options})
            for name, (bundle, options) in bundles.items()
        }
        function(**given, **made)

    keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in shown]
    vars(run).update(__signature__=inspect.Signature(keyword))
    run.__annotations__ = {each.name: each.annotation for each in shown}
    return run


StepClassesOption = Annotated[
    str | None,
    typer.Option("--step-classes", metavar="NUMBERS", help="Classes of a step, where rows do not say: 0,1 or -1,0,1."),
]


def options_of(
    format: FormatOption = "auto",
    columns: ColumnsOption = None,
    attributes: Annotated[
        str | None,
        typer.Option(
            "--attributes", metavar="NAME,NAME,…", help="Label columns of the format attributes.", show_default=False
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Split of a saved data set or a hub name.")] = "train",
    step_separator: Annotated[
        str,
        typer.Option(
            "--step-separator",
            metavar="TEXT",
            help=r"What joins the steps of a row into a response; \n is a line break.",
            show_default=r"\n",
        ),
    ] = r"\n",
    step_classes: StepClassesOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Groups of each target, from the first.", show_default="all")
    ] = None,
    on_error: OnErrorOption = "raise",
    group_by_prompt: Annotated[
        bool, typer.Option("--group-by-prompt", help="Make one group of consecutive rows with one prompt.")
    ] = False,
    ranks_from: Annotated[
        str | None, typer.Option("--ranks-from", metavar="RATING", help="Rating that ranks responses without ranks.")
    ] = None,
) -> ReadingOptions:
    r"""Return the reading options that a command line gives.

    ``format`` may name a module of the working directory. ``attributes`` are names with commas between them, and in
    ``step_separator`` ``\n``, ``\t`` and ``\\`` stand for a line break, a tab and a backslash.

    Raises:
        ConfigError: where a name of ``columns`` or of ``attributes`` is empty.
        DataError: see ``reading_options``.
        UnknownNameError: see ``reading_options``.
    """
    if ":" in format:
        find_modules_here()
    return reading_options(
        format=format,
        columns=parse_columns(columns),
        attributes=parse_names(attributes),
        split=split,
        step_separator=parse_separator(step_separator),
        step_classes=parse_names(step_classes, option="--step-classes") or None,
        on_error=on_error,
        limit=limit,
        group_by_prompt=group_by_prompt,
        ranks_from=ranks_from,
    )


Reading = Annotated[ReadingOptions, Bundle(options_of)]
ReadingOrSkipping = Annotated[ReadingOptions, Bundle(options_of, on_error="skip")]
"""Options of reading groups to show them: a row that cannot be read is left out."""


@dataclass(frozen=True, slots=True)
class ModelChanges:
    """Settings that take the place of those in the scoring recipe of a model; None keeps its own."""

    aggregation: AggregationOption = None
    quantization: QuantizationOption = None
    max_length: Annotated[
        int | None,
        typer.Option("--max-length", min=2, help="Longest conversation in tokens.", show_default="that of the model"),
    ] = None
    truncation: TruncationOption = None
    max_tokens: MaxTokensOption = None
    trust_remote_code: TrustOption = False

    @property
    def given(self) -> dict[str, str]:
        """Return the options that are given and change rewards, as a command line writes them."""
        unchanging = ("max_tokens", "trust_remote_code")
        options = {
            f"--{name.replace('_', '-')}": value for name, value in asdict(self).items() if name not in unchanging
        }
        return {name: str(value) for name, value in options.items() if value is not None}

    def load(self, model: str) -> Scorer:
        """Return the scorer that ``model`` names, with these settings, and show that it is being loaded.

        Raises:
            ConfigError: when a setting is not one of such a model.
            ModelError, CheckpointError: when it cannot be loaded.
        """
        with progress_bar("loading"):
            return self.open(model)

    def open(self, model: str) -> Scorer:
        """Return the scorer that ``model`` names, with these settings; see ``load``."""
        from plaudit.opening import open_scorer

        return open_scorer(model, **asdict(self))


@dataclass(frozen=True, slots=True)
class Measuring:
    """Options of computing metrics from rewards, and of replacing earlier work."""

    tie_rule: TieRuleOption = "loss"
    answer_pattern: Annotated[
        str | None,
        typer.Option(
            "--answer-pattern",
            help="Final answer of a response, for the majority's vote.",
            show_default="the last number",
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is in the folder, whatever model or data it is of.")
    ] = False
    everything: Annotated[
        bool, typer.Option("--all", help="Print every metric, slice and rule, not only the verdict.")
    ] = False

    @property
    def replace(self) -> Replace:
        """Return which earlier work in a folder of results may be replaced."""
        return "all" if self.overwrite else "nothing"


How = Annotated[Measuring, Bundle(Measuring)]


def parse_names(text: str | None, *, option: str = "--attributes") -> tuple[str, ...]:
    """Return ``NAME,NAME,…`` as names without the white space around them, and none for None.

    Raises:
        ConfigError: when one of them is empty.
    """
    names = () if text is None else tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ConfigError(f"{option} is {text!r}; it must be names with commas between, like helpfulness,verbosity")
    return names


def parse_numbers(text: str, *, option: str) -> list[float]:
    """Return ``NUMBER,NUMBER,…`` as numbers.

    Raises:
        ConfigError: when a part is no number.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option} is {text!r}; it must be numbers with commas between, like 2,1,1") from None


def parse_columns(text: str | None) -> dict[str, str]:
    """Return ``NAME=COLUMN,NAME=COLUMN,…`` as the column of each name.

    Raises:
        ConfigError: where a name or a column is missing, or a name comes twice.
    """
    found: dict[str, str] = {}
    for part in [] if text is None else text.split(","):
        name, _, column = (each.strip() for each in part.partition("="))
        if not name or not column or name in found:
            raise ConfigError(
                f"--columns has {part.strip()!r}; it must be NAME=COLUMN with commas between, each name once, like "
                "prompt=question,chosen=good_answer,rejected=bad_answer"
            )
        found[name] = column
    return found


def parse_separator(text: str) -> str:
    r"""Return ``text`` with ``\n``, ``\t`` and ``\\`` as a shell hands them on: line break, tab and backslash."""
    written = {r"\n": "\n", r"\t": "\t", "\\\\": "\\"}
    return re.sub(r"\\[nt\\]", lambda found: written[found[0]], text)
