"""Archives of DICOM images and the Segmentations that refer to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from models_store.errors import BadInputError, StudioError
from server.images.dicom import looks_like_dicom
from server.inputs import ImageLimits
from server.intake.dicom import DicomSent, header_only, take_dicom
from server.intake.pseudonyms import Pseudonyms
from server.intake.seg import SegmentationFile, is_segmentation
from server.intake.single_dicom import add_frame, annotations_of
from trainer.intake.archive import Progress
from trainer.intake.batch import Batch, Told
from trainer.intake.faults import FileFault, RefusedUploadError
from trainer.labels.new import NewAnnotation, Split

# What stands at the head of a DICOM file, and is enough to tell it.
HEAD = 132
# Directories of removable media list files, and hold no image.
DIRECTORY = "DICOMDIR"


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files of a folder, sorted."""
    return [path for path in _files(folder) if _is_dicom(path)]


def read_dicom_folder(
    folder: Path,
    told: Told,
    *,
    scratch: Path,
    pseudonyms: Pseudonyms,
    limits: ImageLimits,
    group: str | None,
    progress: Progress,
) -> Batch:
    """Read DICOM images and Segmentations, matched by the instances that these refer to.

    Images that no Segmentation refers to are taken as well, to be labelled. A folder ``train`` or ``val``
    hints at the split of what is in it.

    Args:
        folder: The folder.
        told: What is said of all annotations.
        scratch: An empty folder elsewhere, for what waits to be kept.
        pseudonyms: Give UIDs, names and groups.
        limits: What one image may be; its frames count.
        group: A group that all images belong to; None groups them by patient.
        progress: Told how many files are read.

    Raises:
        RefusedUploadError: Something cannot be right; every fault is listed, by file.
    """
    return _Reading(folder, told, scratch, pseudonyms, limits, group).read(progress)


def split_of(path: Path) -> Split | None:
    """The split that a folder of a path is named after, if it is one."""
    named = set(path.parts[:-1]) & set(Split)
    return Split(named.pop()) if len(named) == 1 else None


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != DIRECTORY)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return looks_like_dicom(file.read(HEAD))


class _Reading:
    def __init__(
        self,
        folder: Path,
        told: Told,
        scratch: Path,
        pseudonyms: Pseudonyms,
        limits: ImageLimits,
        group: str | None,
    ):
        self._folder, self._told, self._scratch = folder, told, scratch
        self._pseudonyms, self._limits, self._group = pseudonyms, limits, group
        self._faults: list[FileFault] = []
        self._batch = Batch()
        self._numbers = count()

    def read(self, progress: Progress) -> Batch:
        files = list(_files(self._folder))
        images: dict[str, Path] = {}
        segmentations: dict[Path, SegmentationFile] = {}
        for path in files:
            try:
                self._sort(path, images, segmentations)
            except StudioError as error:
                self._fault(path, str(error))
        of_image: dict[str, list[Path]] = defaultdict(list)
        for path, segmentation in segmentations.items():
            known = segmentation.sources & images.keys()
            if not known:
                self._fault(path, "refers to no image in the archive")
            for uid in known:
                of_image[uid].append(path)
        unlabelled = 0
        for done, (uid, path) in enumerate(images.items(), start=1):
            try:
                unlabelled += not self._take(path, {each: segmentations[each] for each in of_image[uid]})
            except StudioError as error:
                self._fault(path, str(error))
            progress("reading", done, len(images))
        if not images:
            self._faults.append(FileFault(None, "there is no DICOM image in it"))
        if self._faults:
            raise RefusedUploadError(f"the upload has {len(self._faults)} faults", self._faults)
        if unlabelled:
            self._batch.remarks.append(f"{unlabelled} images have no segment on them and wait for a label")
        return self._batch

    def _sort(self, path: Path, images: dict[str, Path], segmentations: dict[Path, SegmentationFile]) -> None:
        if not _is_dicom(path):
            raise BadInputError("is no DICOM file; beside DICOM images only Segmentations are accepted")
        content = path.read_bytes()
        header = header_only(content)
        if is_segmentation(header):
            segmentations[path] = SegmentationFile(content, self._limits.max_pixels)
            return
        # A file without a UID is nobody's reference, and stands for itself.
        uid = str(header.get("SOPInstanceUID") or "") or path.relative_to(self._folder).as_posix()
        if uid in images:
            raise BadInputError(f"is the same instance as {images[uid].relative_to(self._folder)}")
        images[uid] = path

    def _take(self, path: Path, segmentations: dict[Path, SegmentationFile]) -> bool:
        """Take an image; whether anything is marked in it."""
        sent = take_dicom(path.read_bytes(), self._pseudonyms, self._limits)
        marked = False
        for frame in sent.frames:
            annotations: list[NewAnnotation] = []
            for where, segmentation in segmentations.items():
                annotations += self._segments(
                    where, segmentation, sent, frame.frame, (frame.width, frame.height)
                )
            marked |= bool(annotations)
            folder = self._scratch / str(next(self._numbers))
            add_frame(
                self._batch,
                sent,
                frame,
                annotations,
                self._pseudonyms,
                group=self._group,
                split=split_of(path.relative_to(self._folder)),
                scratch=folder,
            )
        return marked

    def _segments(
        self,
        where: Path,
        segmentation: SegmentationFile,
        sent: DicomSent,
        frame: int,
        size: tuple[int, int],
    ) -> list[NewAnnotation]:
        # Of several images a segment is rarely on all; only of one that is alone, not found is an answer.
        alone = len(segmentation.sources) == 1 and len(sent.frames) == 1
        number = frame if len(sent.frames) > 1 else None
        try:
            found = segmentation.segments([sent.uid], size, number, empty=alone)
            return annotations_of(self._batch, found, self._told)
        except StudioError as error:
            self._fault(where, str(error))
            return []

    def _fault(self, path: Path, message: str) -> None:
        fault = FileFault(path.relative_to(self._folder).as_posix(), message)
        if fault not in self._faults:
            self._faults.append(fault)
