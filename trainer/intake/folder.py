"""A folder of labelled images, in any accepted layout, checked file by file and made ready to be kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models_store.errors import BadInputError, StudioError
from trainer.data.checks import ImageFacts
from trainer.data.dataset import Inspection, inspect_dataset
from trainer.data.folder import choose_layout
from trainer.data.formats.drawn import NO_SPLITS
from trainer.data.formats.layout import IMAGE_FOLDERS
from trainer.data.items import LabelledImage
from trainer.data.phrases import PhraseRule, Prompts
from trainer.data.pictures import opened, pictures_in, read_image
from trainer.intake.archive import Progress, no_progress
from trainer.intake.batch import SUFFIX_OF, Batch, Told
from trainer.intake.faults import FileFault, RefusedUploadError, located
from trainer.labels.new import NewAnnotation, Split


def read_folder(
    folder: Path,
    told: Told,
    *,
    max_pixels: int,
    phrase: str | None = None,
    group: str | None = None,
    format: str | None = None,
    progress: Progress = no_progress,
) -> Batch:
    """Read a folder, looking at every file of it.

    Its splits ``train`` and ``val`` are followed as hints. A ``test`` split is left out, with a remark:
    what is kept here is tuned on and chosen by, and a test set that is no longer is one. Where a folder
    has no splits of its own the store decides, as for single images.

    Args:
        folder: The folder, or one that holds it and nothing else.
        told: What is said of all annotations.
        max_pixels: Largest width times height of an image.
        phrase: One phrase for all images; needed where the layout has none.
        group: A group that all images belong to; what the folder says of single ones counts before it.
        format: The name of the layout; None takes the one it looks like.
        progress: Told how many images are checked.

    Raises:
        RefusedUploadError: Something cannot be right; every fault is listed, by file.
    """
    root = innermost(folder)
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    faults = [fault for path in pictures_in(root) if (fault := _header_fault(path, root, max_pixels))]
    if faults:
        # Not looked at any closer: what has too many pixels must not be decoded.
        raise RefusedUploadError(f"{len(faults)} image files cannot be used", faults)
    try:
        draws = choose_layout(root, format).draws(root)
        inspection = inspect_dataset(root, format=format, rule=PhraseRule("p1", phrase))
    except StudioError as error:
        raise RefusedUploadError("the upload cannot be used", located([str(error)], root, files)) from error
    looked_at = [facts for looked in inspection.facts.values() for _, facts in looked]
    about = {fault: facts.path for facts in looked_at for fault in facts.faults}
    _refuse_if(located(inspection.faults, root, files, about))
    reading = _Reading(root, told, phrase, group, draws)
    _refuse_if(reading.take(inspection, progress))
    reading.remark(inspection)
    return reading.batch


def _refuse_if(faults: list[FileFault]) -> None:
    if faults:
        raise RefusedUploadError(f"the upload has {len(faults)} faults", faults)


def innermost(folder: Path) -> Path:
    """The folder itself, or the one that is alone in it: archives often hold a folder that holds all."""
    while True:
        inside = list(folder.iterdir())
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].name.lower() in IMAGE_FOLDERS:
            return folder
        folder = inside[0]


def _header_fault(path: Path, root: Path, max_pixels: int) -> FileFault | None:
    """What an image's header is refused for."""
    name = path.relative_to(root).as_posix()
    try:
        with opened(path) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                size = f"{width:,} x {height:,} = {width * height:,}"
                return FileFault(name, f"has {size} pixels; at most {max_pixels:,} are accepted")
            if picture.format not in {"JPEG", "MPO"} and getattr(picture, "n_frames", 1) > 1:
                return FileFault(name, "holds several images; a file of one is accepted")
    except BadInputError as error:
        return located([str(error)], root, {name})[0]
    return None


class _Reading:
    """Turns what was inspected into a batch."""

    def __init__(self, root: Path, told: Told, phrase: str | None, group: str | None, draws: bool):
        self.batch = Batch()
        self._root, self._told, self._phrase, self._group, self._draws = root, told, phrase, group, draws
        self._unlabelled: set[Path] = set()

    def take(self, inspection: Inspection, progress: Progress) -> list[FileFault]:
        """Take the images of ``train`` and ``val``; returns what is wrong with them."""
        faults: list[FileFault] = []
        wanted = {split: inspection.facts[split] for split in Split if split in inspection.facts}
        total, done = sum(map(len, wanted.values())), 0
        for split, looked in wanted.items():
            for items, facts in looked:
                try:
                    self._take(items, facts, None if self._draws else Split(split))
                except StudioError as error:
                    faults.append(FileFault(facts.path.relative_to(self._root).as_posix(), str(error)))
                done += 1
                progress("reading", done, total)
        if not total:
            faults.append(FileFault(None, "there is no image of train or val in it"))
        return faults

    def _take(self, items: Sequence[LabelledImage], facts: ImageFacts, split: Split | None) -> None:
        with opened(facts.path) as picture:
            suffix = SUFFIX_OF.get(str(picture.format))
        if suffix is None:
            raise BadInputError("is no PNG, JPEG, TIFF, BMP or WebP file; images of these are accepted")
        path = facts.path.relative_to(self._root)
        inner = Path(*path.parts[1:]) if path.parts[0].lower() in IMAGE_FOLDERS else path
        self.batch.image(
            read_image(facts.path),
            facts.path,
            name=inner.as_posix(),
            suffix=suffix,
            annotations=[self._annotation(item) for item in items],
            group=self._group if items[0].group is None else items[0].group,
            split=split,
        )

    def _annotation(self, item: LabelledImage) -> NewAnnotation:
        marked = item.truth.read()
        if marked.ignored is not None and marked.ignored.any():
            self._unlabelled.add(item.image_path)
        prompts: Prompts = item.prompts if self._phrase is None else {"p0": "", "p1": self._phrase.strip()}
        return self.batch.annotation(marked.mask, prompts, self._told, class_name=item.class_name)

    def remark(self, inspection: Inspection) -> None:
        """Say what a reader should know."""
        remarks = [text for text in inspection.dataset.warnings if not text.startswith(NO_SPLITS)]
        for split, looked in inspection.facts.items():
            if split not in set(Split):
                remarks.append(f"{split}: {len(looked)} images were left out; only train and val are kept")
        items = [item for items in inspection.dataset.splits.values() for item in items]
        named = {path for item in items for path in (item.image_path, item.mask_path)}
        unused = sum(path not in named for path in pictures_in(self._root))
        if unused:
            remarks.append(f"{unused} image files belong to no labelled image and were left out")
        if self._unlabelled:
            # A mask is kept as 0 and 255, which has no place for them.
            remarks.append(
                f"{len(self._unlabelled)} images have pixels that nobody labelled; here they are background"
            )
        self.batch.remarks += remarks
