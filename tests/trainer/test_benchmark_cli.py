import shlex
import sys

import pytest
from benchmark_parts import damage, write_root
from typer import Typer
from typer.testing import CliRunner

from models_store.errors import BadInputError, UnknownNameError
from server.cli.benchmark import benchmark

app = Typer()
app.command()(benchmark)
SHORT = ["--epochs", "1", "--batch-size", "4", "--sensitivity-images", "0", "--no-augment"]


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def asked(tmp_path, tiny_folder):
    root = write_root(tmp_path / "data")
    return ["--data", root, "--datasets", "one", "--out", tmp_path / "out", "--bases", tiny_folder, *SHORT]


class TestBenchmarkCommand:
    def test_writes_the_table_and_the_command_that_makes_it(self, asked, tmp_path, monkeypatch):
        typed = ["tunevlseg", "benchmark", *map(str, asked), "--combinations", "vpt"]
        monkeypatch.setattr(sys, "argv", typed)
        result = invoke(*asked, "--combinations", "vpt")
        assert result.exit_code == 0
        assert "2 of 2 cells" in result.output
        assert "vpt               Dice" in result.output
        assert shlex.join(typed) in (tmp_path / "out" / "benchmark.md").read_text()

    def test_missing_cells_are_named_and_the_exit_code_says_so(self, asked, tmp_path):
        damage(tmp_path / "data" / "one")
        result = invoke(*asked, "--combinations", "none")
        assert result.exit_code == 1
        assert "failed: " in result.output
        assert "0 of 1 cells" in result.output
        assert "one/tiny/zero-shot" in result.output

    def test_what_cannot_be_is_refused_before_anything_is_written(self, asked, tmp_path):
        with pytest.raises(UnknownNameError, match="no strategy 'x'"):
            invoke(*asked, "--combinations", "x")
        with pytest.raises(BadInputError, match="short list"):
            invoke(*asked, "--trials", "99")
        assert not (tmp_path / "out").exists()
