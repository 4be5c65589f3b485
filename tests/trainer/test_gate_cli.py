import csv
import json
import re

import pytest
from job_parts import store_at
from page_parts import Page
from published_versions import published
from toy_data import edit_split, write_toy
from typer import Typer
from typer.testing import CliRunner

from models_store.checkpoints import read_config
from models_store.errors import BadInputError, DamagedError, MismatchError
from models_store.registry import Registry
from server.cli.gate import gate
from server.cli.tune import tune
from trainer.gate.record import GateRecord, Verdict
from trainer.gate.seen import read_seen
from trainer.gate.store import read_gate
from trainer.jobs.decisions import Decisions
from trainer.labels.errors import ConflictError
from trainer.tuning.command import settings_from, tune_command

HOSTILE = "<script>alert(1)</script> | *half*"
SHORT = ["--epochs", "1", "--depth", "1", "--n", "2", "--batch-size", "4"]

app = Typer()
app.command()(tune)
app.command()(gate)


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def tuned(tiny_folder, tmp_path_factory):
    """A toy dataset with a hostile phrase and two versions tuned on it, the first of them champion."""
    root = tmp_path_factory.mktemp("gated")
    folder = write_toy(root / "toy", train=8, val=6)
    for split in ("train", "val"):
        edit_split(folder, split, lambda entries: [e["prompts"].update(p1=HOSTILE) for e in entries])
    for seed in (1, 2):
        invoke("tune", folder, *SHORT, "--base", tiny_folder, "--data-dir", root / "data", "--seed", seed)
    return folder, root / "data"


@pytest.fixture
def run(tuned, tiny_folder, tmp_path):
    """Runs the command with a rule that asks for few images."""
    folder, data_dir = tuned
    rule = tmp_path / "rule.toml"

    def run(*arguments, **values):
        asked = {"least_val_units": 5} | values
        rule.write_text("".join(f"{name} = {value}\n" for name, value in asked.items()))
        where = ["--base", tiny_folder, "--data-dir", data_dir, "--rule", rule]
        return invoke("gate", folder, *where, *arguments)

    return run


class TestGate:
    def test_judges_against_the_champion_and_moves_nothing(self, run, tuned):
        registry = Registry(tuned[1] / "registry")
        before = registry.history("toy")
        result = run("--candidate", "toy@candidate", "--no-sensitivity")
        assert result.exit_code == 0
        record = read_gate(registry, registry.resolve("toy/v0002"))
        assert record.candidate.name == "toy/v0002"
        assert record.champion.name == "toy/v0001"
        assert record.route.kind == "val"
        assert record.reason in result.stdout.replace("\n", " ")
        assert registry.history("toy") == before

    def test_the_record_is_the_same_again_and_reads_back(self, run):
        first, again = (
            run("--candidate", "toy/v0002", "--no-sensitivity", "--json").stdout for _ in range(2)
        )
        assert first == again
        assert GateRecord.model_validate_json(first).model_dump(mode="json") == json.loads(first)

    def test_promotes_only_what_passes(self, run, tuned):
        registry = Registry(tuned[1] / "registry")
        lax = {
            "most_class_loss": 1,
            "most_false_alarm_rise": 1,
            "most_false_area_rise": 1,
            "may_be_below_zero_shot": "true",
        }
        options = ("--candidate", "toy/v0002", "--promote", "--author", "ann", "--no-sensitivity")
        refused = run(*options, least_gain=0.99, **lax)
        assert refused.exit_code == 1
        assert registry.aliases("toy")["champion"] == "v0001"
        passed = run(*options, least_gain=-1, **lax)
        assert passed.exit_code == 0
        assert registry.aliases("toy")["champion"] == "v0002"
        last = registry.history("toy")[-1]
        assert (last.author, last.reason.startswith("gate: every clause passed")) == ("ann", True)
        with pytest.raises(BadInputError, match="is the champion already"):
            run(*options)
        registry.rollback("toy", "champion", author="test", reason="as it was")

    def test_promotion_needs_a_comparison_with_the_champion_in_use(self, run):
        with pytest.raises(BadInputError, match="the champion of 'toy' is v0001"):
            run("--candidate", "toy/v0002", "--champion", "toy/v0002", "--promote")

    def test_a_pinned_champion_is_not_replaced(self, run, tuned):
        registry = Registry(tuned[1] / "registry")
        store = store_at(tuned[1])
        decisions = Decisions(store, registry)
        decisions.pin("toy", by="ann", reason="in a trial")
        with pytest.raises(ConflictError, match="toy is pinned to v0001: unpin it"):
            run("--candidate", "toy/v0002", "--promote")
        assert registry.aliases("toy")["champion"] == "v0001"
        decisions.unpin("toy", by="ann", reason="over")
        store.database.close()

    def test_a_champion_of_another_base_is_compared_only_if_it_is_named(self, run, tuned, tiny_hybrid):
        registry = Registry(tuned[1] / "registry")
        foreign = published(registry, tiny_hybrid, "toy", seed=1)
        registry.move_alias(foreign, "champion", author="test", reason="of another base")
        said = f"the champion {foreign} is of base {tiny_hybrid.spec.name!r}, which is not the one in use"
        lax = {"least_gain": -1, "most_class_loss": 1, "most_false_alarm_rise": 1, "most_false_area_rise": 1}
        result = run("--candidate", "toy/v0002", "--promote", "--no-sensitivity", "--json", **lax)
        assert result.exit_code == 1
        record = json.loads(result.stdout)
        assert (record["verdict"], record["against"]) == ("keep as candidate", "zero_shot")
        assert record["reason"].startswith(said)
        assert registry.aliases("toy")["champion"] == foreign.version
        with pytest.raises(MismatchError, match="was made for base"):
            run("--candidate", "toy/v0002", "--champion", foreign)
        registry.rollback("toy", "champion", author="test", reason="as it was")

    def test_few_validation_images_are_cross_validated_with_the_recorded_settings(self, run):
        values = {"least_val_units": 20, "least_training_units": 4, "folds": 2}
        record = json.loads(run("--candidate", "toy/v0001", "--no-sensitivity", "--json", **values).stdout)
        assert record["route"]["kind"] == "cross-validation"
        assert record["against"] == "zero_shot"
        assert {row["part"] for row in record["rows"]} == {"fold 1", "fold 2"}
        assert {row["name"] for row in record["rows"]} == {f"train_{i:02d}.png" for i in range(8)}


