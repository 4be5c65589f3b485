"""What putting a batch into the store would do."""

from __future__ import annotations

from sqlalchemy import select

from trainer.intake.batch import Batch
from trainer.labels.errors import UnknownLabelsError
from trainer.labels.new import Added
from trainer.labels.store import LabelStore, dataset_row
from trainer.labels.tables import AnnotationRow, ImageRow


def preview(store: LabelStore | None, dataset: str, batch: Batch) -> Added:
    """How many of a batch's images and annotations are new; nothing is written.

    Splits of new images are decided when they are added, so they are not told.

    Args:
        store: The store; None where there is none yet.
        dataset: The dataset, which need not be there.
        batch: What would be put.
    """
    have, keys = _known(store, dataset)
    added = Added(remarks=list(batch.remarks))
    for image in batch.images:
        known = have.get(image.pixels)
        added.known_images += known is not None
        added.images += known is None
        for annotation in image.annotations:
            same = known is not None and (known, annotation.key) in keys
            added.known_annotations += same
            added.annotations += not same
    return added


def _known(store: LabelStore | None, dataset: str) -> tuple[dict[str, int], set[tuple[int, str]]]:
    """Ids of images by their pixels, and images with the keys of their annotations."""
    if store is None:
        return {}, set()
    with store.database.reading() as session:
        try:
            row = dataset_row(session, dataset)
        except UnknownLabelsError:
            return {}, set()
        of_dataset = ImageRow.dataset_id == row.id
        images = session.execute(select(ImageRow.pixels, ImageRow.id).where(of_dataset))
        have = {pixels: image_id for pixels, image_id in images}
        marks = select(AnnotationRow.image_id, AnnotationRow.key).join(ImageRow).where(of_dataset)
        return have, {(image_id, key) for image_id, key in session.execute(marks)}
