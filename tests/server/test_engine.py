from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from serving import publish
from tiny_models import tiny_config, write_base

from models_store.bases import load_base
from models_store.checkpoints import BaseIdentity
from models_store.errors import BadInputError, DamagedError, MismatchError, UnknownNameError
from models_store.packs import ZERO_SHOT, segment_logits
from models_store.preprocess import to_image_size, to_pixels
from models_store.registry import CHAMPION, Registry
from models_store.vlsm import FrozenVLSM, ImageFeatures
from server.engine import Engine
from server.errors import NoChampionError, UnknownDatasetError

IMAGE = np.random.default_rng(3).integers(0, 256, (50, 90, 3), dtype=np.uint8)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def engine(tiny_hybrid: FrozenVLSM, registry: Registry) -> Engine:
    return Engine(vlsm=tiny_hybrid, registry=registry)


def probabilities(engine: Engine, phrases: list[str], reference: str | None = None) -> NDArray[np.float32]:
    result = engine.segment(IMAGE, phrases, reference)
    return np.stack([result.probability(i) for i in range(len(phrases))])


class TestSegment:
    @pytest.mark.parametrize("strategy", [None, "vpt", "coop", "cocoop", "maple"])
    def test_what_is_served_is_what_is_trained(
        self, engine: Engine, registry: Registry, tiny_hybrid: FrozenVLSM, strategy: str | None
    ) -> None:
        pack, reference = ZERO_SHOT, None
        if strategy is not None:
            version = publish(registry, tiny_hybrid, "busi", strategy)
            pack, reference = registry.read(version).pack, str(version)
        phrases = ["liver", "a much longer phrase with commas, and so on"]
        served = probabilities(engine, phrases, reference)
        assert served.shape == (2, 50, 90)
        assert served.dtype == np.float32
        pixels = to_pixels(IMAGE, tiny_hybrid.spec)[None]
        for phrase, map_ in zip(phrases, served, strict=True):
            with torch.no_grad():
                tokens = tiny_hybrid.tokenize([phrase], pack.text_tokens)
                logits = segment_logits(tiny_hybrid, pack, pixels, tokens)
            assert np.abs(to_image_size(logits, 50, 90)[0].numpy() - map_).max() < 1e-5

    def test_checkpoints_change_the_map(
        self, engine: Engine, registry: Registry, tiny_hybrid: FrozenVLSM
    ) -> None:
        publish(registry, tiny_hybrid, "busi", "vpt")
        publish(registry, tiny_hybrid, "busi", "coop")
        maps = [probabilities(engine, ["x"], r) for r in (None, "busi/v0001", "busi/v0002")]
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert np.abs(maps[one] - maps[other]).max() > 0.01

    def test_the_image_is_encoded_once_for_all_phrases(
        self, registry: Registry, tiny_hybrid: FrozenVLSM
    ) -> None:
        counted = Counting(tiny_hybrid)
        Engine(vlsm=counted, registry=registry).segment(IMAGE, ["a", "b", "c"])
        assert counted.images == 1

    def test_timings_name_every_step(self, engine: Engine) -> None:
        timings = engine.segment(IMAGE, ["a"]).timings_ms
        assert set(timings) == {"prepare", "wait", "image", "text", "mask"}
        assert all(value > 0 for value in timings.values())

    def test_the_threshold_is_the_checkpoints_own(
        self, engine: Engine, registry: Registry, tiny_hybrid: FrozenVLSM
    ) -> None:
        publish(registry, tiny_hybrid, "busi", "vpt", threshold=0.3)
        assert engine.segment(IMAGE, ["a"], "busi/v0001").threshold == 0.3
        assert engine.segment(IMAGE, ["a"]).threshold == 0.5

    def test_many_threads_get_what_one_gets(
        self, engine: Engine, registry: Registry, tiny_hybrid: FrozenVLSM
    ) -> None:
        references = [None, "busi/v0001", "busi/v0002"]
        publish(registry, tiny_hybrid, "busi", "vpt")
        publish(registry, tiny_hybrid, "busi", "coop")
        alone = {reference: probabilities(engine, ["a", "b"], reference) for reference in references}
        with ThreadPoolExecutor(6) as pool:
            jobs = [(r, pool.submit(probabilities, engine, ["a", "b"], r)) for r in references * 6]
            for reference, job in jobs:
                assert np.abs(job.result() - alone[reference]).max() < 1e-5


class Counting:
    """The frozen model, counting how often images are encoded."""

    def __init__(self, vlsm: FrozenVLSM):
        self._vlsm = vlsm
        self.images = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vlsm, name)

    def encode_image(self, *args: Any, **options: Any) -> ImageFeatures:
        self.images += 1
        return self._vlsm.encode_image(*args, **options)


