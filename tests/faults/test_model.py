"""The model of the lease protocol: no reachable state breaks an invariant, and each rule is needed."""

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
    (Rule.REREAD, "a published result was discarded"),
    (Rule.LATE_ONLY, "a valid lease was rescued"),
    (Rule.RESCUE, "an accepted task can't end any more"),
]


@pytest.mark.parametrize(("rule", "violation"), VIOLATIONS)
def test_protocol_without_one_rule_breaks_an_invariant(rule: Rule, violation: str) -> None:
    verdict = check(rule)
    assert verdict.violation == violation
    assert verdict.steps


def test_every_rule_has_a_case() -> None:
    assert {rule for rule, _ in VIOLATIONS} == set(Rule)
