"""The checks of the data: a table of functions, each giving findings; add a function and its row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from ftkit.data.staging import Ticker
from ftkit.stages.findings import Finding, sort_findings
from ftkit.stages.inspection.checks.amount import check_amount
from ftkit.stages.inspection.checks.labels import (
    check_absent_labels,
    check_conflicts,
    check_empty_tags,
    check_imbalance,
    check_long_entities,
    check_rare_labels,
    check_similar_names,
    check_unlabelled,
    check_unseen_labels,
)
from ftkit.stages.inspection.checks.reading import check_repairs
from ftkit.stages.inspection.checks.shortcuts import check_shortcuts
from ftkit.stages.inspection.checks.splits import (
    check_duplicates,
    check_label_shift,
    check_leaks,
    check_length_shift,
    check_near_duplicates,
    check_shared_groups,
)
from ftkit.stages.inspection.checks.texts import (
    check_boilerplate,
    check_control_characters,
    check_empty_texts,
    check_encoding,
    check_lengths,
    check_markup,
)
from ftkit.stages.inspection.facts.split import Facts

__all__ = ["CHECKS", "run_checks"]

Check: TypeAlias = Callable[[Facts], Iterable[Finding]]

CHECKS: tuple[Check, ...] = (
    check_unlabelled,
    check_shortcuts,
    check_repairs,
    check_leaks,
    check_shared_groups,
    check_conflicts,
    check_empty_texts,
    check_encoding,
    check_duplicates,
    check_near_duplicates,
    check_similar_names,
    check_empty_tags,
    check_unseen_labels,
    check_rare_labels,
    check_absent_labels,
    check_imbalance,
    check_label_shift,
    check_length_shift,
    check_lengths,
    check_long_entities,
    check_amount,
    check_boilerplate,
    check_markup,
    check_control_characters,
)


def run_checks(facts: Facts) -> list[Finding]:
    """Run all checks; the most severe findings come first."""
    tick = Ticker(facts.progress)
    found: list[Finding] = []
    for done, check in enumerate(CHECKS, 1):
        found += check(facts)
        tick(f"{done} of {len(CHECKS)} checks done")
    return sort_findings(found)