class TestReferences:
    def test_an_alias_is_followed_at_once(
        self, engine: Engine, registry: Registry, tiny_hybrid: FrozenVLSM
    ) -> None:
        first = publish(registry, tiny_hybrid, "busi", "vpt")
        second = publish(registry, tiny_hybrid, "busi", "coop")
        for version in (first, second, first):
            registry.move_alias(version, CHAMPION, author="t", reason="test")
            used = engine.segment(IMAGE, ["a"], "busi").checkpoint
            assert used is not None
            assert used.reference == version
            assert np.array_equal(
                probabilities(engine, ["a"], "busi"), probabilities(engine, ["a"], str(version))
            )

    def test_unknown_names(self, engine: Engine, registry: Registry, tiny_hybrid: FrozenVLSM) -> None:
        with pytest.raises(UnknownDatasetError, match="no dataset 'busi'; there are: none yet"):
            engine.resolve("busi")
        publish(registry, tiny_hybrid, "busi", "vpt")
        with pytest.raises(UnknownDatasetError, match="no dataset 'nope'; there are: busi"):
            engine.resolve("nope/v0001")
        with pytest.raises(
            NoChampionError, match="'busi' has no champion; name a version such as busi/v0001"
        ):
            engine.resolve("busi")
        with pytest.raises(UnknownNameError, match="no version 'v0002'; it has v0001"):
            engine.resolve("busi/v0002")
        with pytest.raises(UnknownNameError, match="no alias 'candidate'"):
            engine.resolve("busi@candidate")
        with pytest.raises(BadInputError, match="write dataset, dataset@alias or dataset/version"):
            engine.resolve("busi/v0001/x")

    def test_another_bases_checkpoint_is_refused_with_both_digests(
        self, engine: Engine, registry: Registry, tiny: FrozenVLSM
    ) -> None:
        version = publish(registry, tiny, "busi", "vpt")
        with pytest.raises(MismatchError) as caught:
            engine.segment(IMAGE, ["a"], str(version))
        assert tiny.spec.digest in str(caught.value)
        assert engine.vlsm.spec.digest in str(caught.value)

    def test_a_claim_to_the_right_base_does_not_make_it_fit(
        self, engine: Engine, registry: Registry, tiny_hybrid: FrozenVLSM, tmp_path: Path
    ) -> None:
        config = tiny_config()
        config.vision_config.hidden_size = 64
        wide = load_base(str(write_base(tmp_path / "wide", config)))
        claim = BaseIdentity(name="wide", digest=tiny_hybrid.spec.digest)
        version = publish(registry, wide, "busi", "vpt", base=claim)
        with pytest.raises(MismatchError, match="width must be 48"):
            engine.segment(IMAGE, ["a"], str(version))

    def test_a_damaged_one_is_refused_and_others_go_on(
        self, engine: Engine, registry: Registry, tiny_hybrid: FrozenVLSM
    ) -> None:
        first = publish(registry, tiny_hybrid, "busi", "vpt")
        second = publish(registry, tiny_hybrid, "busi", "coop")
        weights = registry.folder(first) / "adapter_model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        with pytest.raises(DamagedError, match=r"adapter_model.safetensors has digest"):
            engine.segment(IMAGE, ["a"], str(first))
        assert engine.segment(IMAGE, ["a"], str(second)).checkpoint is not None


class TestPackCache:
    def test_the_longest_unused_goes_first(self, registry: Registry, tiny_hybrid: FrozenVLSM) -> None:
        versions = [publish(registry, tiny_hybrid, "busi", "coop", seed=seed) for seed in (1, 2, 3)]
        packs = Engine(vlsm=tiny_hybrid, registry=registry, kept_packs=2).packs
        first = packs.get(versions[0])
        second = packs.get(versions[1])
        assert packs.get(versions[0]) is first
        packs.get(versions[2])
        assert len(packs) == 2
        assert packs.get(versions[0]) is first
        assert packs.get(versions[1]) is not second

    def test_threads_that_want_the_same_pack_all_get_it(
        self, engine: Engine, registry: Registry, tiny_hybrid: FrozenVLSM
    ) -> None:
        version = publish(registry, tiny_hybrid, "busi", "vpt")
        start = threading.Barrier(8)

        def wanted() -> str:
            start.wait(timeout=30)
            return engine.packs.get(version).digest

        with ThreadPoolExecutor(8) as pool:
            digests = {job.result() for job in [pool.submit(wanted) for _ in range(8)]}
        assert digests == {registry.read(version).config.pack_digest}
        assert len(engine.packs) == 1

    def test_packs_are_on_the_engines_device(self, registry: Registry, tiny_hybrid: FrozenVLSM) -> None:
        version = publish(registry, tiny_hybrid, "busi", "vpt")
        # The meta device is everywhere, and shows that every tensor was moved.
        packs = Engine(vlsm=tiny_hybrid, registry=registry, device="meta").packs
        pack = packs.get(version).pack
        assert pack.visual is not None
        assert pack.head is not None
        assert {pack.visual.device.type, *(p.device.type for p in pack.head.parameters())} == {"meta"}
        assert replace(pack).text is None
