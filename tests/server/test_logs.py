from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from server.logs import FACTS, LogFormat, LogLevel, configure_logging, make_formatter
from server.request_notes import Notes, taking_notes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def _own_logging() -> Iterator[None]:
    """What a program configures for good is put back for the other tests."""
    root, shown = logging.getLogger(), warnings.showwarning
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    warnings.showwarning = shown
    for name in ("models_store", "trainer", "server", "webui", "uvicorn"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def record(name: str = "server.x", message: str = "hello %s", **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, "/src/reader.py", 12, message, ("you",), None)
    made.__dict__.update(extra)
    return made


def line(made: logging.LogRecord) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(make_formatter(LogFormat.JSON, terminal=False).format(made))
    return said


class TestLines:
    def test_json(self) -> None:
        said = line(record(**{FACTS: {"status": 200, "cache": {"image": "hit"}}}))
        time = said.pop("timestamp")
        assert time.endswith("Z")
        assert said == {
            "event": "hello you",
            "level": "warning",
            "logger": "server.x",
            "status": 200,
            "cache": {"image": "hit"},
        }

    def test_facts_cannot_pose_as_what_the_line_says_of_itself(self) -> None:
        said = line(record(**{FACTS: {"level": "info", "event": "all is well", "logger": "y"}}))
        assert (said["level"], said["event"], said["logger"]) == ("warning", "hello you", "server.x")

    def test_a_line_is_one_line(self) -> None:
        text = make_formatter(LogFormat.JSON, terminal=False).format(record(message="a\nb\u2028%s"))
        assert len(text.split("\n")) == 1

    @pytest.mark.parametrize(
        ("form", "terminal", "json_expected"),
        [
            (LogFormat.AUTO, False, True),
            (LogFormat.AUTO, True, False),
            (LogFormat.JSON, True, True),
            (LogFormat.CONSOLE, False, False),
        ],
    )
    def test_who_reads_it_decides(self, form: LogFormat, terminal: bool, json_expected: bool) -> None:
        text = make_formatter(form, terminal=terminal).format(record(**{FACTS: {"status": 200}}))
        assert text.startswith("{") is json_expected
        assert ("\x1b[" in text) is (terminal and not json_expected)
        assert "hello you" in text

    def test_the_request_of_the_moment_is_named(self) -> None:
        with taking_notes(Notes("abc")):
            assert line(record())["request_id"] == "abc"
        assert "request_id" not in line(record())


class TestOtherLibraries:
    def test_what_they_say_while_a_request_is_answered_is_left_out(self) -> None:
        """A reader of files quotes what it reads; its lines tell where, not what."""
        quoting = record("pydicom.valuerep", "Invalid value for VR PN: 'Doe^Jane' %s")
        with taking_notes(Notes("abc")):
            said = line(quoting)
        assert "Doe" not in json.dumps(said)
        assert said["place"] == "reader:12"
        assert "may quote the upload" in said["event"]

    def test_at_other_times_they_speak(self) -> None:
        assert line(record("torch", "no GPU for %s"))["event"] == "no GPU for you"


@pytest.mark.usefixtures("_own_logging")
class TestConfigured:
    def test_our_lines_from_the_chosen_level_on_and_warnings_of_others(self) -> None:
        out = io.StringIO()
        # A server by its own settings, whose loggers keep handlers and levels.
        uvicorn.Config("no:application", log_level="warning")
        configure_logging(LogFormat.AUTO, LogLevel.INFO, out)
        logging.getLogger("server.requests").info("one")
        logging.getLogger("server.requests").debug("two")
        logging.getLogger("uvicorn.error").info("three")
        logging.getLogger("httpx").info("four")
        logging.getLogger("httpx").warning("five")
        assert [json.loads(text)["event"] for text in out.getvalue().splitlines()] == ["one", "three", "five"]

    def test_a_terminal_gets_columns(self) -> None:
        out = Terminal()
        configure_logging(stream=out)
        logging.getLogger("server").warning("careful")
        assert "careful" in out.getvalue()
        assert not out.getvalue().startswith("{")

    def test_twice_is_not_two_lines(self) -> None:
        first, second = io.StringIO(), io.StringIO()
        configure_logging(stream=first)
        configure_logging(stream=second)
        logging.getLogger("server").warning("once")
        assert first.getvalue() == ""
        assert len(second.getvalue().splitlines()) == 1

    def test_python_warnings_are_lines_whose_text_a_request_leaves_out(self) -> None:
        out = io.StringIO()
        configure_logging(LogFormat.JSON, stream=out)
        warnings.showwarning("slow path", UserWarning, "x.py", 3)
        with taking_notes(Notes("abc")):
            warnings.showwarning("Invalid value 'Doe^Jane'", UserWarning, "values.py", 7)
        plain, private = (json.loads(text) for text in out.getvalue().splitlines())
        assert (plain["event"], plain["category"], plain["place"]) == ("slow path", "UserWarning", "x.py:3")
        assert "Doe" not in json.dumps(private)
        assert (private["place"], private["request_id"]) == ("values.py:7", "abc")
