"""Times of steps on a device that works behind the program."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Seconds of named steps.

    On a GPU the steps are marked in its own queue of work, so that nobody has to wait for one step
    to end before handing over the next. The last step must end with a wait for its result.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self._device = device
        self._marks = [("", self._mark())]

    def lap(self, name: str) -> None:
        """A step ends here."""
        self._marks.append((name, self._mark()))

    def seconds(self) -> dict[str, float]:
        """The steps' times, once the work is done."""
        pairs = zip(self._marks, self._marks[1:], strict=False)
        return {name: self._between(before, after) for (_, before), (name, after) in pairs}

    def _mark(self) -> torch.cuda.Event | float:
        if not self._cuda:
            return time.perf_counter()
        mark = torch.cuda.Event(enable_timing=True)
        mark.record(torch.cuda.current_stream(self._device))
        return mark

    @staticmethod
    def _between(before: torch.cuda.Event | float, after: torch.cuda.Event | float) -> float:
        if isinstance(before, float) or isinstance(after, float):
            return float(after) - float(before)  # type: ignore[arg-type]
        after.synchronize()
        return float(before.elapsed_time(after)) / 1000
