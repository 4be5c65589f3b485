"""What an upload did, as its answer tells."""

from __future__ import annotations

from server.schemas import LabelReport
from trainer.intake.batch import Batch
from trainer.labels.new import Added


def report_of(dataset: str, batch: Batch, added: Added, *, dry_run: bool) -> LabelReport:
    """The report of a batch that was kept, or would be."""
    return LabelReport(
        dataset=dataset,
        dry_run=dry_run,
        images=added.images,
        known_images=added.known_images,
        annotations=added.annotations,
        known_annotations=added.known_annotations,
        splits=added.splits,
        image_ids=added.image_ids,
        annotation_ids=added.annotation_ids,
        flagged=sum(bool(image.flags) for image in batch.images),
        remarks=added.remarks,
    )
