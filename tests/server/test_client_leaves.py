"""A client closes its connection: its request is dropped before the model comes to it."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from engine_parts import SECONDS, Recorder, Watched
from live import running
from serving import png

from models_store.registry import Registry
from models_store.vlsm import FrozenVLSM
from server.app import create_app
from server.engine import Engine
from server.settings import read_settings


def test_a_request_whose_client_left_is_not_worked_on(tiny_hybrid: FrozenVLSM, tmp_path: Path) -> None:
    model, events = Watched(tiny_hybrid, held=True), Recorder()
    engine = Engine(vlsm=model, registry=Registry(tmp_path / "r"), events=events)
    with running(create_app(engine=engine, settings=read_settings(data_dir=tmp_path))) as url:
        # The warm-up is at work.
        assert model.entered.wait(timeout=SECONDS)
        try:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(
                    f"{url}/segment",
                    files={"image": png()},
                    data={"prompt": "nobody waits"},
                    timeout=httpx.Timeout(SECONDS, read=0.5),
                )
            events.wait_for(lambda: events.length == 1)
            deadline = time.monotonic() + SECONDS
            while not any(call.cancelled.is_set() for call in engine._batcher._calls):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            model.released.set()
        events.wait_for(lambda: events.refusals == ["cancelled"])
        assert httpx.get(f"{url}/healthz").status_code == 200
    assert model.phrases == ["warm-up"]
