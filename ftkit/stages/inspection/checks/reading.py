"""What the reader mended or left out, as findings: a file was not as it should be."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit.stages.findings import Finding, make_finding
from ftkit.stages.inspection.facts.split import Facts

__all__ = ["check_repairs"]

REMEDIES = {
    "row_left_out": "Look at these rows in the source: add what is missing, or take them out.",
    "tags_mended": "Look at these sentences in the source: an entity may begin one word too late, or be cut in two.",
    "spans_mended": "Look at these rows in the source: a span that was widened, moved or left out is learned otherwise "
    "than it was marked. data.overlaps says which of overlapping ones is kept.",
    "annotators_disagree": "Look at these rows first, they head the suspects; data.annotator says who decides.",
    "group_like": "If examples of one value belong together (an author, a patient, a document), name the column in "
    "data.group_column: else a model is scored on authors that it has met.",
    "encoding_guessed": "Save the source as UTF-8; characters that were guessed wrong change the words.",
}


def check_repairs(facts: Facts) -> Iterator[Finding]:
    """Tell what the reader mended or left out; the rows are those of the file it stands in."""
    for repair in facts.source.repairs:
        severity = "note" if repair.check == "group_like" else "warning"
        yield make_finding(
            severity,
            repair.check,
            repair.split,
            repair.times,
            0,
            "none is harmless",
            repair.rows,
            f"{repair.times:,} {repair.what} (first: {repair.place})",
            REMEDIES[repair.check],
        )
