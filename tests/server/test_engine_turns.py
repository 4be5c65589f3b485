"""Users take turns, and so do the calls of each."""

from __future__ import annotations

import threading
import time
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from server.engine.pieces import Call, FairQueue, Piece
from server.errors import CancelledError, DeadlineError


def call(user: str = "", deadline: float | None = None) -> Call:
    return Call(user, 0, deadline, threading.Event())


def piece(of: Call, rows: int = 1) -> Piece:
    return Piece(of, "", None, None, ["x"] * rows, None)


def queue(*pieces: Piece) -> FairQueue:
    made = FairQueue()
    for each in pieces:
        made.push(each)
    return made


def test_users_take_turns() -> None:
    a, b, c = call("a"), call("b"), call("c")
    waiting = queue(*(piece(of) for of in (a, a, a, a, b, b, c)))
    assert [each.call.user for each in waiting.take(7)] == ["a", "b", "c", "a", "b", "a", "a"]
    assert len(waiting) == waiting.rows == 0
    assert waiting.take(7) == []


def test_turns_go_on_where_they_ended() -> None:
    a, b = call("a"), call("b")
    waiting = queue(*(piece(of) for of in (a, a, a, b, b, b)))
    taken = [[each.call.user for each in waiting.take(1)] for _ in range(6)]
    assert taken == [["a"], ["b"]] * 3


def test_calls_of_one_user_take_turns_too() -> None:
    series, single = call("a"), call("a")
    first, second, third, other = (piece(of) for of in (series, series, series, single))
    assert queue(first, second, third, other).take(3) == [first, other, second]


def test_a_user_with_many_calls_has_no_more_turns() -> None:
    many, one = [call("a") for _ in range(9)], call("b")
    last, *_ = pieces = [piece(one), *(piece(of) for of in many)]
    assert last in queue(*pieces[1:], last).take(2)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), min_size=1, max_size=20),
    st.integers(1, 8),
)
def test_batches_hold_everything_once_and_no_more_rows_than_fit(
    work: list[tuple[str, int]], rows: int
) -> None:
    pieces = [piece(call(user), size) for user, size in work]
    waiting = queue(*pieces)
    taken = []
    while len(waiting):
        batch = waiting.take(rows)
        assert len(batch) == 1 or sum(each.rows for each in batch) <= rows
        taken += batch
    assert Counter(map(id, taken)) == Counter(map(id, pieces))


def test_calls_that_nobody_waits_for_are_taken_out() -> None:
    stays, gone, late = call("a"), call("a"), call("b", deadline=time.monotonic())
    kept, left, missed = piece(stays), piece(gone), piece(late)
    gone.cancelled.set()
    waiting = queue(kept, left, missed)
    dropped = {id(each): type(fault) for each, fault in waiting.drop_faulty()}
    assert dropped == {id(left): CancelledError, id(missed): DeadlineError}
    assert waiting.take(9) == [kept]
