import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_store.errors import BadInputError
from trainer.gate.rule import PromotionRule, read_rule, rule_from

rules = st.builds(
    PromotionRule,
    least_gain=st.floats(-1, 1),
    confidence=st.floats(0.5, 0.999),
    most_class_loss=st.floats(0, 1),
    most_sensitivity_rise=st.none() | st.floats(0, 1),
    folds=st.integers(2, 20),
)


@given(rules)
def test_json_gives_the_same_rule(rule):
    assert PromotionRule.model_validate_json(rule.model_dump_json()) == rule


def test_what_is_left_out_keeps_its_default(tmp_path):
    path = tmp_path / "rule.toml"
    path.write_text("most_class_loss = 0.1\nfolds = 3\n")
    assert read_rule(path) == PromotionRule(most_class_loss=0.1, folds=3)
    assert rule_from({}).least_gain == 0
    assert rule_from({}).confidence == 0.9
    assert rule_from({}).most_class_loss == 0.02


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"confidence": 1.5}, r"confidence 1\.5 is not accepted: .* 0\.5 to 0\.999"),
        ({"folds": "many"}, "folds 'many' is not accepted: of that cross-validation; 2 to 20"),
        ({"least_gian": 0.1}, "there is no 'least_gian'; accepted are least_gain, confidence"),
        ({"least_gain": float("nan")}, "least_gain nan is not accepted"),
        ({"least_val_units": 1, "folds": 1}, "least_val_units 1 .*; folds 1 "),
    ],
)
def test_a_value_that_is_not_accepted_is_told_with_what_is(values, said):
    with pytest.raises(BadInputError, match=said):
        rule_from(values)


def test_a_file_that_is_no_toml_is_told(tmp_path):
    path = tmp_path / "rule.toml"
    path.write_text("folds = [")
    with pytest.raises(BadInputError, match=r"rule\.toml is not a readable TOML file"):
        read_rule(path)
