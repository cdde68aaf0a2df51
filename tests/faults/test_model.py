"""The model of the lease protocol: its invariants hold in every state, and each rule is needed."""

from __future__ import annotations

import pytest

from tests.faults.lease_model import Rule, check


def test_no_reachable_state_has_a_double_stale_or_lost_publish() -> None:
    verdict = check()
    assert verdict.violation is None, verdict.steps
    assert verdict.states > 10_000


VIOLATIONS = [
    (Rule.FENCE, "a stale publication"),
    (Rule.COUNT_AT_CLAIM, "a stale publication"),
    (Rule.LEASED_ONLY, "two publications of one task"),
    (Rule.REREAD, "a published result was thrown away"),
    (Rule.LATE_ONLY, "a living worker was robbed"),
    (Rule.RESCUE, "an accepted task can't end any more"),
]


@pytest.mark.parametrize(("rule", "violation"), VIOLATIONS)
def test_protocol_breaks_without_any_one_rule(rule: Rule, violation: str) -> None:
    verdict = check(rule)
    assert verdict.violation == violation
    assert verdict.steps


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, _ in VIOLATIONS} == set(Rule)
