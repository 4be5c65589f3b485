"""Labels in, better masks out: the whole loop on real data, through the API of a real server and its worker.

    python benchmarks/learning_loop.py --data ../shared/data --datasets busi,shenzhen_cxr_lungs \
        --sizes 20,60,200 --spoiled 30

Starts from an empty data folder. For each dataset it uploads labels of the folder's ``train`` in
stages, asks for a job at each, waits for its decision, and measures the masks that the server then
gives for the folder's ``val``, which the service never sees. Then it uploads spoiled labels, the masks
of other images, and asks for one more job. Dice is per image at its own size, two empty masks agree.
"""

from __future__ import annotations

import argparse
import io
import math
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

from server.client import Client, mask_of
from server.load.own_server import own_server
from server.schemas.jobs import JobInfo
from trainer.data.folder import read_split
from trainer.data.items import LabelledImage
from trainer.metrics import overlap

AUTHOR = "learning loop"
KEY = "p1"
SEED = 12345
ENDED = ("succeeded", "failed", "cancelled")
# Of a job on a busy machine; one that takes longer is a fault.
LONGEST_JOB = 3600.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Stage:
    """What one round of labels led to."""

    dataset: str
    labels: str
    decision: str
    champion: str
    dice: float
    candidate_seconds: float
    seconds: float
    reason: str

    def row(self) -> str:
        """A row of the table."""
        cells = (
            self.dataset,
            self.labels,
            self.decision,
            self.champion,
            f"{self.dice:.3f}",
            f"{self.candidate_seconds:.0f}",
            f"{self.seconds:.0f}",
        )
        return f"| {' | '.join(cells)} | {self.reason} |"


def archive(items: Sequence[LabelledImage], masks: Sequence[np.ndarray]) -> bytes:
    """A ZIP of plain folders, which have no splits: the service decides on them."""
    content = io.BytesIO()
    with ZipFile(content, "w") as out:
        for item, mask in zip(items, masks, strict=True):
            drawn = io.BytesIO()
            Image.fromarray(mask.astype(np.uint8) * 255).save(drawn, "PNG")
            out.write(item.image_path, f"images/{item.image_path.name}")
            out.writestr(f"masks/{item.image_path.stem}.png", drawn.getvalue())
    return content.getvalue()


def upload(client: Client, dataset: str, items: Sequence[LabelledImage], masks: Sequence[np.ndarray]) -> str:
    """Send labels of one phrase; what the service said of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.zip"
        path.write_bytes(archive(items, masks))
        phrase = items[0].phrases(KEY)[0]
        report = client.labels.add_archive(dataset, path, annotator=AUTHOR, phrase=phrase)
    return f"{report.images} new images, {report.splits}"


def tuned(client: Client, dataset: str) -> tuple[JobInfo, float]:
    """Ask for a job and wait until it has ended; how many seconds that took."""
    started = time.monotonic()
    job = client.jobs.start(dataset, author=AUTHOR)
    while job.state not in ENDED:
        if time.monotonic() - started > LONGEST_JOB:
            raise TimeoutError(f"job {job.id} has not ended: {job.progress}")
        time.sleep(LOOK_SECONDS)
        job = client.jobs.show(job.id)
    return job, time.monotonic() - started


def served_dice(client: Client, items: Sequence[LabelledImage], dataset: str | None) -> float:
    """Mean Dice of what the server answers."""
    dice = []
    for item in items:
        answers = client.segment(item.image_path, item.phrases(KEY)[0], dataset=dataset)
        mask = mask_of(answers.images[0].masks[0])
        dice.append(overlap(mask, item.mask()).dice)
    return float(np.mean(dice))


def spoiled(items: Sequence[LabelledImage]) -> list[np.ndarray]:
    """For each image the mask of the next one, at its own size."""
    masks = []
    for at, item in enumerate(items):
        height, width = item.mask().shape
        other = Image.fromarray(items[(at + 1) % len(items)].mask())
        masks.append(np.asarray(other.resize((width, height), Image.Resampling.NEAREST)))
    return masks


def stage(client: Client, dataset: str, labels: str, val: Sequence[LabelledImage]) -> Stage:
    """One job, and what is served after it."""
    job, seconds = tuned(client, dataset)
    if job.state != "succeeded":
        return Stage(dataset, labels, job.state, "", math.nan, math.nan, seconds, job.cause or "")
    champion = client.dataset(dataset).champion
    dice = served_dice(client, val, dataset if champion else None)
    found = job.result
    return Stage(
        dataset,
        labels,
        found["decision"],
        champion or "none",
        dice,
        candidate_seconds(client, job),
        seconds,
        found["reason"],
    )


def candidate_seconds(client: Client, job: JobInfo) -> float:
    """How long it was from asking for a job to its candidate, which is then judged."""
    told = (event for event in client.jobs.events(job.id) if event.kind == "log")
    published = next(event for event in told if str(event.data["text"]).startswith("published"))
    return (published.at - job.created_at).total_seconds()


def learn(client: Client, folder: Path, sizes: Sequence[int], bad: int) -> list[Stage]:
    """The loop on one dataset."""
    name = folder.name
    pool, val = list(read_split(folder, "train")), list(read_split(folder, "val"))
    random.Random(SEED).shuffle(pool)
    stages = [Stage(name, "0", "zero-shot", "none", served_dice(client, val, None), 0.0, 0.0, "")]
    print(stages[-1].row(), flush=True)
    sent = 0
    for size in sizes:
        said = upload(client, name, pool[sent:size], [item.mask() for item in pool[sent:size]])
        print(f"{name}: {size - sent} labels sent: {said}", flush=True)
        sent = size
        stages.append(stage(client, name, str(size), val))
        print(stages[-1].row(), flush=True)
    if bad:
        items = pool[sent : sent + bad]
        upload(client, name, items, spoiled(items))
        stages.append(stage(client, name, f"{sent} + {bad} spoiled", val))
        print(stages[-1].row(), flush=True)
    return stages


def main() -> None:
    """Run the loop and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--datasets", default="busi,shenzhen_cxr_lungs")
    parser.add_argument("--sizes", default="20,60,200")
    parser.add_argument("--spoiled", type=int, default=30)
    chosen = parser.parse_args()
    sizes = [int(size) for size in chosen.sizes.split(",")]
    with (
        tempfile.TemporaryDirectory() as folder,
        own_server(["--worker", "--data-dir", folder], log=Path(folder) / "server.log") as url,
        Client(url) as client,
    ):
        stages = [
            each
            for name in chosen.datasets.split(",")
            for each in learn(client, chosen.data / name, sizes, chosen.spoiled)
        ]
    columns = ("dataset", "labels", "decision", "champion", "Dice of served masks on val")
    print(f"\n| {' | '.join(columns)} | candidate after, s | decided after, s | why |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: | --- |")
    for each in stages:
        print(each.row())


if __name__ == "__main__":
    main()
