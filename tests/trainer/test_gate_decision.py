import numpy as np
import pytest
from gate_parts import part_of, rows_of, side_of
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.gate.decision import decide, verdict_of
from trainer.gate.judge import compare
from trainer.gate.record import Clause, Outcome, Verdict
from trainer.gate.route import route_of
from trainer.gate.rule import PromotionRule

RULE = PromotionRule()
COUNT = 30
dice = st.lists(st.floats(0, 1), min_size=COUNT, max_size=COUNT)


def judged(part, *, rule=RULE, against="champion", same_pack=False, has_champion=True, not_compared=None):
    """Verdict, reason and clauses by name."""
    found = {
        side: compare([part], side, confidence=rule.confidence, large_share=rule.large_share, seed=1)
        for side in ("champion", "zero_shot")
    }
    route = route_of([part], "val", "of this test", rule, unit="image", champion=None)
    verdict, reason, clauses = decide(
        found[against],
        found["zero_shot"],
        rule=rule,
        route=route,
        has_champion=has_champion,
        same_pack=same_pack,
        not_compared=not_compared,
    )
    return verdict, reason, {clause.name: clause for clause in clauses}


def noisy(mean, seed=0, count=COUNT):
    return np.clip(mean + np.random.default_rng(seed).normal(0, 0.05, count), 0, 1)


class TestDecide:
    @given(dice)
    @settings(max_examples=40, deadline=None)
    def test_one_that_does_the_same_is_never_promoted(self, values):
        verdict, _, clauses = judged(
            part_of(rows_of([None] * COUNT), candidate=values, champion=values, zero_shot=[0.0] * COUNT)
        )
        assert verdict is Verdict.KEEP
        assert clauses["gain"].outcome is Outcome.UNDECIDED

    @given(st.lists(st.floats(0, 0.8), min_size=COUNT, max_size=COUNT), st.floats(0.05, 0.2))
    @settings(max_examples=40, deadline=None)
    def test_one_that_is_better_everywhere_is_promoted(self, values, gain):
        better = [value + gain for value in values]
        part = part_of(rows_of([None] * COUNT), candidate=better, champion=values, zero_shot=[0.0] * COUNT)
        verdict, reason, clauses = judged(part)
        assert verdict is Verdict.PROMOTE
        assert "every clause passed" in reason
        assert {c.outcome for c in clauses.values()} <= {Outcome.PASSED, Outcome.NOT_ASKED}

    @given(st.lists(st.floats(0.2, 1), min_size=COUNT, max_size=COUNT), st.floats(0.05, 0.2))
    @settings(max_examples=40, deadline=None)
    def test_one_that_is_worse_everywhere_is_rejected(self, values, loss):
        worse = [value - loss for value in values]
        part = part_of(rows_of([None] * COUNT), candidate=worse, champion=values, zero_shot=[0.0] * COUNT)
        verdict, reason, _ = judged(part)
        assert verdict is Verdict.REJECT
        assert "against the champion" in reason

    def test_one_worse_class_refuses_however_good_the_rest(self):
        classes = ["left"] * 24 + ["right"] * 6
        before = noisy(0.5)
        after = before + np.array([0.3] * 24 + [-0.04] * 6)
        part = part_of(rows_of(classes), candidate=after, champion=before, zero_shot=[0.0] * COUNT)
        verdict, reason, clauses = judged(part)
        assert clauses["gain"].outcome is Outcome.PASSED
        assert clauses["classes"].outcome is Outcome.FAILED
        assert verdict is Verdict.REJECT
        assert "'right' -0.040" in reason
        assert judged(part, rule=PromotionRule(most_class_loss=0.05))[0] is Verdict.PROMOTE

    def test_a_class_in_too_few_images_is_told_and_not_judged(self):
        classes = ["left"] * 27 + ["rare"] * 3
        before = noisy(0.5)
        after = before + np.array([0.3] * 27 + [-0.4] * 3)
        part = part_of(rows_of(classes), candidate=after, champion=before, zero_shot=[0.0] * COUNT)
        verdict, _, clauses = judged(part)
        assert verdict is Verdict.PROMOTE
        assert "1 in fewer than 5 units not judged" in clauses["classes"].reason
        strict = judged(part, rule=PromotionRule(least_class_units=1))
        assert strict[0] is Verdict.REJECT

    def test_more_false_alarms_on_empty_images_refuse(self):
        empty = [False] * 20 + [True] * 10
        before, after = np.array([0.4] * 20 + [1.0] * 10), np.array([0.8] * 20 + [1.0] * 8 + [0.0] * 2)
        part = part_of(
            rows_of([None] * COUNT, empty=empty), candidate=after, champion=before, zero_shot=[0.0] * COUNT
        )
        verdict, _, clauses = judged(part)
        assert clauses["gain"].outcome is Outcome.PASSED
        assert clauses["false alarms"].outcome is Outcome.FAILED
        assert "of 10 rows with nothing to find 0.0% -> 20.0%" in clauses["false alarms"].reason
        assert verdict is Verdict.REJECT
        lax = PromotionRule(most_false_alarm_rise=0.3, most_false_area_rise=0.2)
        assert judged(part, rule=lax)[0] is Verdict.PROMOTE

    def test_better_than_the_champion_and_worse_than_nothing_is_refused(self):
        part = part_of(
            rows_of([None] * COUNT), candidate=noisy(0.5), champion=noisy(0.3), zero_shot=noisy(0.7)
        )
        verdict, reason, clauses = judged(part)
        assert clauses["gain"].outcome is Outcome.PASSED
        assert clauses["zero-shot"].outcome is Outcome.FAILED
        assert verdict is Verdict.REJECT
        assert "against zero-shot" in reason
        assert judged(part, rule=PromotionRule(may_be_below_zero_shot=True))[0] is Verdict.PROMOTE

    def test_too_few_images_decide_nothing(self):
        few = RULE.least_val_units - 1
        part = part_of(
            rows_of([None] * few), candidate=[0.9] * few, champion=[0.1] * few, zero_shot=[0.0] * few
        )
        verdict, reason, _ = judged(part)
        assert verdict is Verdict.KEEP
        assert reason == "19 images to compare on, at least 20 are asked for"

    def test_many_rows_of_few_units_are_few(self):
        part = part_of(
            rows_of([None] * COUNT),
            units=[f"patient {i % 3}" for i in range(COUNT)],
            candidate=[0.9] * COUNT,
            champion=[0.1] * COUNT,
            zero_shot=[0.0] * COUNT,
        )
        assert judged(part)[0] is Verdict.KEEP

    def test_a_champion_that_could_not_be_compared_stays(self):
        part = part_of(rows_of([None] * COUNT), candidate=[0.9] * COUNT, zero_shot=[0.0] * COUNT)
        verdict, reason, _ = judged(part, against="zero_shot")
        assert verdict is Verdict.KEEP
        assert "known to be new to the champion" in reason
        assert judged(part, against="zero_shot", has_champion=False)[0] is Verdict.PROMOTE

    def test_a_champion_that_cannot_run_is_not_replaced_whatever_the_figures(self):
        told = {"against": "zero_shot", "not_compared": "the champion is of another base"}
        better = part_of(rows_of([None] * COUNT), candidate=[0.9] * COUNT, zero_shot=[0.1] * COUNT)
        verdict, reason, clauses = judged(better, **told)
        assert (verdict, reason) == (Verdict.KEEP, "the champion is of another base")
        assert clauses["gain"].outcome is Outcome.PASSED
        worse = part_of(rows_of([None] * COUNT), candidate=[0.1] * COUNT, zero_shot=[0.9] * COUNT)
        assert judged(worse, **told)[0] is Verdict.REJECT
        few = part_of(rows_of([None] * 3), candidate=[0.9] * 3, zero_shot=[0.1] * 3)
        _, reason, _ = judged(few, **told)
        assert reason == "3 images to compare on, at least 20 are asked for; the champion is of another base"

    def test_wording_is_judged_only_where_the_rule_asks(self):
        part = part_of(
            rows_of([None] * COUNT), candidate=[0.9] * COUNT, champion=[0.1] * COUNT, zero_shot=[0.0] * COUNT
        )
        assert judged(part)[2]["wording"].outcome is Outcome.NOT_ASKED
        asked = judged(part, rule=PromotionRule(most_sensitivity_rise=0.1))
        assert asked[2]["wording"].outcome is Outcome.UNDECIDED
        assert asked[0] is Verdict.KEEP

    @pytest.mark.parametrize(
        ("outcomes", "verdict"),
        [
            ((Outcome.PASSED, Outcome.NOT_ASKED), Verdict.PROMOTE),
            ((Outcome.PASSED, Outcome.UNDECIDED), Verdict.KEEP),
            ((Outcome.UNDECIDED, Outcome.FAILED), Verdict.REJECT),
        ],
    )
    def test_the_worst_outcome_counts(self, outcomes, verdict):
        assert verdict_of([Clause(name="c", outcome=o, reason="r") for o in outcomes]) is verdict


