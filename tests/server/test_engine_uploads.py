"""Images that were put: bounded, secret, forgotten in time."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from engine_parts import Recorder

from server.engine.events import NoEvents
from server.engine.uploads import Uploads
from server.errors import UnknownImageError, UploadTooLargeError
from server.images.decoded import DecodedImage


class Time:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def image(size: int, value: int = 0) -> DecodedImage:
    """An image of so many bytes."""
    return DecodedImage(np.full((1, size // 3, 3), value, dtype=np.uint8), "PNG", "0" * 64, None)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def uploads(time: Time) -> Uploads:
    return Uploads(budget=30, seconds=10.0, events=NoEvents(), clock=time)


def test_what_was_put_is_got(uploads: Uploads) -> None:
    one, other = uploads.put(image(9, 1)), uploads.put(image(9, 2))
    assert uploads.get(one.id) is one.image
    assert uploads.get(other.id) is other.image
    assert abs(one.expires - datetime.now(UTC) - timedelta(seconds=10)) < timedelta(seconds=9)


def test_ids_are_random_and_of_128_bits(uploads: Uploads) -> None:
    same = image(3)
    ids = {uploads.put(same).id for _ in range(200)}
    assert len(ids) == 200
    assert {len(base64.urlsafe_b64decode(f"{id_}==")) for id_ in ids} == {16}
    # Every bit takes both values: 200 draws miss one with a chance of 2 ** -192.
    drawn = np.array([list(base64.urlsafe_b64decode(f"{id_}==")) for id_ in ids], dtype=np.uint8)
    bits = np.unpackbits(drawn, axis=1)
    assert bits.min(axis=0).max() == 0
    assert bits.max(axis=0).min() == 1


def test_unknown_expired_evicted_and_other_users_are_not_told_apart(uploads: Uploads, time: Time) -> None:
    evicted = uploads.put(image(15))
    uploads.put(image(15))
    others = uploads.put(image(9), user="somebody")
    time.now += 9.9
    assert uploads.get(others.id, user="somebody") is others.image
    told = set()
    for id_ in ("guessed", evicted.id, others.id):
        with pytest.raises(UnknownImageError) as caught:
            uploads.get(id_)
        told.add(str(caught.value))
    time.now += 0.1
    with pytest.raises(UnknownImageError) as caught:
        uploads.get(others.id, user="somebody")
    assert told == {str(caught.value)}


def test_bytes_are_bounded_and_freed(time: Time) -> None:
    events = Recorder()
    uploads = Uploads(budget=30, seconds=10.0, events=events, clock=time)
    for _ in range(9):
        uploads.put(image(9))
        assert events.sizes["upload"][1] <= 30
    assert events.sizes["upload"] == (3, 27)
    time.now += 10
    with pytest.raises(UnknownImageError):
        uploads.get("any")
    assert events.sizes["upload"] == (0, 0)


def test_an_image_larger_than_the_store_is_refused_and_the_others_stay(uploads: Uploads) -> None:
    kept = uploads.put(image(9))
    with pytest.raises(UploadTooLargeError, match="33 bytes; at most 30"):
        uploads.put(image(33))
    assert uploads.get(kept.id) is kept.image
