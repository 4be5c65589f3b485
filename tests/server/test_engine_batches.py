"""Requests share batches, in turns, and each gets what it gets alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import torch
from engine_parts import SECONDS, Recorder, Watched, picture
from serving import publish

from models_store.registry import Registry
from models_store.vlsm import FrozenVLSM
from server.engine import Engine, Segmentation
from server.errors import CancelledError, ClosedError, DeadlineError, QueueFullError

STRATEGIES = ("vpt", "coop", "cocoop", "maple")


@pytest.fixture(scope="module")
def registry(tiny_hybrid: FrozenVLSM, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    for strategy in STRATEGIES:
        publish(registry, tiny_hybrid, "busi", strategy)
    return registry


class Service:
    """An engine on a model that is held, with threads that call it."""

    def __init__(self, vlsm: FrozenVLSM, registry: Registry, **options: Any):
        self.model = Watched(vlsm, held=True)
        self.events = Recorder()
        # Longer than any test: what is on its way is waited for, however slow the machine.
        options = {"batch_window": SECONDS} | options
        self.engine = Engine(vlsm=self.model, registry=registry, events=self.events, **options)
        self.pool = ThreadPoolExecutor(16)

    def call(self, *phrases: str, **options: Any) -> Future[Segmentation]:
        return self.pool.submit(self.engine.segment, picture(7), list(phrases), **options)

    def occupy(self) -> Future[Segmentation]:
        """Let the worker begin something that does not end until the model is released."""
        running = self.call("running")
        assert self.model.entered.wait(timeout=SECONDS)
        return running

    def wait_for_queue(self, length: int) -> None:
        self.events.wait_for(lambda: self.events.length == length)

    def wait_for_prepared(self, images: int) -> None:
        """Until so many have been ready for the worker."""
        self.events.wait_for(lambda: self.events.steps.count("prepare") == images)


@pytest.fixture
def service(tiny_hybrid: FrozenVLSM, registry: Registry, request: pytest.FixtureRequest) -> Iterator[Service]:
    made = Service(tiny_hybrid, registry, **getattr(request, "param", {}))
    yield made
    made.model.released.set()
    made.pool.shutdown()


def with_options(**options: Any) -> Any:
    return pytest.mark.parametrize("service", [options], indirect=True)


def test_any_checkpoints_share_a_batch_and_each_gets_its_own(
    service: Service, tiny_hybrid: FrozenVLSM, registry: Registry
) -> None:
    plain = Engine(vlsm=tiny_hybrid, registry=registry)
    references = [None, *(f"busi/v{i:04d}" for i in range(1, 5)), "busi/v0001"]
    service.occupy()
    images = [picture(seed) for seed in (1, 2, 3, 1, 2, 3)]
    phrases = [["a"], ["a longer phrase"], ["b", "c"], ["d"], ["a"], ["e"]]
    calls = [
        service.pool.submit(service.engine.segment, image, words, reference)
        for image, words, reference in zip(images, phrases, references, strict=True)
    ]
    service.wait_for_queue(6)
    service.model.released.set()
    found = [call.result(timeout=SECONDS) for call in calls]
    assert service.events.batches == [(1, 1), (7, 5)]
    for result, image, words, reference in zip(found, images, phrases, references, strict=True):
        alone = plain.segment(image, words, reference)
        size = max(1.0, float(alone.logits.abs().max()))
        assert (result.logits - alone.logits).abs().max() <= 1e-5 * size
        assert str(result.checkpoint and result.checkpoint.reference) == str(reference)
        assert set(result.timings_ms) >= {"prepare", "wait", "image", "text", "mask"}


def test_one_that_is_alone_does_not_wait_for_company(service: Service) -> None:
    service.model.released.set()
    started = time.monotonic()
    service.call("a").result(timeout=SECONDS)
    assert time.monotonic() - started < SECONDS / 2


@with_options(batch_rows=4)
def test_batches_hold_so_many_rows_and_larger_ones_run_alone(service: Service) -> None:
    service.occupy()
    calls = []
    for number, phrases in enumerate(("ab", "cd", "e", "fghijk", "l"), start=1):
        calls.append(service.call(*phrases))
        service.wait_for_queue(number)
    service.model.released.set()
    assert [len(call.result(timeout=SECONDS).logits) for call in calls] == [2, 2, 1, 6, 1]
    assert sum(rows for rows, _ in service.events.batches) == 13
    assert sorted(rows for rows, _ in service.events.batches if rows > 4) == [6]


@with_options(batch_rows=1)
def test_a_series_does_not_hold_up_another_user(service: Service) -> None:
    series = service.pool.submit(
        service.engine.segment_many, [picture(i) for i in range(8)], ["series"], "busi/v0003", user="a"
    )
    assert service.model.entered.wait(timeout=SECONDS)
    service.wait_for_prepared(2)
    other = service.call("other", user="b")
    service.wait_for_prepared(3)
    service.model.released.set()
    other.result(timeout=SECONDS)
    assert len(series.result(timeout=SECONDS)) == 8
    # Prompts of this one follow the image, so every image of the series has its phrase encoded.
    assert service.model.phrases.count("series") == 8
    assert service.model.phrases.index("other") <= 2


@with_options(queue_length=2)
def test_a_full_queue_refuses_and_what_it_took_is_done(service: Service) -> None:
    running = service.occupy()
    waiting = [service.call("a"), service.call("b")]
    service.wait_for_queue(2)
    with pytest.raises(QueueFullError, match="2 requests wait already") as caught:
        service.engine.segment(picture(1), ["c"])
    assert caught.value.retry_after >= 1
    assert service.events.refusals == ["full"]
    service.model.released.set()
    for call in (running, *waiting):
        assert call.result(timeout=SECONDS).logits.isfinite().all()
    assert "c" not in service.model.phrases


@with_options(queue_bytes=picture(7).nbytes + 1)
def test_bytes_of_images_are_bounded_but_one_image_is_always_taken(service: Service) -> None:
    running = service.occupy()
    with pytest.raises(QueueFullError):
        service.engine.segment(picture(1), ["b"])
    service.model.released.set()
    running.result(timeout=SECONDS)
    service.engine.segment(picture(1, 80, 80), ["c"])


def test_a_deadline_ends_a_call_whatever_the_worker_is_at(service: Service) -> None:
    running = service.occupy()
    with pytest.raises(DeadlineError, match="within the time"):
        service.engine.segment(picture(1), ["late"], deadline=time.monotonic() + 0.2)
    with pytest.raises(DeadlineError, match="within the time"):
        service.engine.segment(picture(1), ["too late"], deadline=time.monotonic())
    assert service.events.refusals == ["deadline"] * 2
    service.model.released.set()
    running.result(timeout=SECONDS)
    service.call("next").result(timeout=SECONDS)
    assert service.model.phrases == ["running", "next"]


def test_a_cancelled_call_is_not_worked_on(service: Service) -> None:
    service.occupy()
    gone = threading.Event()
    call = service.call("nobody waits", cancelled=gone)
    service.wait_for_queue(1)
    gone.set()
    service.model.released.set()
    with pytest.raises(CancelledError):
        call.result(timeout=SECONDS)
    assert service.model.phrases == ["running"]
    assert service.events.refusals == ["cancelled"]


def test_one_that_fails_does_not_take_the_batch_along(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.occupy()
    calls = [service.call(phrase) for phrase in ("a", "impossible", "b")]
    service.wait_for_queue(3)
    service.model.released.set()
    assert calls[0].result(timeout=SECONDS).logits.isfinite().all()
    assert calls[2].result(timeout=SECONDS).logits.isfinite().all()
    with pytest.raises(RuntimeError, match="cannot be encoded"):
        calls[1].result(timeout=SECONDS)
    assert "a batch of 3 images failed (RuntimeError); each runs alone" in caplog.text


def test_what_was_accepted_is_finished_before_it_closes(service: Service) -> None:
    calls = [service.occupy(), service.call("a"), service.call("b")]
    service.wait_for_queue(2)
    closing = service.pool.submit(service.engine.close)
    batcher = service.engine._batcher
    with batcher._changed:
        assert batcher._changed.wait_for(lambda: batcher._closed, timeout=SECONDS)
    with pytest.raises(ClosedError, match="shutting down"):
        service.engine.segment(picture(1), ["new"])
    assert not closing.done()
    service.model.released.set()
    closing.result(timeout=SECONDS)
    assert all(call.result(timeout=SECONDS).logits.isfinite().all() for call in calls)
    assert not [thread for thread in threading.enumerate() if thread is batcher._worker]
    service.engine.open()
    assert service.engine.segment(picture(1), ["new"]).logits.isfinite().all()


def test_many_images_of_one_call_keep_their_order(service: Service, tiny_hybrid: FrozenVLSM) -> None:
    service.model.released.set()
    images = [picture(seed, 30 + seed, 40) for seed in range(40)]
    found = service.engine.segment_many(images, ["a", "b"], "busi/v0002")
    assert [result.height for result in found] == [len(image) for image in images]
    alone = service.engine.segment(images[33], ["a", "b"], "busi/v0002")
    assert torch.allclose(found[33].logits, alone.logits, rtol=1e-5, atol=1e-5)
    assert sum(service.model.images) == 40
