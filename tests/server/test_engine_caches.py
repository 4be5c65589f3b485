"""What is kept gives what computing it anew would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_parts import Recorder, Watched, picture
from serving import publish
from torch import Tensor

from models_store.registry import Registry
from models_store.vlsm import FrozenVLSM
from server.engine import Engine
from server.engine.caches import ByteCache, own_memory
from server.engine.events import NoEvents

VPT, OTHER_VPT, COOP, COCOOP = (f"busi/v{i:04d}" for i in range(1, 5))


@pytest.fixture(scope="module")
def registry(tiny_hybrid: FrozenVLSM, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    for seed, strategy in enumerate(("vpt", "vpt", "coop", "cocoop")):
        publish(registry, tiny_hybrid, "busi", strategy, seed=seed)
    return registry


@pytest.fixture
def model(tiny_hybrid: FrozenVLSM) -> Watched:
    return Watched(tiny_hybrid)


@pytest.fixture
def engine(model: Watched, registry: Registry) -> Engine:
    return Engine(vlsm=model, registry=registry, events=Recorder())


def use(engine: Engine, seed: int, phrases: list[str], reference: str | None) -> tuple[str, str]:
    cache = engine.segment(picture(seed), phrases, reference).cache
    return cache["image"], cache["text"]


class TestUse:
    def test_a_new_phrase_on_a_known_image(self, engine: Engine, model: Watched) -> None:
        assert use(engine, 1, ["a"], None) == ("miss", "miss")
        assert use(engine, 1, ["b"], None) == ("hit", "miss")
        assert use(engine, 1, ["a", "b"], None) == ("hit", "hit")
        assert use(engine, 1, ["a", "c"], None) == ("hit", "miss")
        assert use(engine, 2, ["a"], None) == ("miss", "hit")
        assert model.images == [1, 1]
        assert model.phrases == ["a", "b", "c"]

    def test_images_are_kept_by_their_visual_prompts(self, engine: Engine) -> None:
        assert use(engine, 1, ["a"], VPT)[0] == "miss"
        assert use(engine, 1, ["a"], OTHER_VPT)[0] == "miss"
        assert use(engine, 1, ["a"], VPT)[0] == "hit"
        # Text prompts leave the image alone.
        assert use(engine, 1, ["a"], None)[0] == "miss"
        assert use(engine, 1, ["a"], COOP)[0] == "hit"

    def test_phrases_are_kept_by_their_pack(self, engine: Engine) -> None:
        for reference in (None, VPT, COOP):
            assert use(engine, 1, ["a"], reference)[1] == "miss"
            assert use(engine, 1, ["a"], reference)[1] == "hit"

    def test_prompts_that_follow_the_image_are_kept_with_it(self, engine: Engine) -> None:
        assert use(engine, 1, ["a"], None) == ("miss", "miss")
        # The pooled feature was not made; once it is, it serves both.
        assert use(engine, 1, ["a"], COCOOP) == ("miss", "miss")
        assert use(engine, 1, ["a"], COCOOP) == ("hit", "hit")
        assert use(engine, 1, ["a"], None) == ("hit", "hit")
        assert use(engine, 2, ["a"], COCOOP) == ("miss", "miss")

    def test_a_digest_stands_for_the_pixels(self, engine: Engine, model: Watched) -> None:
        first = engine.segment(picture(1), ["a"], image_digest="one")
        assert engine.segment(picture(1), ["a"]).cache["image"] == "miss"
        assert torch.equal(engine.segment(picture(1), ["a"], image_digest="one").logits, first.logits)
        assert model.images == [1, 1]

    def test_images_of_other_shapes_and_the_same_bytes_are_told_apart(self, engine: Engine) -> None:
        wide = picture(1)
        high = np.ascontiguousarray(wide.reshape(wide.shape[1], wide.shape[0], 3))
        engine.segment(wide, ["a"])
        assert engine.segment(high, ["a"]).cache["image"] == "miss"

    def test_events_tell_what_was_found_and_what_is_held(self, engine: Engine) -> None:
        engine.segment(picture(1), ["a", "b", "a"], COOP)
        events = engine.events
        assert isinstance(events, Recorder)
        assert events.lookups == [
            ("checkpoint", False),
            ("image", False),
            ("text", False),
            ("text", False),
            ("text", True),
        ]
        assert {kind: entries for kind, (entries, _) in events.sizes.items()} == {
            "checkpoint": 1,
            "image": 1,
            "text": 2,
        }
        assert events.steps == ["load", "prepare", "image", "text", "mask", "wait"]


def test_caches_change_nothing(registry: Registry, tiny_hybrid: FrozenVLSM) -> None:
    keeping = Engine(vlsm=tiny_hybrid, registry=registry)
    forgetting = Engine(vlsm=tiny_hybrid, registry=registry, image_cache_bytes=0, text_cache_bytes=0)
    order = np.random.default_rng(0)
    references = [None, VPT, OTHER_VPT, COOP, COCOOP]
    hits = 0
    for _ in range(60):
        image = picture(int(order.integers(3)))
        phrases = list(order.choice(["a", "b", "a longer phrase"], size=int(order.integers(1, 3))))
        reference = references[int(order.integers(len(references)))]
        kept, anew = (engine.segment(image, phrases, reference) for engine in (keeping, forgetting))
        assert (kept.logits - anew.logits).abs().max() <= 1e-5 * max(1.0, float(anew.logits.abs().max()))
        assert anew.cache == {"image": "miss", "text": "miss"} or len(set(phrases)) < len(phrases)
        hits += list(kept.cache.values()).count("hit")
    assert hits > 40


def test_memory_of_a_batch_is_not_kept_alive(registry: Registry, tiny_hybrid: FrozenVLSM) -> None:
    engine = Engine(vlsm=tiny_hybrid, registry=registry)
    engine.segment_many([picture(i) for i in range(8)], ["a", "b"], COOP)
    tensors: list[Tensor] = []
    for image in engine._forward.images.values():
        tensors += [*image.activations, *image.fine]
    tensors += [text.cond for text in engine._forward.texts.values()]
    assert len(tensors) > 8
    for tensor in tensors:
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


class TestByteCache:
    def make(self, budget: int, most: int | None = None) -> ByteCache[str, bytes]:
        return ByteCache(kind="image", budget=budget, size_of=len, events=NoEvents(), most=most)

    def test_the_longest_unused_makes_room(self) -> None:
        cache = self.make(10)
        for name in "abc":
            cache.put(name, b"xxx")
        assert cache.get("a") == b"xxx"
        cache.put("d", b"xxxx")
        assert [name in cache for name in "abcd"] == [True, False, True, True]
        assert cache.size == 10

    def test_what_is_larger_than_the_budget_is_not_kept(self) -> None:
        cache = self.make(10)
        cache.put("a", b"x")
        cache.put("b", b"x" * 11)
        assert ("a" in cache, "b" in cache, cache.size) == (True, False, 1)

    def test_a_new_value_takes_the_old_ones_place(self) -> None:
        cache = self.make(10)
        cache.put("a", b"x" * 9)
        cache.put("a", b"x" * 4)
        assert (len(cache), cache.size) == (1, 4)
        cache.remove("a")
        cache.remove("a")
        assert (len(cache), cache.size, cache.get("a")) == (0, 0, None)

    def test_entries_are_bounded_too(self) -> None:
        cache = self.make(10, most=2)
        for name in "abc":
            cache.put(name, b"x")
        assert [name in cache for name in "abc"] == [False, True, True]


def test_a_part_of_a_tensor_is_copied_and_a_whole_one_is_not() -> None:
    whole = torch.zeros(4, 4)
    assert own_memory(whole) is whole
    assert own_memory(whole[1:2]).untyped_storage().nbytes() == 16


def test_budgets_bound_what_is_held(registry: Registry, tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
    events = Recorder()
    one = Engine(vlsm=tiny_hybrid, registry=registry, events=events)
    one.segment(picture(0), ["a"])
    size = events.sizes["image"][1]
    events = Recorder()
    two = Engine(vlsm=tiny_hybrid, registry=registry, events=events, image_cache_bytes=2 * size)
    for seed in (0, 1, 2, 1):
        two.segment(picture(seed), ["a"])
    assert events.sizes["image"] == (2, 2 * size)
    assert two.segment(picture(2), ["a"]).cache["image"] == "hit"
    assert two.segment(picture(0), ["a"]).cache["image"] == "miss"
