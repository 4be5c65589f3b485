"""The table of a benchmark, as Markdown and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.benchmark.classes import class_tables
from trainer.benchmark.compare import (
    Content,
    Finished,
    answers,
    best_of,
    difference,
    finished,
    mean_dice,
    overlapping,
)
from trainer.benchmark.configurations import configurations, in_words
from trainer.benchmark.plan import ZERO_SHOT_NAME, Cell, Protocol
from trainer.benchmark.store import FAILED
from trainer.comparison import HD95_RULE, figure
from trainer.reports.document import Table
from trainer.reports.markdown import markdown_table, plain

CHART = "benchmark.png"
TIE = "≈"
HEADER = (
    "base",
    "method",
    "learned",
    "Dice",
    "minus zero-shot",
    "IoU",
    "pooled IoU",
    "HD95, px",
    "spread by wording",
    "minutes",
)

Contents = Sequence[tuple[Cell, Content | None]]


def markdown(contents: Contents, *, command: str, protocol: Protocol) -> str:
    """The whole result as Markdown.

    Args:
        contents: The cells in order, with what is known of each.
        command: The command that makes this.
        protocol: What was the same for all.
    """
    cells = finished(contents)
    datasets = list(dict.fromkeys(cell.dataset for cell, _ in contents))
    bases = list(dict.fromkeys(cell.base for cell, _ in contents))
    parts = ["# Benchmark", _made_by(contents, command), f"![Dice of every cell]({CHART})"]
    if cells:
        parts += ["## Mean Dice", _overview(cells, datasets)]
    for dataset in datasets:
        parts += [f"## {plain(dataset)}", *_dataset([f for f in cells if f[0].dataset == dataset])]
    compared = answers(cells, datasets, bases)
    if compared:
        parts += ["## Visual, multimodal and text prompts", *_answers(compared)]
    parts += _unfinished(contents)
    parts += ["## How this was measured", *_method(protocol), *_tries(contents, protocol)]
    return "\n\n".join(parts) + "\n"


def _made_by(contents: Contents, command: str) -> str:
    done = len(finished(contents))
    return (
        f"{done} of {len(contents)} cells are finished. Made by (finished cells are kept, so it goes on "
        f"where it was stopped):\n\n```sh\n{command}\n```"
    )


def _overview(cells: Finished, datasets: Sequence[str]) -> str:
    rows = []
    best = {d: best_of([f for f in cells if f[0].dataset == d]) for d in datasets}
    for base, method in dict.fromkeys((cell.base, cell.method) for cell, _ in cells):
        found = {cell.dataset: (cell, c) for cell, c in cells if (cell.base, cell.method) == (base, method)}
        shown = [_short(found.get(d), best[d]) for d in datasets]
        mean = (
            f"{sum(mean_dice(c) for _, c in found.values()) / len(found):.3f}"
            if len(found) == len(datasets)
            else ""
        )
        rows.append((base, method, *shown, mean))
    table = Table(("base", "method", *datasets, "mean"), tuple(rows), words=2)
    return _bold(markdown_table(table)) + f"\n\nBold: highest of its dataset. {_tie_note()}"


def _short(found: tuple[Cell, Content] | None, best: tuple[Cell, Content] | None) -> str:
    if found is None or best is None:
        return ""
    text = f"{mean_dice(found[1]):.3f}"
    if found[0] == best[0]:
        return f"\0{text}\0"
    return f"{text} {TIE}" if overlapping(found[1], best[1]) else text


def _tie_note() -> str:
    return f"{TIE}: its 95 % interval overlaps that of the bold one, so these images may not tell them apart."


def _bold(text: str) -> str:
    # Set after escaping, which would take the asterisks for the user's own.
    return text.replace("\0", "**")


def _dataset(cells: Finished) -> list[str]:
    best = best_of(cells)
    if best is None:
        return ["No cell of this dataset is finished."]
    rows = tuple(_row(found, best) for found in cells)
    images = best[1]["images_used"]
    words = (
        f"Tuned on {images['train']} images, chosen on {images['select']} held out of train, "
        f"reported on {images['val']} of val."
    )
    if images["val_rows"] != images["val"]:
        words += f" Each class of an image is asked for apart: {images['val_rows']} masks."
    warnings = [f"- {plain(warning)}" for warning in best[1]["data_warnings"]]
    parts = [words, _bold(markdown_table(Table(HEADER, rows, words=2))), _best_in_words(cells, best)]
    parts += ["What is remarkable about the data:\n\n" + "\n".join(warnings)] if warnings else []
    return parts + class_tables(cells)


def _best_in_words(cells: Finished, best: tuple[Cell, Content]) -> str:
    others = sorted((f for f in cells if f[0] != best[0]), key=lambda f: -mean_dice(f[1]))
    if not others:
        return "There is nothing to compare it with."
    ties = [_title(cell) for cell, content in others if overlapping(content, best[1])]
    overlap = (
        f"Its interval overlaps with those of {', '.join(ties)}." if ties else "Its interval overlaps none."
    )
    ahead = figure(difference([best[1]], [others[0][1]]))
    return (
        f"Best: {_title(best[0])}. {overlap} On the same images it is {ahead} above {_title(others[0][0])}."
    )


def _title(cell: Cell) -> str:
    return f"{cell.method} on {plain(cell.base)}"


def _row(found: tuple[Cell, Content], best: tuple[Cell, Content]) -> tuple[str, ...]:
    cell, content = found
    figures, sensitivity = content["figures"], content["sensitivity"]
    dice = figure(figures["dice"])
    if cell == best[0]:
        dice = f"\0{dice}\0"
    elif overlapping(content, best[1]):
        dice = f"{dice} {TIE}"
    return (
        cell.base,
        cell.method,
        f"{content['learnable']:,}",
        dice,
        "" if content["difference"] is None else figure(content["difference"]["dice"]),
        figure(figures["iou"]),
        f"{figures['pooled_iou']:.3f}",
        figure(figures["hd95"], 1) + (f", {n} undefined" if (n := figures["hd95_undefined"]) else ""),
        "" if sensitivity is None else f"{sensitivity['deviation']['mean']:.3f}",
        f"{content['seconds'] / 60:.1f}",
    )


def _answers(rows: Sequence[dict[str, Any]]) -> list[str]:
    table = tuple(
        (r["base"], r["question"], r["dataset"], _reads(r["dice"]), figure(r["dice"])) for r in rows
    )
    words = (
        "Differences in Dice on the same images, of each kind's mean over its strategies: visual is vpt; "
        "multimodal are maple, shared_separate and shared_attention; text are coop and cocoop."
    )
    return [words, markdown_table(Table(("base", "question", "dataset", "reads", "Dice"), table, words=4))]


def _reads(interval: dict[str, Any]) -> str:
    if interval["low"] > 0:
        return "better"
    return "worse" if interval["high"] < 0 else "not told apart"


def _unfinished(contents: Contents) -> list[str]:
    lines = []
    for cell, content in contents:
        if content is None:
            lines.append(f"- {plain(cell.dataset)}, {plain(cell.base)}, {cell.method}: not measured yet")
        elif content["status"] == FAILED:
            lines.append(
                f"- {plain(cell.dataset)}, {plain(cell.base)}, {cell.method}: failed: "
                f"{plain(content['error'])}"
            )
    return ["## Not finished", "\n".join(lines)] if lines else []


def _method(protocol: Protocol) -> list[str]:
    how_many = "one configuration" if protocol.trials == 1 else f"{protocol.trials} configurations"
    epochs = "1 epoch" if protocol.epochs == 1 else f"{protocol.epochs} epochs"
    steps = "" if protocol.steps is None else f" of at most {protocol.steps} steps"
    return [
        f"Every tuned cell had the same budget: {how_many} from the short list below, at most "
        f"{epochs}{steps} each, batches of {protocol.batch_size}, seed {protocol.seed}"
        f"{', augmented' if protocol.augment else ''}. The configuration and the epoch were chosen by Dice "
        "on images held out of train; val was looked at once, with the chosen one.",
        f"Dice, IoU and HD95 are per image at its own resolution, threshold {protocol.threshold:g}, then "
        "averaged; two empty masks agree (Dice and IoU 1). Pooled IoU counts all pixels of the set. "
        f"{HD95_RULE}. In brackets: 95 % interval by bootstrap over images; differences are of the same "
        "images. One seed: the intervals say nothing of how another run would turn out.",
        "Learned: values that were trained; for decoder and end-to-end, weights of the base that masks "
        "depend on. Spread by wording: standard deviation of an image's Dice over annotated and generic "
        f"ways of asking for the same thing, averaged over at most {protocol.sensitivity_images} images. "
        "Minutes: of all tries of the cell, on a machine that may have done other work beside.",
    ]


def _tries(contents: Contents, protocol: Protocol) -> list[str]:
    methods = [m for m in dict.fromkeys(cell.method for cell, _ in contents) if m != ZERO_SHOT_NAME]
    rows = [
        (method, "; ".join(in_words(c.row()) for c in configurations(method)[: protocol.trials]))
        for method in methods
    ]
    return [markdown_table(Table(("method", "configurations"), tuple(rows), words=2))] if rows else []
