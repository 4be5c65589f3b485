"""Checkpoint files of the original CRIS: whole ones load, and every kind of damage is named."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from original_files import number_of, published_shapes, published_state, write_original
from torch import Tensor

from models_store.cris.original import OriginalWeights, clip_tokenizer, load_original
from models_store.errors import DamagedError, MismatchError, StudioError

SENTINELS = [
    "proj.txt.weight",
    "neck.coordconv.0.conv1.0.weight",
    "backbone.visual.attnpool.connect.0.weight",
]
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_original(tmp_path_factory.mktemp("cris") / "best_model.pth", published_state("module."))


@pytest.fixture(scope="module")
def loaded(wrapped: Path) -> OriginalWeights:
    return load_original(wrapped)


def test_the_file_is_of_the_published_size() -> None:
    shapes = published_shapes()
    assert len(shapes) == 662
    learned = [s for name, s in shapes.items() if not re.search(r"running_|num_batches", name)]
    assert sum(torch.Size(s).numel() for s in learned) == 146_849_122


def test_every_entry_arrives_under_its_name(loaded: OriginalWeights) -> None:
    assert loaded.counts == {"backbone": 495, "neck": 77, "decoder": 74, "proj": 16}
    assert loaded.wrapped
    shapes = published_shapes()
    assert loaded.tensors.keys() == shapes.keys()
    for name, tensor in loaded.tensors.items():
        assert tuple(tensor.shape) == shapes[name]
        wanted = 7 if name.endswith("num_batches_tracked") else number_of(name)
        assert float(tensor.flatten()[-1]) == pytest.approx(wanted)


def test_without_the_wrapper_bookkeeping_and_precision_it_is_the_same(
    tmp_path: Path, loaded: OriginalWeights
) -> None:
    torch.save(published_state(dtype=torch.float64), tmp_path / "plain.pth")
    plain = load_original(tmp_path / "plain.pth")
    assert not plain.wrapped
    assert all(t.dtype in (torch.float32, torch.int64) for t in plain.tensors.values())
    assert plain.counts == loaded.counts
    for name in SENTINELS:
        assert torch.equal(plain.tensors[name], loaded.tensors[name])


def test_names_of_synchronised_batch_norms_are_the_same() -> None:
    norms = (torch.nn.BatchNorm2d(4), torch.nn.SyncBatchNorm(4))
    assert norms[0].state_dict().keys() == norms[1].state_dict().keys()


def refused(path: Path, message: str, kind: type[StudioError] = DamagedError) -> None:
    with pytest.raises(kind, match=message):
        load_original(path)


def without(name: str) -> Change:
    return lambda state: state.pop(name)


def put(name: str, value: Any) -> Change:
    return lambda state: state.update({name: value})


def one(*shape: int) -> Tensor:
    """Zeros of a shape that take no room."""
    return torch.zeros(()).expand(shape)


NOT_FINITE = "holds values that are not finite"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("backbone.ln_final.weight"),
            r"backbone has 494 of 495 entries; it lacks backbone\.ln_final\.weight",
        ),
        (without("neck.aggr.0.weight"), r"neck has 76 of 77 entries; it lacks neck\.aggr\.0\.weight"),
        (without("decoder.norm.bias"), r"decoder has 73 of 74 entries; it lacks decoder\.norm\.bias"),
        (without("proj.txt.bias"), r"proj has 15 of 16 entries; it lacks proj\.txt\.bias"),
        (without("backbone.logit_scale"), r"lacks backbone\.logit_scale"),
        (
            without("neck.txt_proj.1.num_batches_tracked"),
            r"lacks neck\.txt_proj\.1\.num_batches_tracked",
        ),
        *((without(name), f"lacks {re.escape(name)}") for name in SENTINELS),
        (put("proj.vis.5.weight", torch.zeros(1)), r"has proj\.vis\.5\.weight, which a CRIS does not have"),
        (put("head.weight", torch.zeros(1)), r"has head\.weight, which no part of CRIS has"),
        (put("module.proj.x", torch.zeros(1)), r"has module\.proj\.x, which no part of CRIS has"),
        (
            put("backbone.ln_final.bias", torch.zeros(511)),
            r"backbone\.ln_final\.bias has shape \[511\], not \[512\]",
        ),
        (
            put("neck.f2_cat.0.weight", one(512, 1535, 1, 1)),
            r"neck\.f2_cat\.0\.weight has shape \[512, 1535, 1, 1\], not \[512, 1536, 1, 1\]",
        ),
        (
            put("proj.txt.weight", one(4609, 1024)),
            r"proj\.txt\.weight has shape \[4609, 1024\], not \[2305, 1024\]",
        ),
        (
            put("neck.coordconv.0.conv1.0.weight", one(512, 512, 3, 3)),
            r"conv1\.0\.weight has shape \[512, 512, 3, 3\], not \[512, 514, 3, 3\]",
        ),
        (
            put("backbone.visual.attnpool.connect.0.weight", one(1024, 1024, 1, 1)),
            r"connect\.0\.weight has shape \[1024, 1024, 1, 1\], not \[1024, 2048, 1, 1\]",
        ),
        (put("decoder.norm.bias", torch.zeros(512, dtype=torch.int64)), "is torch.int64"),
        (put("decoder.norm.bias", torch.zeros(512).to_sparse()), r"norm\.bias is .*sparse"),
        (put("decoder.norm.bias", [0.0] * 512), r"'module\.decoder\.norm\.bias' of type list"),
        (put("decoder.norm.bias", torch.full((512,), float("nan"))), rf"norm\.bias {NOT_FINITE}"),
        (put("proj.vis.4.bias", torch.tensor([0.0] * 255 + [float("inf")])), rf"4\.bias {NOT_FINITE}"),
        (put("neck.aggr.1.running_var", -torch.ones(512)), "running_var holds negative variances"),
    ],
)
def test_damage_is_named(tmp_path: Path, change: Change, message: str) -> None:
    state = published_state()
    change(state)
    wrapped = {f"module.{name}": value for name, value in state.items()}
    refused(write_original(tmp_path / "damaged.pth", wrapped), message)


def test_prefixes_on_some_names_only(tmp_path: Path) -> None:
    state = published_state("module.")
    state["proj.txt.bias"] = state.pop("module.proj.txt.bias")
    refused(
        write_original(tmp_path / "mixed.pth", state),
        r"mixes names with 'module\.' \('module\.backbone.*'\) and without \('proj\.txt\.bias'\)",
    )


def test_another_prefix(tmp_path: Path) -> None:
    refused(
        write_original(tmp_path / "net.pth", published_state("net.")), r"has net\.backbone.* and 657 more"
    )


@pytest.mark.parametrize(
    "change",
    [
        put("backbone.visual.layer3.22.conv1.weight", one(256, 1024, 1, 1)),
        put("backbone.text_projection", one(512, 512)),
    ],
    ids=["23 blocks", "width 512"],
)
def test_the_larger_variant_is_refused_by_name(tmp_path: Path, change: Change) -> None:
    state = published_state()
    change(state)
    refused(
        write_original(tmp_path / "r101.pth", state), "is the RN101 variant of CRIS; only RN50", MismatchError
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(2)], "holds list, not a dictionary of weights"),
        (torch.zeros(2), "holds Tensor, not a dictionary of weights"),
        ({"state_dict": [1, 2]}, "holds dict, not a dictionary of weights"),
        ({"state_dict": {}}, "holds no weights"),
        ({"state_dict": {3: torch.zeros(1)}}, "has 3 of type Tensor where weights must be"),
        ({"epoch": 3, "model": {"a": torch.zeros(1)}}, "has 'epoch' of type int where weights must be"),
    ],
)
def test_what_is_not_a_dictionary_of_weights(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", message)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_file_cut_short(tmp_path: Path, wrapped: Path, share: float) -> None:
    whole = wrapped.read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: int(share * len(whole))])
    refused(tmp_path / "cut.pth", "is cut short or not a checkpoint that torch wrote")


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return (_spring, (str(self.target),))


def _spring(target: str) -> None:
    Path(target).write_text("sprung")


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_the_pickle_is_not_run(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    state: dict[str, Tensor | Trap] = {"proj.txt.bias": torch.zeros(2305), "x": Trap(tmp_path / "sprung")}
    write(state, tmp_path / "trap.pth")
    refused(tmp_path / "trap.pth", "cannot be read as plain weights|not a checkpoint that torch wrote")
    assert not (tmp_path / "sprung").exists()
    _spring(str(tmp_path / "sprung"))
    assert (tmp_path / "sprung").exists(), "the trap would have worked"


def test_records_packed_so_that_they_could_unfold_to_any_size(tmp_path: Path, wrapped: Path) -> None:
    with ZipFile(wrapped) as given, ZipFile(tmp_path / "bomb.pth", "w", ZIP_DEFLATED) as packed:
        for entry in given.infolist():
            packed.writestr(entry.filename, given.read(entry))
    refused(tmp_path / "bomb.pth", "which torch does not write so")


def test_a_file_beyond_the_bounds(tmp_path: Path) -> None:
    with (tmp_path / "large.pth").open("wb") as sparse:
        sparse.truncate(2**40)
    refused(tmp_path / "large.pth", "at most 4294967296")
    refused(tmp_path / "none.pth", "is not a file")


def test_the_tokenizer_is_clips() -> None:
    open_clip = pytest.importorskip("open_clip")
    phrases = ["a photo of a", "Breast tumour's edge, 12.5 mm", "x"]
    ours = clip_tokenizer()(phrases, padding=True, return_tensors="pt")
    theirs = open_clip.get_tokenizer("RN50-quickgelu")(phrases)[:, : ours["input_ids"].shape[1]]
    assert torch.equal(ours["input_ids"] * ours["attention_mask"], theirs)
    assert set(ours["input_ids"][ours["attention_mask"] == 0].tolist()) == {49407}
