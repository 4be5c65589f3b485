"""Import of the benchmark's training checkpoints, from files made by its table of names."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from reference_files import DEPTH, FILES, HEADS, N, base_of, entries_of, saved
from store_bases import tiny_base
from strategy_cases import logits

from models_store.checkpoints import read_checkpoint, write_checkpoint
from models_store.errors import BadInputError, DamagedError, MismatchError, StudioError, UnknownNameError
from models_store.heads import HeadMode
from models_store.reference import ImportedReference, import_reference, reference_checkpoint

files = pytest.mark.parametrize("name", list(FILES))


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
