"""Import of the benchmark's training checkpoints, from files made by its table of names."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from store_bases import tiny_base, tiny_cris
from strategy_cases import logits
from torch import Tensor

from models_store.checkpoints import read_checkpoint, write_checkpoint
from models_store.errors import BadInputError, DamagedError, MismatchError, StudioError, UnknownNameError
from models_store.heads import HeadMode
from models_store.reference import ImportedReference, import_reference, reference_checkpoint
from models_store.vlsm import FrozenVLSM

DEPTH, N, HIDDEN = 3, 2, 7
CLIPSEG_HEAD = {"additive_decoder_layer.1.weight": (1, 16, 5, 5), "additive_decoder_layer.1.bias": (1,)}
CRIS_HEAD = {
    "additive_decoder_layer.0.weight": (64, 32, 1, 1),
    "additive_decoder_layer.2.weight": (1, 64, 5, 5),
    "additive_decoder_layer.2.bias": (1,),
}


def mlp(inputs: int, outputs: int, *, norm_bias: bool = True) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "0.weight": (HIDDEN, inputs),
        "0.bias": (HIDDEN,),
        "2.weight": (outputs, HIDDEN),
        "3.weight": (outputs,),
    }
    return shapes | ({"3.bias": (outputs,)} if norm_bias else {})


def lora(inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {
        "0.weight": (HIDDEN, inputs),
        "1.weight": (outputs, HIDDEN),
        "2.weight": (outputs,),
        "2.bias": (outputs,),
    }


def linear(inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {"weight": (outputs, inputs), "bias": (outputs,)}


def encoder_layer(width: int, feedforward: int) -> dict[str, tuple[int, ...]]:
    return {
        "self_attn.in_proj_weight": (3 * width, width),
        "self_attn.in_proj_bias": (3 * width,),
        "self_attn.out_proj.weight": (width, width),
        "self_attn.out_proj.bias": (width,),
        "linear1.weight": (feedforward, width),
        "linear1.bias": (feedforward,),
        "linear2.weight": (width, feedforward),
        "linear2.bias": (width,),
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
    }


ONE, TEXTUAL, VISIONARY = "projection_layers", "textual_projection_layers", "visual_projection_layers"
# By file: family, strategy, width of its vectors, projections by group, options it must give back.
FILES: dict[str, tuple[str, str, int, dict[str, dict[str, tuple[int, ...]]], dict[str, Any]]] = {
    "coop": ("clipseg", "coop", 32, {}, {}),
    "cocoop-mlp": (
        "clipseg", "cocoop", 32, {ONE: mlp(24, 32, norm_bias=False)},
        {"hidden": HIDDEN, "lora": False, "norm": True, "final_bias": False, "normalise": False},
    ),
    "cocoop-linear": ("clipseg", "cocoop", 32, {ONE: linear(24, 32)}, {"hidden": None}),
    "vpt": ("clipseg", "vpt", 48, {}, {}),
    "maple-mlp": ("clipseg", "maple", 32, {ONE: mlp(32, 48)}, {"hidden": HIDDEN, "final_bias": True}),
    "maple-lora": ("clipseg", "maple", 32, {ONE: lora(32, 48)}, {"hidden": HIDDEN, "lora": True}),
    "maple-wide-lora": ("clipseg", "maple", 32, {ONE: {"0.weight": (48, 32)}}, {"hidden": 49, "lora": True}),
    "separate": (
        "clipseg", "shared_separate", 12, {TEXTUAL: linear(12, 32), VISIONARY: linear(12, 48)},
        {"width": 12, "hidden": None},
    ),
    "attention": (
        "clipseg", "shared_attention", 80, {ONE: encoder_layer(80, 20)},
        {"feedforward": 20, "attend": "token", "pre_norm": True, "heads": 16},
    ),
    "cris-coop": ("cris", "coop", 32, {}, {"reference_depth": True}),
    "cris-cocoop": (
        "cris", "cocoop", 32, {ONE: mlp(64, 32, norm_bias=False)},
        {"reference_depth": True, "hidden": HIDDEN, "final_bias": False},
    ),
}  # fmt: skip
HEADS = {"coop": HeadMode.NONE, "cocoop": HeadMode.NONE, "vpt": HeadMode.ADD}
files = pytest.mark.parametrize("name", list(FILES))


def base_of(name: str) -> FrozenVLSM:
    return tiny_cris() if FILES[name][0] == "cris" else tiny_base()


def entries_of(name: str, *, unified: bool = False) -> dict[str, Tensor]:
    """What the benchmark would have saved: learned values, head, and the frozen model."""
    family, _, width, groups, _ = FILES[name]
    generator = torch.Generator().manual_seed(5)

    def drawn(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=generator) * (0.2 if len(shape) > 1 else 1.0)

    entries = {"context_learner.context_vectors": drawn((DEPTH, N, width))}
    for group, layer in groups.items():
        copied = {key: drawn(shape) for key, shape in layer.items()}
        for k in range(DEPTH):
            depth = copied if unified else {key: drawn(shape) for key, shape in layer.items()}
            entries |= {f"context_learner.{group}.{k}.{key}": value for key, value in depth.items()}
    head = CRIS_HEAD if family == "cris" else CLIPSEG_HEAD
    entries |= {key: drawn(shape) for key, shape in head.items()} | {"residual_ratio": torch.tensor(0.3)}
    frozen = "model." if family == "clipseg" else ""
    weights = base_of(name).network.state_dict()
    entries |= {frozen + key: value for key, value in weights.items()}
    return {f"net.{key}": value for key, value in entries.items()}


def saved(folder: Path, entries: dict[str, Any], **around: Any) -> Path:
    path = folder / "last.ckpt"
    torch.save({"state_dict": entries, "epoch": 3, "optimizer_states": [], **around}, path)
    return path


def imported(
    folder: Path, name: str, entries: dict[str, Any] | None = None, **options: Any
) -> ImportedReference:
    path = saved(folder, entries_of(name) if entries is None else entries)
    return import_reference(path, base_of(name), **options)


@files
def test_every_strategy_is_recognised(tmp_path: Path, name: str) -> None:
    family, strategy, _, _, expected = FILES[name]
    found = imported(tmp_path, name)
    head = HeadMode.MIX if family == "cris" else HEADS.get(strategy, HeadMode.MIX)
    assert (found.strategy, found.options["head"]) == (strategy, head)
    assert (found.options["depth"], found.options["n"]) == (DEPTH, N)
    assert expected.items() <= found.options.items()
    assert not found.options.get("unified")
    assert found.compared == len(base_of(name).network.state_dict())
    entries = entries_of(name)
    context = entries["net.context_learner.context_vectors"]
    assert torch.equal(found.learner.context, context)
    used = {k: v for k, v in entries.items() if "context_learner" in k}
    if head is not HeadMode.NONE:
        used |= {k: v for k, v in entries.items() if "additive" in k}
        used |= {k: v for k, v in entries.items() if "residual" in k and head is HeadMode.MIX}
    assert found.learner.parameter_count() == sum(v.numel() for v in used.values())
    ours = sorted(float(v.sum()) for v in found.learner.state_dict().values())
    assert ours == sorted(float(v.sum()) for v in used.values())


@files
def test_what_is_imported_can_be_served_and_read_back(tmp_path: Path, name: str) -> None:
    base = base_of(name)
    found = imported(tmp_path, name)
    new = reference_checkpoint(found, base, labels=["polyp"], source="last.ckpt")
    (tmp_path / "checkpoint").mkdir()
    write_checkpoint(tmp_path / "checkpoint", new)
    again = read_checkpoint(tmp_path / "checkpoint")
    again.check_base(base.spec)
    assert again.config.options.get("reference_depth") == (True if base.spec.family == "cris" else None)
    assert torch.equal(logits(base, again.pack), logits(base, found.learner.fold()))
    if base.spec.family == "cris":
        assert len(again.pack.text) == DEPTH + 1
        assert torch.equal(again.pack.text[0], again.pack.text[1])


@pytest.mark.parametrize("name", [name for name in FILES if FILES[name][3]])
def test_copies_of_one_projection_become_one(tmp_path: Path, name: str) -> None:
    shared = imported(tmp_path, name, entries_of(name, unified=True))
    assert shared.options["unified"] is True
    assert shared.learner.parameter_count() < imported(tmp_path, name).learner.parameter_count()
    entries = entries_of(name, unified=True)
    key = next(k for k in entries if "projection_layers.1" in k)
    entries[key] = entries[key] + 1e-6
    assert imported(tmp_path, name, entries).options["unified"] is False


def test_it_computes_what_the_file_says(tmp_path: Path) -> None:
    entries = {k.removeprefix("net.context_learner."): v for k, v in entries_of("maple-mlp").items()}
    pack = imported(tmp_path, "maple-mlp").learner.fold()
    for k in range(DEPTH):
        part = {i: entries[f"projection_layers.{k}.{i}"] for i in ("0.weight", "0.bias", "2.weight")}
        hidden = (entries["context_vectors"][k] @ part["0.weight"].T + part["0.bias"]).clamp(min=0)
        out = hidden @ part["2.weight"].T
        out = (out - out.mean(-1, keepdim=True)) / (out.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        out = out * entries[f"projection_layers.{k}.3.weight"] + entries[f"projection_layers.{k}.3.bias"]
        torch.testing.assert_close(pack.visual[k], out)
    assert pack.head.ratio.item() == pytest.approx(0.3)


@pytest.mark.parametrize("head", list(HeadMode))
def test_the_head_may_be_asked_for(tmp_path: Path, head: HeadMode) -> None:
    assert imported(tmp_path, "coop", head=head).learner.fold().head_mode is head


def test_a_file_without_head_or_frozen_weights(tmp_path: Path) -> None:
    entries = {k: v for k, v in entries_of("maple-mlp").items() if "context_learner" in k}
    found = imported(tmp_path, "maple-mlp", entries)
    assert (found.compared, found.options["head"]) == (0, HeadMode.NONE)
    with pytest.raises(BadInputError, match="head 'mix' is asked for"):
        imported(tmp_path, "maple-mlp", entries, head=HeadMode.MIX)
    bare = {k.removeprefix("net."): v.half() for k, v in entries.items()}
    path = tmp_path / "bare.pt"
    torch.save(bare, path)
    again = import_reference(path, tiny_base())
    assert {p.dtype for p in again.learner.parameters()} == {torch.float32}


def test_flags_the_file_does_not_hold(tmp_path: Path) -> None:
    attention = imported(tmp_path, "attention", pre_norm=False, heads=5, dropout=0.1).learner
    assert not attention.layers[0].norm_first
    assert attention.layers[0].self_attn.num_heads == 5
    assert imported(tmp_path, "cocoop-mlp", normalise=True).learner.fold().shift.normalise
    with pytest.raises(UnknownNameError, match="'lora'"):
        imported(tmp_path, "coop", strategy="lora")
    with pytest.raises(DamagedError, match="maple has projection_layers, but the file has none"):
        imported(tmp_path, "coop", strategy="maple")


def dropped(part: str) -> Any:
    return lambda entries: {k: v for k, v in entries.items() if part not in k}


def changed(part: str, shape: tuple[int, ...]) -> Any:
    return lambda entries: {k: torch.ones(shape) if part in k else v for k, v in entries.items()}


@pytest.mark.parametrize(
    ("name", "damage", "error", "told"),
    [
        ("coop", dropped("context_vectors"), DamagedError, "no learned vectors"),
        ("coop", changed("context_vectors", (2, 32)), DamagedError, "expected"),
        ("coop", changed("context_vectors", (0, 2, 32)), DamagedError, "expected"),
        ("coop", changed("context_vectors", (2, 2, 33)), BadInputError, "fit no strategy"),
        ("coop", changed("context_vectors", (9, 2, 32)), BadInputError, r"1\.\.4"),
        ("maple-mlp", dropped("projection_layers.1."), DamagedError, r"depths \[0, 2\]"),
        ("maple-mlp", dropped("projection_layers.1.2.weight"), DamagedError, "do not make up"),
        ("maple-mlp", changed("projection_layers.1.0.weight", (5, 5)), DamagedError, "do not make up"),
        ("maple-mlp", dropped("layers.0.2.weight"), BadInputError, "fit no strategy"),
        ("maple-lora", dropped("layers.0.1.weight"), BadInputError, "fit no strategy"),
        ("separate", dropped("visual_projection_layers"), DamagedError, "shared_separate has"),
        ("attention", dropped("linear1.weight"), DamagedError, "linear1.weight"),
        ("maple-mlp", dropped("additive_decoder_layer.1.bias"), DamagedError, "head lacks"),
        ("cris-coop", dropped("additive_decoder_layer.0"), DamagedError, "head lacks"),
        ("maple-mlp", dropped("residual_ratio"), DamagedError, "residual_ratio"),
        ("vpt", changed("additive_decoder_layer.1.weight", (1, 16, 3, 3)), DamagedError, "do not make up"),
        ("coop", lambda e: e | {"net.extra.weight": torch.ones(1)}, DamagedError, "extra.weight"),
        ("coop", lambda e: e | {"net.context_learner.x": torch.ones(1)}, DamagedError, "'x'"),
        ("coop", lambda e: e | {"criterion.weight": torch.ones(1)}, DamagedError, "criterion.weight"),
        ("coop", lambda e: e | {"net.residual_ratio": 0.5}, DamagedError, "residual_ratio"),
        ("coop", changed("context_vectors", (2, 2, 32)), None, ""),
        ("coop", lambda e: {}, DamagedError, "no state_dict"),
        ("coop", changed("decoder.film_mul.weight", (16, 24)), MismatchError, "decoder.film_mul.weight"),
        ("coop", changed("decoder.film_mul.weight", (2, 2)), MismatchError, "decoder.film_mul.weight"),
        ("coop", dropped("decoder.film_mul.bias"), MismatchError, "missing.*decoder.film_mul.bias"),
        ("cris-coop", changed("bn1.running_mean", (16,)), MismatchError, "bn1.running_mean"),
        (
            "cris-coop",
            lambda e: e | {"net.neck.new": torch.ones(1)},
            MismatchError,
            "not in the base.*neck.new",
        ),
    ],
)
def test_damage_is_named(
    tmp_path: Path, name: str, damage: Any, error: type[StudioError] | None, told: str
) -> None:
    entries = damage(entries_of(name))
    if error is None:
        assert imported(tmp_path, name, entries).options["depth"] == 2
        return
    with pytest.raises(error, match=told):
        imported(tmp_path, name, entries)


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    entries = entries_of("coop")
    entries["net.context_learner.context_vectors"][0, 0, 0] = float("nan")
    with pytest.raises(DamagedError, match=r"not finite.*context_vectors"):
        imported(tmp_path, "coop", entries)


class Code:
    """What a hostile pickle would run on loading."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = saved(tmp_path, entries_of("coop"), hyper_parameters=Code(marker))
    with pytest.raises(DamagedError, match="running its code is not accepted"):
        import_reference(path, tiny_base())
    bare = tmp_path / "bare.ckpt"
    bare.write_bytes(pickle.dumps({"state_dict": Code(marker)}))
    with pytest.raises(DamagedError):
        import_reference(bare, tiny_base())
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not a pickle at all"])
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"last\.ckpt"):
        import_reference(path, tiny_base())
    with pytest.raises(BadInputError, match="no file"):
        import_reference(tmp_path / "absent.ckpt", tiny_base())
    torch.save([1, 2], path)
    with pytest.raises(DamagedError, match="no state_dict"):
        import_reference(path, tiny_base())
