"""Which score tells present from absent: AUC, and balanced accuracy of a cut on images it was not found on.

    python benchmarks/presence_scores.py REGISTRY DATA busi/v0001:70:50 fuseg_foot_ulcer/v0001:70:50

Each checkpoint is asked on training images that it never saw, which is why it must have been tuned with
``--limit 100`` and the default seed. The numbers are images with the thing and images without it; each is
also asked for six things that no such image has.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models_store.bases import load_base
from models_store.names import DEFAULT_BASE
from models_store.registry import Registry
from models_store.vlsm import FrozenVLSM
from trainer.calibration import absent_things, best_cut
from trainer.data.dataset import open_dataset
from trainer.data.examples import Examples, load_examples
from trainer.evaluate import batched_logits

SEED, LIMIT, HALVINGS, THINGS = 12345, 100, 20, 6
Values = NDArray[np.float32]


def scores(logits: Tensor) -> dict[str, Tensor]:
    """Candidates, each [B], of logits [B, 1, S, S]."""
    probability = logits.float().sigmoid()
    flat = probability.flatten(1)
    ranked = flat.sort(dim=1, descending=True).values
    found = {"maximum": ranked[:, 0], "area": (flat > 0.5).float().mean(1), "sum": flat.mean(1)}
    for window in (3, 7, 15):
        found[f"maximum of {window} x {window}"] = F.avg_pool2d(probability, window, 1).flatten(1).amax(1)
    for share in (0.001, 0.005, 0.01, 0.05):
        found[f"top {share:.1%}"] = ranked[:, : max(1, round(share * flat.shape[1]))].mean(1)
    return found


def unseen(folder: Path, vlsm: FrozenVLSM, present: int, empty: int) -> Examples:
    """Training images that a run of 100 never saw: first those with the thing, then those without."""
    items = list(open_dataset(folder, prompt_key="p1").items("train"))
    images = list(dict.fromkeys(item.image_path for item in items))
    seen = {images[i] for i in np.random.default_rng([SEED, 1]).permutation(len(images))[:LIMIT]}
    rest = [item for item in items if item.image_path not in seen]
    shuffled = [rest[i] for i in np.random.default_rng(7).permutation(len(rest))]
    there = [item for item in shuffled if item.mask().any()][:present]
    not_there = [item for item in shuffled if not item.mask().any()][:empty]
    return load_examples(there + not_there, vlsm.spec)


def auc(present: Values, absent: Values) -> float:
    """Share of pairs in the right order; ties count half."""
    above = (present[:, None] > absent).mean() + 0.5 * (present[:, None] == absent).mean()
    return float(above)


def halved(present: Values, kinds: list[Values]) -> float:
    """Mean balanced accuracy on one half of a cut found on the other."""
    found = []
    for seed in range(HALVINGS):
        random = np.random.default_rng(seed)

        def halves(values: Values, random: np.random.Generator = random) -> tuple[Values, Values]:
            mixed = values[random.permutation(len(values))]
            return mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]

        fit, judge = zip(*(halves(values) for values in (present, *kinds)), strict=True)
        cut = best_cut(fit[0], list(fit[1:]))
        specificity = np.mean([(values < cut).mean() for values in judge[1:]])
        found.append(((judge[0] >= cut).mean() + specificity) / 2)
    return float(np.mean(found))


def main() -> None:
    """Print a table per checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("registry", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", nargs="+", metavar="DATASET/VERSION:PRESENT:EMPTY")
    parser.add_argument("--base", default=DEFAULT_BASE)
    options = parser.parse_args()
    vlsm, registry = load_base(options.base), Registry(options.registry)
    for text in options.checkpoints:
        name, present, empty = text.split(":")
        checkpoint = registry.read(registry.resolve(name))
        checkpoint.check_base(vlsm.spec)
        examples = unseen(options.data / name.partition("/")[0], vlsm, int(present), int(empty))
        things = absent_things()[:THINGS]
        rows = [row for row in range(len(examples)) for _ in range(1 + len(things))]
        phrases = [(own,) for each in examples.phrases for own in (each[0], *things)]
        asked = replace(examples.select(rows), phrases=tuple(phrases))
        batches = batched_logits(
            vlsm, checkpoint.pack, asked, device=torch.device("cpu"), batch_size=4 * (1 + len(things))
        )
        parts = [scores(logits) for _, logits in batches]
        there = sum(bool(truth.unpack().any()) for truth in examples.truths)
        print(f"{name}: {there} with {examples.phrases[0][0]!r}, {len(examples) - there} without")
        for score in parts[0]:
            table = np.concatenate([part[score].numpy() for part in parts]).reshape(len(examples), -1)
            own, other = table[:, 0], table[:, 1:].ravel()
            kinds = [other] if there == len(examples) else [own[there:], other]
            areas = ", ".join(f"{auc(own[:there], kind):.3f}" for kind in kinds)
            print(f"  {score:18} balanced accuracy {halved(own[:there], kinds):.3f}, AUC {areas}")


if __name__ == "__main__":
    main()