@pytest.fixture(scope="module")
def files(tuned, tiny_folder, tmp_path_factory):
    """The folder of a report on the second version."""
    folder, data_dir = tuned
    out = tmp_path_factory.mktemp("report")
    where = ("--report", out, "--base", tiny_folder, "--data-dir", data_dir)
    invoke("gate", folder, "--candidate", "toy/v0002", *where)
    return out


class TestReport:
    def test_the_page_stands_alone_and_shows_words_as_they_are(self, files):
        text = (files / "report.html").read_text()
        page = Page(text)
        assert all(re.match(r"data:image/(png|jpeg);base64,", source) for source in page.fetched)
        assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
        assert HOSTILE in "".join(page.words)
        # Six images are the worst, and the same six the most changed.
        assert text.count("data:image/jpeg") == 12
        assert text.count("data:image/png") == 5

    def test_the_page_has_every_section(self, files):
        headings = re.findall("<h2>(.*?)</h2>", (files / "report.html").read_text())
        assert headings == [
            "Decision",
            "Figures",
            "Dice by image",
            "Worst",
            "Most changed",
            "Sensitivity to the wording",
            "Calibration",
            "Data",
            "What changed",
            "Training",
            "Time, cost, and how to make it again",
            "How this was measured",
        ]

    def test_what_changed_is_what_differs(self, files):
        text = (files / "report.md").read_text()
        changed = text.split("## What changed")[1].split("## ")[0]
        assert "| seed | 1 | 2 |" in changed
        assert "strategy" not in changed

    def test_figures_are_the_records(self, files):
        report = json.loads((files / "report.json").read_text())
        with (files / "images.csv").open() as table:
            rows = list(csv.DictReader(table))
        mean = sum(float(row["candidate_dice"]) - float(row["champion_dice"]) for row in rows) / len(rows)
        found = report["gate"]["comparisons"]["champion"]["dice"]["difference"]
        assert found["mean"] == pytest.approx(mean)
        assert (
            f"{found['mean']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"
            in (files / "report.html").read_text()
        )
        assert len(report["sides"]["candidate"]["wording"]["paraphrases"]) > 1

    def test_its_command_makes_the_same_pack_again(self, files, tuned, tiny_folder, tmp_path):
        config = read_config(tuned[1] / "registry" / "toy" / "versions" / "v0002")
        command, note = tune_command(
            settings_from(config.data["settings"]), str(tuned[0]), name="again", base=str(tiny_folder)
        )
        assert note == ""
        assert "--seed 2" in command
        assert (
            f"--name toy --base {config.base.name} --strategy vpt --depth 1"
            in (files / "report.md").read_text()
        )
        invoke(*command.split()[1:], "--data-dir", tmp_path)
        again = read_config(tmp_path / "registry" / "again" / "versions" / "v0001")
        assert again.pack_digest == config.pack_digest


class TestStore:
    def test_a_version_that_was_not_judged_has_no_decision(self, tuned, tmp_path):
        registry = Registry(tuned[1] / "registry")
        path = registry.root / "toy" / "gates" / "v0001" / "gate.json"
        path.unlink(missing_ok=True)
        assert read_gate(registry, registry.resolve("toy/v0001")) is None

    def test_a_damaged_decision_is_told(self, tuned):
        registry = Registry(tuned[1] / "registry")
        folder = registry.root / "toy" / "gates" / "v0001"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gate.json").write_text('{"verdict": "promote"}')
        with pytest.raises(DamagedError, match="is not a decision of the gate"):
            read_gate(registry, registry.resolve("toy/v0001"))

    def test_a_checkpoint_says_what_it_has_seen(self, tuned, tmp_path):
        registry = Registry(tuned[1] / "registry")
        version = registry.folder(registry.resolve("toy/v0002"))
        assert len(read_seen(version)) == 8
        assert read_seen(tmp_path) is None
        (tmp_path / "training_images.txt").write_text("not a digest\n")
        with pytest.raises(DamagedError, match="'not', which is no SHA-256"):
            read_seen(tmp_path)


def test_verdicts_are_words_for_people():
    assert [verdict.value for verdict in Verdict] == ["promote", "keep as candidate", "reject"]
