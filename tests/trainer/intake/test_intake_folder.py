"""Folders of labelled images on their way into the store."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models_store.errors import BadInputError
from trainer.intake.batch import Batch, Told, keep
from trainer.intake.faults import RefusedUploadError, located
from trainer.intake.folder import innermost, read_folder
from trainer.intake.masks import encode_mask, mask_of_file
from trainer.intake.preview import preview
from trainer.intake.scratch import scratch_folder
from trainer.labels.blobs import BlobStore
from trainer.labels.database import Database, sqlite_url
from trainer.labels.export import tasks as export
from trainer.labels.listing import list_images
from trainer.labels.revisions import freeze, manifest
from trainer.labels.store import LabelStore

TOLD = Told(annotator="ann")
MASK = np.zeros((32, 32), bool)
MASK[3:9, 4:20] = True


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def dataset(folder: Path, count: int = 4, **entry: object) -> Path:
    """A folder in the benchmark's format, with one split."""
    entries = []
    for seed in range(count):
        coarse = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8)
        save(folder / "images" / f"{seed}.png", np.kron(coarse, np.ones((2, 2, 1), np.uint8)))
        save(folder / "masks" / f"{seed}.png", MASK)
        name = f"{seed}.png"
        entries.append({"img_name": name, "mask_name": name, "prompts": {"p0": "", "p1": "a bar"}} | entry)
    (folder / "anns").mkdir()
    (folder / "anns" / "train.json").write_text(json.dumps(entries))
    return folder


def read(folder: Path, **options: object) -> Batch:
    return read_folder(folder, TOLD, max_pixels=10_000, **options)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(Database(sqlite_url(tmp_path / "labels.db")), BlobStore(tmp_path / "blobs"))


def test_what_is_exported_reads_back_as_it_was(tmp_path: Path, store: LabelStore) -> None:
    batch = read(dataset(tmp_path / "a", group="g"))
    assert preview(store, "toys", batch).annotations == 4
    keep(store, "toys", batch, by="ann")
    target = tmp_path / "out"
    target.mkdir()
    export.write(store.blobs, manifest(store, freeze(store, "toys", by="ann").digest), target)
    again = read(target)
    assert preview(store, "toys", again).known_annotations == 4
    assert [image.group for image in again.images] == ["g"] * 4
    assert keep(store, "toys", again, by="ann").annotations == 0


def test_nothing_is_kept_before_everything_is_read(tmp_path: Path, store: LabelStore) -> None:
    batch = read(dataset(tmp_path / "a"))
    assert list(store.blobs) == []
    assert {image.picture for image in batch.images} <= batch.files.keys()
    keep(store, "toys", batch, by="ann")
    assert set(store.blobs) == batch.files.keys()


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path: Path, store: LabelStore) -> None:
    batch = read(dataset(tmp_path / "a"))
    (tmp_path / "a" / "images" / "1.png").write_bytes(b"other")
    with pytest.raises(BadInputError, match="changed while it was being read"):
        keep(store, "toys", batch, by="ann")
    assert store.names() == []


class TestGroups:
    def groups(self, folder: Path) -> list[str | None]:
        return [image.group for image in read(folder, group="all").images]

    @pytest.mark.parametrize("name", ["1.png", "1", "images/1.png"])
    def test_a_table_names_images_as_people_do(self, tmp_path: Path, name: str) -> None:
        folder = dataset(tmp_path / "a")
        (folder / "groups.csv").write_text(f"image,group\n{name},patient 7\n", encoding="utf-8-sig")
        # What the folder says of one image counts before what is said of all.
        assert self.groups(folder) == ["all", "patient 7", "all", "all"]

    @pytest.mark.parametrize(
        ("table", "text"),
        [
            ("image,group\n1,a\n1.png,b\n", "in group 'b', and in 'a' elsewhere"),
            ("image,group\n9,a\n", "none of the labelled images"),
            ("image,group\n1,\n", "1 to 190 characters"),
            ("image,group\n1,a,b\n", "the columns image,group"),
            ('image,group\n"1', "does not read as a table"),
        ],
    )
    def test_a_table_that_cannot_be_right(self, tmp_path: Path, table: str, text: str) -> None:
        folder = dataset(tmp_path / "a")
        (folder / "groups.csv").write_text(table)
        with pytest.raises(RefusedUploadError, match=text) as error:
            read(folder)
        assert {fault.file for fault in error.value.of_files} == {"groups.csv"}


def test_a_folder_that_holds_all(tmp_path: Path) -> None:
    folder = dataset(tmp_path / "one" / "two")
    assert innermost(tmp_path / "one") == folder
    assert len(read(tmp_path / "one").images) == 4


def test_faults_tell_no_place_of_this_machine(tmp_path: Path) -> None:
    faults = located([f"{tmp_path}/a b.png cannot be read", f"{tmp_path} is odd"], tmp_path, {"a b.png"})
    assert [(fault.file, fault.message) for fault in faults] == [
        ("a b.png", "a b.png cannot be read"),
        (None, "the upload is odd"),
    ]


class TestMasks:
    def test_the_same_pixels_are_the_same_file(self) -> None:
        out = io.BytesIO()
        Image.fromarray(MASK.astype(np.uint8) * 255).convert("RGB").save(out, "BMP")
        assert encode_mask(mask_of_file(out.getvalue(), (32, 32))) == encode_mask(MASK)

    def test_messages_name_no_file_of_this_machine(self) -> None:
        with pytest.raises(BadInputError, match=r"^the mask cannot be read as an image: .*the mask"):
            mask_of_file(b"text", (32, 32))


def hold(parent: Path, said: Callable[[str], None], wait: Callable[[], None]) -> None:
    with scratch_folder(parent) as folder:
        (folder / "file").write_text("x")
        said(str(folder))
        wait()


def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    context = get_context("spawn")
    queue = context.Queue(1)
    for_ever = context.Event()
    process = context.Process(target=hold, args=(tmp_path, queue.put, for_ever.wait))
    process.start()
    theirs = Path(queue.get(timeout=60))
    with scratch_folder(tmp_path) as mine:
        assert mine != theirs
        assert (theirs / "file").is_file()
    process.kill()
    process.join()
    queue.close()
    with scratch_folder(tmp_path):
        assert not theirs.exists()
    assert not folders(tmp_path)


def test_what_was_killed_while_it_was_being_made_or_removed_goes(tmp_path: Path) -> None:
    for name, parts in {"made": [], "removed": ["files/unpacked"]}.items():
        (tmp_path / name).joinpath(*parts).mkdir(parents=True)
    with scratch_folder(tmp_path) as own:
        assert folders(tmp_path) == [own.parent]


def folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()]


def test_images_are_listed_page_after_page(tmp_path: Path, store: LabelStore) -> None:
    keep(store, "toys", read(dataset(tmp_path / "a", 5)), by="ann")
    first = list_images(store, "toys", limit=3)
    rest = list_images(store, "toys", after=first[-1].id, limit=3)
    assert [image.name for image in [*first, *rest]] == [f"{seed}.png" for seed in range(5)]
    assert list_images(store, "toys", labelled=False) == []
