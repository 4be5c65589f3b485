"""A simulation as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from trainer.acquisition.simulation.figures import (
    Comparison,
    Contents,
    compare,
    curve,
    dice_of,
    room,
    whole_pool,
    whole_seeds,
)
from trainer.acquisition.simulation.plan import Plan, listed
from trainer.acquisition.suggest import RANDOM
from trainer.metrics import Interval
from trainer.reports.document import Table
from trainer.reports.markdown import markdown_table, plain

Results = Sequence[tuple[Plan, Contents]]
NAME = "labelling"
CHART, CSV, MARKDOWN = f"{NAME}.png", f"{NAME}.csv", f"{NAME}.md"


def cells_csv(results: Results) -> str:
    """One row per cell, measured or not, with its Dice unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "base", "order", "labels", "seed", "dice", "val_images", "seconds"])
    for plan, contents in results:
        for cell in plan.cells():
            content = contents.get(cell)
            figures = (
                ["", "", ""]
                if content is None
                else [content["dice"], len(content["images"]), round(content["seconds"], 2)]
            )
            writer.writerow([cell.dataset, plan.spec.name, cell.order, cell.labels, cell.seed, *figures])
    return text.getvalue()


def markdown(results: Results, *, command: str) -> str:
    """The whole result as Markdown.

    Args:
        results: The datasets' plans with what is known of their cells.
        command: The command that makes this.
    """
    parts = [
        "# What to label next: a simulation",
        f"Made by `{command}`; every cell is in [{CSV}]({CSV}).",
        f"![Dice against number of labels]({CHART})",
        "## Against random",
        *_comparisons(results),
    ]
    for plan, contents in results:
        parts += [f"## {plain(plan.dataset)}", *_dataset(plan, contents)]
    parts += ["## How this was measured", *_method(results)]
    return "\n\n".join(parts) + "\n"


def interval_words(interval: Interval, *, signed: bool = False) -> str:
    """A mean with its interval; of one seed, the value alone."""
    form = "+.3f" if signed else ".3f"
    if interval.n == 1:
        return f"{interval.mean:{form}}"
    return f"{interval.mean:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def _comparisons(results: Results) -> list[str]:
    rows = []
    reads: list[str] = []
    for plan, contents in results:
        for order in plan.orders:
            if order == RANDOM or RANDOM not in plan.orders:
                continue
            found = compare(plan, contents, order, RANDOM)
            if found is not None:
                rows.append(_comparison_row(plan, found))
                reads.append(found.reads)
    if not rows:
        return ["Nothing is finished that could be compared with random."]
    header = ("dataset", "order", "reads", "all sizes after the first", "largest size", "seeds")
    told = ", ".join(f"{reads.count(word)} {word}" for word in dict.fromkeys(reads))
    return [
        markdown_table(Table(header, tuple(rows), words=3)),
        "Dice of the order minus Dice of random at the same number of labels, paired by seed, with Student's "
        f"95 % intervals over seeds. Of {len(reads)} comparisons: {told}. One comparison in twenty would "
        "look better or worse by chance alone.",
    ]


def _comparison_row(plan: Plan, found: Comparison) -> tuple[str, ...]:
    figures = (interval_words(each, signed=True) for each in (found.difference, found.last))
    return (plan.dataset, found.order, found.reads, *figures, str(found.difference.n))


def _dataset(plan: Plan, contents: Contents) -> list[str]:
    seeds = whole_seeds(plan, contents, plan.orders)
    zero, everything = dice_of(contents, plan.zero_shot()), whole_pool(plan, contents)
    bounds = [
        *([] if zero is None else [f"Zero-shot: Dice {zero:.3f}."]),
        *(
            []
            if everything is None
            else [f"With all {plan.protocol.pool} images of the pool labelled: {interval_words(everything)}."]
        ),
    ]
    between = room(plan, contents)
    if between is not None:
        verdict = "there is room to gain" if between.low > 0 else "labels are not what this tuning lacks"
        bounds.append(
            f"That is {interval_words(between, signed=True)} against the first {plan.protocol.sizes[0]}, "
            f"paired by seed: {verdict}."
        )
    if not seeds:
        return [" ".join(bounds), "No seed is finished with all orders."]
    rows = tuple(
        (order, *(interval_words(point) for point in curve(plan, contents, order))) for order in plan.orders
    )
    header = ("order", *(f"{size} labels" for size in plan.protocol.sizes))
    missing = len(plan.seeds) - len(seeds)
    counted = f"Mean Dice over {len(seeds)} seeds" + (f"; {missing} are not finished." if missing else ".")
    return [" ".join([counted, *bounds]), markdown_table(Table(header, rows))]


def _method(results: Results) -> list[str]:
    plan = results[0][0]
    protocol, first = plan.protocol, plan.protocol.sizes[0]
    return [
        f"Of each dataset, {protocol.pool} images of `train` are there to be labelled and {protocol.val} of "
        f"`val` are measured on, the same for all seeds. A seed draws the first {first} labels, the same for "
        f"all orders. Then, until there are {listed(protocol.sizes[1:])}: tune, ask the order which images "
        "to label, give it their masks, tune anew. The checkpoints an order can compare are the present one "
        "and the one before it, which at first is zero-shot. Random draws with the seed.",
        f"Every tuning run is {protocol.strategy} on `{plan.spec.name}` from the start, {protocol.epochs} "
        f"epochs of {protocol.steps} steps of {protocol.batch_size} images, not augmented, however many "
        "labels there are; a part of the labels is held out, and the epoch with the best Dice on it is kept. "
        "`val` chooses nothing.",
        f"Dice is per image at its own size, threshold {protocol.threshold}, averaged over the {protocol.val}"
        " images. Intervals are over seeds: they tell how another start and another run would turn out, not "
        "another choice of images to measure on.",
    ]
