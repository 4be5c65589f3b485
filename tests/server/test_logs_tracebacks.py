from __future__ import annotations

import json
import logging
from io import BytesIO

import pytest
import torch
from PIL import Image

from server.logs import LogFormat, make_formatter
from server.tracebacks import LEFT_OUT, describe_error


def raised(code: str) -> BaseException:
    """What a piece of code raises, as if it were written in this module."""
    try:
        exec(
            compile(code, "snippet.py", "exec"),
            {"__name__": "server.snippet", "Image": Image, "torch": torch},
        )
    except Exception as error:
        return error
    pytest.fail("nothing was raised")


def test_our_own_messages_and_every_frame_are_told() -> None:
    text = describe_error(raised("def inner():\n    raise RuntimeError('no mask')\ninner()"))
    assert text.startswith("Traceback (most recent call last):")
    assert 'File "snippet.py", line 2, in inner' in text
    assert text.endswith("RuntimeError: no mask")


def test_shapes_that_do_not_fit_are_told() -> None:
    text = describe_error(raised("torch.zeros(2, 3) @ torch.zeros(2, 3)"))
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in text


def test_a_reader_of_files_is_not_quoted() -> None:
    def read() -> None:
        Image.open(BytesIO(b"Doe^Jane"))

    with pytest.raises(Image.UnidentifiedImageError) as caught:
        read()
    text = describe_error(caught.value)
    assert "in read" in text
    assert text.endswith(f"PIL.UnidentifiedImageError: {LEFT_OUT}")
    assert "BytesIO object" not in text


def test_causes_come_first_and_each_is_judged_by_itself() -> None:
    error = raised(
        "import json\ntry:\n    json.loads('Doe^Jane')\nexcept ValueError as cause:\n"
        "    raise RuntimeError('the settings are unreadable') from cause"
    )
    first, second = describe_error(error).split("Traceback (most recent call last):\n")[1:]
    assert f"JSONDecodeError: {LEFT_OUT}" in first
    assert "Doe" not in first
    assert second.endswith("RuntimeError: the settings are unreadable")


def test_what_was_hidden_on_purpose_stays_hidden() -> None:
    error = raised("try:\n    1 / 0\nexcept ArithmeticError:\n    raise RuntimeError('no') from None")
    assert "ZeroDivisionError" not in describe_error(error)


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert describe_error(first).count("ValueError") == 2


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
def test_both_formats_carry_it(form: LogFormat) -> None:
    error = raised("raise RuntimeError('no mask')")
    record = logging.LogRecord(
        "server", logging.ERROR, "x.py", 1, "failed", (), (type(error), error, error.__traceback__)
    )
    text = make_formatter(form, terminal=False).format(record)
    assert "no mask" in text
    if form is LogFormat.JSON:
        assert json.loads(text)["exception"] == describe_error(error)
    else:
        assert 'File "snippet.py", line 1' in text
