"""From comparisons and the rule to clauses, and from clauses to a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.gate.judge import Comparison, Portion
from trainer.gate.measure import CHAMPION, ZERO
from trainer.gate.record import Clause, Outcome, Route, Verdict
from trainer.gate.rule import PromotionRule
from trainer.gate.statistics import Estimate

NAMES = {CHAMPION: "the champion", ZERO: "zero-shot"}
# Sums of the same numbers in another order differ by less.
ROUNDING = 1e-9
MOST_NAMED = 5


def decide(
    comparison: Comparison | None,
    zero_shot: Comparison | None,
    *,
    rule: PromotionRule,
    route: Route,
    has_champion: bool,
    same_pack: bool,
    not_compared: str | None = None,
) -> tuple[Verdict, str, tuple[Clause, ...]]:
    """Apply the rule.

    Args:
        comparison: Against whom the rule is applied; None where nothing could be measured.
        zero_shot: Against zero-shot.
        rule: The rule.
        route: What was measured on.
        has_champion: Whether there is a champion, compared with or not.
        same_pack: Whether the candidate is the champion's very pack.
        not_compared: Why the champion could not be measured at all, if so.

    Returns:
        The verdict, the reason in one sentence, and the clauses.
    """
    evidence = _evidence(comparison, route, rule, has_champion, not_compared)
    clauses = [_another(same_pack, has_champion), evidence]
    if comparison is not None:
        clauses += [
            _gain(comparison, rule),
            _above_zero_shot(comparison, zero_shot, rule),
            _classes(comparison, rule),
            _false_alarms(comparison, rule),
            _sensitivity(comparison, rule),
        ]
    verdict = verdict_of(clauses)
    return verdict, _reason(verdict, clauses), tuple(clauses)


def verdict_of(clauses: Sequence[Clause]) -> Verdict:
    """One failed clause rejects, one undecided keeps, else the candidate is promoted."""
    outcomes = {clause.outcome for clause in clauses}
    if Outcome.FAILED in outcomes:
        return Verdict.REJECT
    return Verdict.KEEP if Outcome.UNDECIDED in outcomes else Verdict.PROMOTE


def _reason(verdict: Verdict, clauses: Sequence[Clause]) -> str:
    decisive = {Verdict.REJECT: Outcome.FAILED, Verdict.KEEP: Outcome.UNDECIDED}.get(verdict)
    if decisive is None:
        gain = next(clause for clause in clauses if clause.name == "gain")
        return f"every clause passed: {gain.reason}"
    return "; ".join(clause.reason for clause in clauses if clause.outcome is decisive)


def _another(same_pack: bool, has_champion: bool) -> Clause:
    if not has_champion:
        return Clause(name="another pack", outcome=Outcome.NOT_ASKED, reason="there is no champion yet")
    if same_pack:
        return Clause(
            name="another pack", outcome=Outcome.UNDECIDED, reason="the candidate is the champion's very pack"
        )
    return Clause(name="another pack", outcome=Outcome.PASSED, reason="the candidate is another pack")


def _evidence(
    comparison: Comparison | None,
    route: Route,
    rule: PromotionRule,
    has_champion: bool,
    not_compared: str | None,
) -> Clause:
    """Whether there is enough to decide on, and the champion among it."""
    least = rule.least_val_units if route.kind == "val" else rule.least_training_units
    if comparison is None or comparison.dice.difference.units < least:
        have = 0 if comparison is None else comparison.dice.difference.units
        outcome, reason = (
            Outcome.UNDECIDED,
            f"{have} {route.unit}s to compare on, at least {least} are asked for",
        )
        if not_compared is not None:
            reason = f"{reason}; {not_compared}"
    elif not_compared is not None:
        outcome, reason = Outcome.UNDECIDED, not_compared
    elif has_champion and comparison.against != CHAMPION:
        outcome = Outcome.UNDECIDED
        reason = (
            f"only {route.champion_units} {route.unit}s are known to be new to the champion, so the two "
            f"were not compared; at least {least} are asked for"
        )
    else:
        difference = comparison.dice.difference
        outcome = Outcome.PASSED
        on = f"{difference.rows} rows of {difference.units} {route.unit}s"
        reason = f"compared with {NAMES[comparison.against]} on {on}"
    return Clause(name="evidence", outcome=outcome, reason=reason)


def _gain(comparison: Comparison, rule: PromotionRule) -> Clause:
    gain, other = comparison.dice.difference, NAMES[comparison.against]
    told = f"mean Dice {_signed(gain.mean)} against {other} ({rule.confidence:.0%} interval {_bounds(gain)})"
    if gain.low > rule.least_gain + ROUNDING:
        outcome, reason = Outcome.PASSED, f"{told}, all of it above {rule.least_gain:g}"
    elif gain.high < rule.least_gain - ROUNDING:
        outcome, reason = Outcome.FAILED, f"{told}, all of it below {rule.least_gain:g}"
    else:
        outcome, reason = Outcome.UNDECIDED, f"{told}, which does not lie above {rule.least_gain:g}"
    return Clause(name="gain", outcome=outcome, reason=reason)


def _above_zero_shot(comparison: Comparison, zero_shot: Comparison | None, rule: PromotionRule) -> Clause:
    """A checkpoint that does worse than none must not be served, whatever the champion does."""
    if zero_shot is None or comparison.against == ZERO:
        return Clause(
            name="zero-shot", outcome=Outcome.NOT_ASKED, reason="the gain is the one against zero-shot"
        )
    gain = zero_shot.dice.difference.mean
    outcome = Outcome.FAILED if gain < -ROUNDING else Outcome.PASSED
    if rule.may_be_below_zero_shot:
        outcome = Outcome.NOT_ASKED
    return Clause(name="zero-shot", outcome=outcome, reason=f"mean Dice {_signed(gain)} against zero-shot")


def _classes(comparison: Comparison, rule: PromotionRule) -> Clause:
    judged = [p for p in comparison.by_class if p.dice.difference.units >= rule.least_class_units]
    small = len(comparison.by_class) - len(judged)
    left = f"; {small} in fewer than {rule.least_class_units} units not judged" if small else ""
    if not judged:
        return Clause(name="classes", outcome=Outcome.NOT_ASKED, reason=f"no class is in enough units{left}")
    worse = [p for p in judged if p.dice.difference.mean < -rule.most_class_loss - ROUNDING]
    worst = min(judged, key=lambda portion: portion.dice.difference.mean)
    if worse:
        worse.sort(key=lambda portion: portion.dice.difference.mean)
        told = ", ".join(map(_portion, worse[:MOST_NAMED])) + (" and more" if len(worse) > MOST_NAMED else "")
        reason = f"worse by more than {rule.most_class_loss:g}: {told}{left}"
        return Clause(name="classes", outcome=Outcome.FAILED, reason=reason)
    reason = f"{len(judged)} judged, the least gain is of {_portion(worst)}{left}"
    return Clause(name="classes", outcome=Outcome.PASSED, reason=reason)


def _false_alarms(comparison: Comparison, rule: PromotionRule) -> Clause:
    alarms = comparison.false_alarms
    if alarms is None:
        return Clause(
            name="false alarms", outcome=Outcome.NOT_ASKED, reason="every image holds something to find"
        )
    figures = (
        ("get any mask", alarms.any, rule.most_false_alarm_rise),
        (f"get one above {rule.large_share:.1%} of the image", alarms.large, rule.most_false_alarm_rise),
        ("of their area is marked", alarms.area, rule.most_false_area_rise),
    )
    told = "; ".join(f"{pair.other:.1%} -> {pair.candidate:.1%} {words}" for words, pair, _ in figures)
    failed = any(pair.difference.mean > most + ROUNDING for _, pair, most in figures)
    reason = (
        f"of {alarms.any.difference.rows} rows with nothing to find {told}; at most "
        f"{rule.most_false_alarm_rise:+.1%}, {rule.most_false_alarm_rise:+.1%} and "
        f"{rule.most_false_area_rise:+.1%} are accepted"
    )
    return Clause(name="false alarms", outcome=Outcome.FAILED if failed else Outcome.PASSED, reason=reason)


def _sensitivity(comparison: Comparison, rule: PromotionRule) -> Clause:
    pair, most = comparison.sensitivity, rule.most_sensitivity_rise
    if most is None:
        return Clause(name="wording", outcome=Outcome.NOT_ASKED, reason="the rule does not judge it")
    if pair is None:
        return Clause(name="wording", outcome=Outcome.UNDECIDED, reason="other wordings were not measured")
    rise = pair.difference.mean
    return Clause(
        name="wording",
        outcome=Outcome.FAILED if rise > most + ROUNDING else Outcome.PASSED,
        reason=f"range of Dice over wordings {pair.other:.3f} -> {pair.candidate:.3f}; {most:+g} is accepted",
    )


def _portion(portion: Portion) -> str:
    return f"{portion.name!r} {_signed(portion.dice.difference.mean)}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _bounds(estimate: Estimate) -> str:
    return f"{estimate.low:+.3f} to {estimate.high:+.3f}"