class TestCompare:
    def test_figures_are_of_the_rows_both_were_measured_on(self):
        both = part_of(rows_of([None] * 2), candidate=[0.5, 0.7], champion=[0.4, 0.4], zero_shot=[0, 0])
        alone = part_of(rows_of([None]), units=["other"], candidate=[0.0], zero_shot=[0.0])
        found = compare([both, alone], "champion", confidence=0.9, large_share=0.01, seed=1)
        assert found.dice.candidate == pytest.approx(0.6)
        assert found.dice.difference.mean == pytest.approx(0.2)
        assert (found.dice.difference.rows, found.dice.difference.units) == (2, 2)
        against = compare([both, alone], "zero_shot", confidence=0.9, large_share=0.01, seed=1)
        assert against.dice.difference.units == 3
        assert compare([alone], "champion", confidence=0.9, large_share=0.01, seed=1) is None

    def test_false_alarms_tell_specks_from_large_masks(self):
        examples = rows_of([None] * 4, empty=[True] * 4)
        part = part_of(examples, candidate=[1, 1, 1, 1], zero_shot=[1, 1, 1, 1])
        part.results["candidate"] = side_of(examples, [0] * 4, marked=[0.0, 0.005, 0.1, 0.5])
        found = compare([part], "zero_shot", confidence=0.9, large_share=0.01, seed=1).false_alarms
        assert found.any.candidate == 0.75
        assert found.large.candidate == 0.5
        assert found.area.candidate == pytest.approx(0.15125)
        assert found.any.other == 0
