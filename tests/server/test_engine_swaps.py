"""Aliases move while requests come in; none fails, none is of two versions."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from engine_parts import SECONDS, Recorder, Watched, picture
from serving import publish
from torch import Tensor

from models_store.checkpoints import Checkpoint
from models_store.errors import DamagedError, MismatchError
from models_store.registry import CANDIDATE, CHAMPION, Reference, Registry
from models_store.vlsm import FrozenVLSM
from server.engine import Engine

PHRASES = ["a", "b"]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def versions(registry: Registry, tiny_hybrid: FrozenVLSM) -> list[Reference]:
    return [publish(registry, tiny_hybrid, "busi", strategy) for strategy in ("vpt", "coop", "maple")]


def move(registry: Registry, version: Reference, alias: str = CHAMPION) -> None:
    registry.move_alias(version, alias, author="t", reason="test")


def used(engine: Engine, reference: str = "busi") -> Reference:
    checkpoint = engine.segment(picture(1), ["a"], reference).checkpoint
    assert checkpoint is not None
    return checkpoint.reference


def damage(registry: Registry, version: Reference) -> tuple[Path, bytes]:
    """Change a bit of its weights; gives the file and what it was."""
    path = registry.folder(version) / "adapter_model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return path, content


class TestUnderLoad:
    def test_no_request_fails_or_mixes_versions(
        self, registry: Registry, versions: list[Reference], tiny_hybrid: FrozenVLSM
    ) -> None:
        events = Recorder()
        # One resident checkpoint, so that swaps read from disk all the time.
        engine = Engine(vlsm=tiny_hybrid, registry=registry, events=events, kept_packs=1)
        alone = {v: engine.segment(picture(1), PHRASES, str(v)).logits for v in versions}
        for alias in (CHAMPION, CANDIDATE):
            move(registry, versions[0], alias)
        over = threading.Event()

        def ask(reference: str) -> list[tuple[Reference, Tensor]]:
            found = []
            while not over.is_set():
                result = engine.segment(picture(1), PHRASES, reference, user=reference)
                assert result.checkpoint is not None
                found.append((result.checkpoint.reference, result.logits))
            return found

        with ThreadPoolExecutor(6) as pool:
            asking = [
                pool.submit(ask, reference) for reference in ("busi", "busi@candidate", "busi/v0003") * 2
            ]
            for number in range(1, 25):
                alias = (CHAMPION, CANDIDATE)[number % 2]
                move(registry, versions[number // 2 % 3], alias)
                assert used(engine, f"busi@{alias}") == versions[number // 2 % 3]
            over.set()
            answers = [answer for thread in asking for answer in thread.result(timeout=SECONDS)]
        assert {version for version, _ in answers} == set(versions)
        for version, logits in answers:
            size = max(1.0, float(alone[version].abs().max()))
            assert (logits - alone[version]).abs().max() <= 1e-5 * size
        assert events.refusals == []
        assert len(events.swaps) >= 12

    def test_a_request_ends_on_the_version_it_began_with(
        self, registry: Registry, versions: list[Reference], tiny_hybrid: FrozenVLSM
    ) -> None:
        model, events = Watched(tiny_hybrid, held=True), Recorder()
        engine = Engine(vlsm=model, registry=registry, events=events, kept_packs=1)
        move(registry, versions[0])
        with ThreadPoolExecutor(2) as pool:
            old = pool.submit(engine.segment, picture(1), PHRASES, "busi")
            assert model.entered.wait(timeout=SECONDS)
            move(registry, versions[1])
            new = pool.submit(engine.segment, picture(1), PHRASES, "busi")
            events.wait_for(lambda: events.steps.count("load") == 2)
            model.released.set()
            found = [call.result(timeout=SECONDS) for call in (old, new)]
        assert [each.checkpoint and each.checkpoint.reference for each in found] == versions[:2]
        for each, version in zip(found, versions, strict=False):
            expected = engine.segment(picture(1), PHRASES, str(version)).logits
            assert torch.allclose(each.logits, expected, rtol=1e-5, atol=1e-5)


class TestSwapEvents:
    def test_from_the_move_to_the_first_mask(
        self, registry: Registry, versions: list[Reference], tiny_hybrid: FrozenVLSM
    ) -> None:
        events = Recorder()
        engine = Engine(vlsm=tiny_hybrid, registry=registry, events=events)
        move(registry, versions[0])
        used(engine)
        assert events.swaps == []
        move(registry, versions[1])
        assert events.swaps == []
        used(engine)
        used(engine)
        assert len(events.swaps) == 1
        assert 0 <= events.swaps[0] < SECONDS
        # Another alias's move is none of this one's.
        move(registry, versions[2], CANDIDATE)
        used(engine)
        used(engine, "busi/v0003")
        assert len(events.swaps) == 1


class TestDamage:
    @pytest.fixture
    def events(self) -> Recorder:
        return Recorder()

    @pytest.fixture
    def engine(self, registry: Registry, tiny_hybrid: FrozenVLSM, events: Recorder) -> Engine:
        return Engine(vlsm=tiny_hybrid, registry=registry, events=events)

    def test_the_version_before_stands_in_until_it_is_repaired(
        self,
        registry: Registry,
        versions: list[Reference],
        engine: Engine,
        events: Recorder,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        for version in versions[:2]:
            move(registry, version)
        path, content = damage(registry, versions[1])
        for _ in range(2):
            result = engine.segment(picture(1), PHRASES, "busi")
            assert result.checkpoint is not None
            assert (result.checkpoint.reference, result.instead_of) == (versions[0], versions[1])
        expected = engine.segment(picture(1), PHRASES, "busi/v0001")
        assert torch.equal(result.logits, expected.logits)
        assert expected.instead_of is None
        assert (events.damages, events.swaps) == (1, [])
        assert caplog.text.count("busi@champion names a damaged version") == 1
        (fault,) = engine.faults()
        assert fault.startswith("busi@champion means busi/v0002, which is damaged: ")
        with pytest.raises(DamagedError, match="has digest"):
            engine.segment(picture(1), PHRASES, "busi/v0002")

        path.write_bytes(content)
        assert used(engine) == versions[1]
        assert engine.faults() == []

    def test_versions_before_are_tried_in_turn(
        self, registry: Registry, versions: list[Reference], engine: Engine
    ) -> None:
        for version in versions:
            move(registry, version)
        damage(registry, versions[1])
        shutil.rmtree(registry.folder(versions[2]))
        result = engine.segment(picture(1), PHRASES, "busi@champion")
        assert result.checkpoint is not None
        assert (result.checkpoint.reference, result.instead_of) == (versions[0], versions[2])
        assert "its folder is missing" in engine.faults()[0]

    def test_with_none_before_it_is_refused(
        self, registry: Registry, versions: list[Reference], engine: Engine
    ) -> None:
        move(registry, versions[0])
        damage(registry, versions[0])
        for _ in range(2):
            with pytest.raises(DamagedError, match=r"adapter_model.safetensors has digest"):
                engine.segment(picture(1), PHRASES, "busi")

    def test_a_resident_version_goes_on_though_its_files_are_damaged(
        self, registry: Registry, versions: list[Reference], engine: Engine
    ) -> None:
        move(registry, versions[0])
        assert used(engine) == versions[0]
        damage(registry, versions[0])
        assert used(engine) == versions[0]
        assert engine.faults() == []

    def test_another_bases_version_is_a_mistake_and_told(
        self, registry: Registry, versions: list[Reference], engine: Engine, tiny: FrozenVLSM
    ) -> None:
        move(registry, versions[0])
        move(registry, publish(registry, tiny, "busi", "vpt"))
        with pytest.raises(MismatchError):
            engine.segment(picture(1), PHRASES, "busi")

    def test_a_damaged_version_is_read_once_until_its_files_change(
        self, versions: list[Reference], tiny_hybrid: FrozenVLSM, registry: Registry
    ) -> None:
        counting = CountingRegistry(registry.root)
        engine = Engine(vlsm=tiny_hybrid, registry=counting)
        path, content = damage(registry, versions[0])
        for _ in range(3):
            with pytest.raises(DamagedError, match="has digest"):
                engine.packs.get(versions[0])
        assert counting.reads == 1
        path.write_bytes(content)
        assert engine.packs.get(versions[0]).reference == versions[0]
        assert counting.reads == 2


class CountingRegistry(Registry):
    """Counts readings, and holds them until all are there who will come."""

    def __init__(self, root: Path, company: int = 0):
        super().__init__(root)
        self.reads = 0
        self.asked = threading.Semaphore(0)
        self.company = company

    def read(self, reference: Reference) -> Checkpoint:
        self.reads += 1
        for _ in range(self.company):
            assert self.asked.acquire(timeout=SECONDS)
        return super().read(reference)


def test_threads_that_want_the_same_version_read_it_once(
    registry: Registry, versions: list[Reference], tiny_hybrid: FrozenVLSM
) -> None:
    counting = CountingRegistry(registry.root, company=6)

    class Announcing(Recorder):
        """Tells the reader of everybody who asked."""

        def cache(self, kind: str, hit: bool) -> None:
            counting.asked.release()

    engine = Engine(vlsm=tiny_hybrid, registry=counting, events=Announcing())
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(engine.packs.get, versions[0]) for _ in range(6)]
        served = [job.result(timeout=SECONDS) for job in jobs]
    assert counting.reads == 1
    assert all(each is served[0] for each in served)


def test_resident_checkpoints_are_bounded_in_bytes(
    registry: Registry, versions: list[Reference], tiny_hybrid: FrozenVLSM
) -> None:
    size = max(Engine(vlsm=tiny_hybrid, registry=registry).packs.get(version).size for version in versions)
    events = Recorder()
    packs = Engine(vlsm=tiny_hybrid, registry=registry, events=events, kept_pack_bytes=size).packs
    for version in versions * 2:
        assert packs.get(version).reference == version
        assert events.sizes["checkpoint"][1] <= size
