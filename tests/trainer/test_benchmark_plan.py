import dataclasses
from types import SimpleNamespace

import pytest
from benchmark_parts import SHORT, write_root
from cris_parts import tiny_cris

from models_store.errors import BadInputError, UnknownNameError
from models_store.strategies import STRATEGIES
from trainer.benchmark.configurations import MOST_TRIALS, configurations, in_words
from trainer.benchmark.plan import BASELINES, Protocol, parse_baselines, parse_combinations, plan_cells


@pytest.fixture(scope="module")
def specs(request):
    tiny = request.getfixturevalue("tiny").spec
    return [dataclasses.replace(tiny, name="seg"), dataclasses.replace(tiny_cris().spec, name="cris")]


def cells_of(root, specs, protocol=SHORT, **changes):
    options = {"datasets": ["one"], "combinations": [("vpt", "seg")], "baselines": ["zero-shot"]} | changes
    return plan_cells(root=root, specs=specs[:1], protocol=protocol, **options)


class TestCombinations:
    def test_all_are_eight_as_cris_takes_text_prompts_only(self, specs):
        pairs = parse_combinations("all", specs)
        assert len(pairs) == 8
        assert {s for s, base in pairs if base == "seg"} == set(STRATEGIES)
        assert {s for s, base in pairs if base == "cris"} == {"coop", "cocoop"}

    def test_names_may_say_on_which_base(self, specs):
        assert parse_combinations("coop@cris, vpt,coop@cris", specs) == [("coop", "cris"), ("vpt", "seg")]
        assert parse_combinations("none", specs) == []

    def test_what_is_not_there_or_does_not_fit_is_refused(self, specs):
        with pytest.raises(UnknownNameError, match="no strategy 'cop'; there are all and cocoop"):
            parse_combinations("cop", specs)
        with pytest.raises(UnknownNameError, match="no base 'x' in this benchmark; it has seg, cris"):
            parse_combinations("coop@x", specs)
        with pytest.raises(BadInputError, match="cris takes no visual prompts, which maple has"):
            parse_combinations("maple@cris", specs)


class TestBaselines:
    def test_zero_shot_is_always_there_and_first(self):
        assert parse_baselines("end-to-end,decoder") == list(BASELINES)
        assert parse_baselines("") == ["zero-shot"]
        with pytest.raises(UnknownNameError, match="no baseline 'x'"):
            parse_baselines("x")


class TestCells:
    def test_share_a_digest_only_if_nothing_that_decides_differs(self, specs, tmp_path):
        root = write_root(tmp_path, ["one", "two"])
        first = cells_of(root, specs)
        assert [cell.method for cell in first] == ["zero-shot", "vpt"]
        assert first == cells_of(root, specs)
        names = {cell.name for cell in first}
        for field in dataclasses.fields(Protocol):
            value = getattr(SHORT, field.name)
            other = {"limit": 5, "val_limit": 5, "steps": 20, "augment": True, "prompt_key": "p2"}.get(
                field.name
            )
            changed = dataclasses.replace(
                SHORT, **{field.name: value * 0.9 if value == 0.5 else value + 1 if other is None else other}
            )
            names |= {cell.name for cell in cells_of(root, specs, changed)}
        assert len(names) == 2 * (1 + len(dataclasses.fields(Protocol)))
        (root / "one" / "images" / "new.png").write_bytes(b"1")
        assert not names & {cell.name for cell in cells_of(root, specs)}

    def test_an_unknown_dataset_lists_those_there_are(self, specs, tmp_path):
        with pytest.raises(UnknownNameError, match=r"no dataset 'x' in .*; it has one, two"):
            cells_of(write_root(tmp_path, ["one", "two"]), specs, datasets=["x"])

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"epochs": 0}, "epochs 0 must be at least 1"),
            ({"limit": 1}, "limit 1 must be at least 2"),
            ({"threshold": 2.0}, "threshold 2.0 is outside"),
            ({"steps": 3}, "steps 3 must be at least 10"),
            ({"trials": 99}, f"trials 99 is more than the {MOST_TRIALS}"),
            ({"sensitivity_images": -1}, "must not be negative"),
        ],
    )
    def test_a_protocol_that_cannot_be_is_refused(self, changes, said):
        with pytest.raises(BadInputError, match=said):
            dataclasses.replace(SHORT, **changes).check()


class TestConfigurations:
    @pytest.mark.parametrize("method", [*STRATEGIES, "decoder", "end-to-end"])
    def test_every_method_has_the_same_number_of_different_tries(self, method):
        tries = configurations(method)
        assert len(set(tries)) == len(tries) == MOST_TRIALS

    def test_reads_as_words(self):
        row = SimpleNamespace(**configurations("vpt")[0].row())
        assert in_words(vars(row)) == "lr 0.01, depth 6, weight decay 0.0001"
