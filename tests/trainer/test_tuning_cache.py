import pytest
import torch
from toy_data import write_toy
from tuning_parts import toy_run

from models_store.strategies import STRATEGIES
from models_store.vlsm import ImageFeatures
from trainer.feature_cache import NO_CACHE, CacheBudget, FeatureCache, joined, tensors_of

ON_DISK = CacheBudget(memory=0, disk=1 << 28)
LITTLE = CacheBudget(memory=350_000, disk=350_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("data") / "toy", train=10, val=4)


def bundle(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    fine = draw(1, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    return ImageFeatures((draw(1, 7, 6), draw(1, 7, 6)), (fine,), (2, 3), 0, draw(1, 5))


def alike(a, b):
    pairs = list(zip(tensors_of(a), tensors_of(b), strict=True))
    return all(x.dtype == y.dtype and x.stride() == y.stride() and torch.equal(x, y) for x, y in pairs)


SIZE = sum(t.numel() * t.element_size() for t in tensors_of(bundle(0)))


class TestFeatureCache:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("budget", [CacheBudget(), ON_DISK])
    def test_gives_back_the_same_bits_in_the_same_order_of_memory(self, tmp_path, budget, dtype):
        cache = FeatureCache(budget, folder=tmp_path)
        for key in range(3):
            cache.put(key, bundle(key, dtype))
        assert all(alike(cache.get(key), bundle(key, dtype)) for key in range(3))
        assert cache.get(3) is None

    def test_fills_memory_then_disk_then_lets_go(self, tmp_path):
        cache = FeatureCache(CacheBudget(memory=2 * SIZE, disk=SIZE + 1), folder=tmp_path)
        for key in range(5):
            cache.put(key, bundle(key))
        assert (cache.in_memory, cache.on_disk) == (2, 1)
        assert [cache.get(key) is None for key in range(5)] == [False, False, False, True, True]
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= SIZE + 1

    def test_keeps_nothing_under_no_budget(self, tmp_path):
        cache = FeatureCache(NO_CACHE, folder=tmp_path)
        cache.put(0, bundle(0))
        assert cache.get(0) is None
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("budget", [CacheBudget(memory=SIZE // 2), CacheBudget(memory=0, disk=SIZE // 2)])
    def test_a_narrower_type_halves_the_size_and_rounds_alike_kept_or_not(self, tmp_path, budget):
        cache = FeatureCache(budget, folder=tmp_path, dtype=torch.bfloat16)
        cache.put(0, bundle(0))
        assert cache.in_memory + cache.on_disk == 1
        kept = cache.get(0)
        assert alike(kept, cache.rounded(bundle(0)))
        assert not torch.equal(kept.pooled, bundle(0).pooled)
        assert torch.allclose(kept.pooled, bundle(0).pooled, rtol=1e-2)

    def test_joins_rows(self):
        both = joined([bundle(0), bundle(1)])
        assert len(both) == 2
        assert alike(both.select(torch.tensor([1])), bundle(1))


class TestSameCurve:
    @pytest.mark.parametrize("strategy", STRATEGIES)
    @pytest.mark.parametrize("budget", [CacheBudget(), ON_DISK, LITTLE])
    def test_values_are_the_same_bits_with_and_without(self, tiny_hybrid, folder, tmp_path, strategy, budget):
        with_cache, without = (
            toy_run(
                folder, tiny_hybrid, tmp_path / name, strategy=strategy, cache=cache, min_steps=1, epochs=2
            )
            for name, cache in (("with", budget), ("without", NO_CACHE))
        )
        with_cache.run()
        without.run()
        assert with_cache.cache.in_memory + with_cache.cache.on_disk > 3
        assert without.cache.in_memory + without.cache.on_disk == 0
        assert with_cache.progress.history == without.progress.history
        ours, theirs = with_cache.learner.state_dict(), without.learner.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


class TestFrozenWork:
    @pytest.mark.parametrize("strategy", ["coop", "cocoop"])
    def test_after_the_views_were_seen_no_image_is_encoded(
        self, tiny_hybrid, folder, tmp_path, monkeypatch, strategy
    ):
        calls, encode = [], type(tiny_hybrid).encode_image
        monkeypatch.setattr(
            type(tiny_hybrid), "encode_image", lambda *a, **k: calls.append(1) or encode(*a, **k)
        )
        run = toy_run(folder, tiny_hybrid, tmp_path / "run", strategy=strategy, epochs=4, min_steps=1)
        counted = []
        run.run(lambda tick: counted.append(len(calls)) if tick.dice is not None else None)
        # 10 images in the first epoch and 4 to select on; the second view only where it differs.
        assert counted[0] == 14
        assert 14 <= counted[1] < 24
        assert counted[1:] == [counted[1]] * 3

    def test_with_visual_prompts_the_stem_runs_once_per_view(
        self, tiny_hybrid, folder, tmp_path, monkeypatch
    ):
        calls, embed = [], type(tiny_hybrid).embed_image
        monkeypatch.setattr(
            type(tiny_hybrid), "embed_image", lambda self, *a: calls.append(1) or embed(self, *a)
        )
        toy_run(folder, tiny_hybrid, tmp_path / "run", epochs=4, min_steps=1, augmentation=None).run()
        assert len(calls) == 14

    @pytest.mark.parametrize(("strategy", "per_step"), [("vpt", 0), ("coop", 1), ("maple", 1)])
    def test_a_phrase_is_encoded_once_per_step_and_without_text_prompts_once(
        self, tiny_hybrid, folder, tmp_path, monkeypatch, strategy, per_step
    ):
        rows, encode = [], type(tiny_hybrid).encode_text

        def counting(self, tokens, prompts=None):
            rows.append(len(tokens))
            return encode(self, tokens, prompts)

        monkeypatch.setattr(type(tiny_hybrid), "encode_text", counting)
        run = toy_run(folder, tiny_hybrid, tmp_path / "run", strategy=strategy, epochs=2, batch_size=5)
        run.run()
        assert set(rows) == {1}
        # 4 steps of 5 and one batch of selection images, twice.
        assert len(rows) == (per_step * 2 * (4 + 1) or 1)
