"""Checks of the labels: whether they are there, how often each occurs, and whether they contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from ftkit.errors import nearest
from ftkit.scoring.effects import effective_number
from ftkit.stages.findings import Finding, make_finding
from ftkit.stages.inspection.facts.split import Facts, SplitFacts
from ftkit.stages.inspection.label_names import find_similar_names
from ftkit.words import plural

__all__ = [
    "check_absent_labels",
    "check_conflicts",
    "check_empty_tags",
    "check_imbalance",
    "check_long_entities",
    "check_rare_labels",
    "check_similar_names",
    "check_unlabelled",
    "check_unseen_labels",
]

MOST_NAMES = 12  # labels named in a finding
MOSTLY_EMPTY = 0.8
ALMOST_ONE_LABEL = 0.9
FEWEST_EXPECTED = 5
LONG_ENTITY = 10  # words
MOST_MAJORITY = 0.7
NONE_ALLOWED = "none is harmless"


def check_unlabelled(facts: Facts) -> Iterator[Finding]:
    """Tell which splits, and which texts of the others, have no gold label."""
    for split, data in facts.splits.items():
        missing = int((~data.labelled).sum())
        if missing == len(data.rows):
            yield make_finding(
                "blocker" if split == "train" else "warning",
                "unlabelled_split",
                split,
                missing,
                0,
                NONE_ALLOWED,
                (),
                f"{plural(missing, 'text')}, and none has a gold label",
                "Add labels; without them nothing can be learnt from this split, nor scored on it.",
            )
        elif missing:
            yield make_finding(
                "warning",
                "missing_label",
                split,
                missing,
                0,
                NONE_ALLOWED,
                data.rows[~data.labelled],
                f"{missing:,} of {len(data.rows):,} texts have no gold label",
                "Label these rows, or remove them.",
            )


def check_absent_labels(facts: Facts) -> Iterator[Finding]:
    """Tell which labels of train never occur in validation or test: nothing is measured for them there."""
    train, size = facts.splits["train"], len(facts.names)
    shares = train.counts(size) / max(int(train.labelled.sum()), 1)
    for split, data in facts.splits.items():
        if split == "train" or facts.problem_type == "regression" or not data.labelled.any():
            continue
        expected = np.where(data.counts(size) == 0, shares * int(data.labelled.sum()), 0)
        missed, rare = (
            np.flatnonzero(expected >= FEWEST_EXPECTED),
            np.flatnonzero((expected > 0) & (expected < FEWEST_EXPECTED)),
        )
        for severity, absent in (("warning", missed), ("note", rare)):
            if len(absent):
                most = float(expected[absent].max())
                yield make_finding(
                    severity,
                    "absent_label",
                    split,
                    round(most, 1),
                    FEWEST_EXPECTED,
                    f"rule of thumb: {FEWEST_EXPECTED} expected by their share of train",
                    (),
                    f"no {_noun(facts)} {_list(facts.names[at] for at in absent)} in this split; "
                    f"{most:.1f} were to be expected{' of the most frequent' if len(absent) > 1 else ''}",
                    "No score can be given for them; add examples, or read the average over labels with care.",
                )


def check_unseen_labels(facts: Facts) -> Iterator[Finding]:
    """Tell which labels of validation or test never occur in train: no model can give them, all of them are missed."""
    if facts.problem_type == "regression" or not facts.splits["train"].labelled.any():
        return
    known = facts.splits["train"].counts(len(facts.names)) > 0
    for split, data in facts.splits.items():
        strange = ~known[data.members] if split != "train" else np.zeros(0, dtype=bool)
        if not strange.any():
            continue
        places, owners = np.unique(data.members[strange]), np.unique(data.owners[strange])
        close = nearest(facts.names[places[0]], [facts.names[at] for at in np.flatnonzero(known)])
        yield make_finding(
            "warning",
            "unseen_label",
            split,
            len(owners),
            0,
            NONE_ALLOWED,
            data.rows[owners],
            f"{_noun(facts)} {_list(facts.names[at] for at in places)} in {plural(len(owners), 'text')}, and never in "
            "train: counted as missed in every score",
            f"{f'{close} ' if close.startswith('Did') else ''}Correct it, or add examples of it to train.",
        )


def check_empty_tags(facts: Facts) -> Iterator[Finding]:
    """Tell where a "tag" is nearly always an underscore: then another column holds the tags."""
    if facts.task != "token-classification" or facts.tagged or "_" not in facts.names:
        return
    for split, data in facts.splits.items():
        counts = data.counts(len(facts.names))
        share = float(counts[facts.names.index("_")] / max(counts.sum(), 1))
        if share > MOSTLY_EMPTY:
            yield make_finding(
                "warning",
                "empty_tags",
                split,
                round(share, 3),
                MOSTLY_EMPTY,
                "rule of thumb",
                (),
                f"{share:.1%} of the tags are '_', which stands for none",
                "Name the column of tags in data.label_column: this one is likely another.",
            )


def check_rare_labels(facts: Facts) -> Iterator[Finding]:
    """Tell which labels have fewer training examples than the recipe calls enough."""
    data, bound = facts.splits["train"], facts.settings.rare_label
    counts = data.counts(len(facts.names))
    rare = np.flatnonzero((counts < bound) & (counts > 0))  # what train lacks altogether is a finding of its own
    rare = rare[np.argsort(counts[rare], kind="stable")]
    if len(rare) and data.labelled.any() and facts.problem_type != "regression":
        named = _list(f"{facts.names[at]} ({counts[at]})" for at in rare)
        yield make_finding(
            "warning",
            "rare_label",
            "train",
            int(counts[rare[0]]),
            bound,
            "inspection.rare_label",
            data.rows[np.unique(data.owners[np.isin(data.members, rare)])],
            f"{len(rare)} of {len(facts.names)} with fewer than {bound} examples: {named}",
            "Collect more examples of them, merge them with a neighbour, or leave them out.",
        )


def check_imbalance(facts: Facts) -> Iterator[Finding]:
    """Tell what always guessing the most frequent label would score."""
    if facts.problem_type == "regression":
        return
    tagging = facts.task == "token-classification"
    for split, data in facts.splits.items():
        most, total = data.majority
        bound = MOST_MAJORITY if tagging else min(2 / max(len(facts.names), 1), MOST_MAJORITY)
        if total and most / total > bound and facts.problem_type != "multi_label":
            what = "tag" if tagging else "label"
            yield make_finding(
                "warning" if most / total >= ALMOST_ONE_LABEL and not facts.tagged else "note",
                "imbalance",
                split,
                round(most / total, 4),
                round(bound, 4),
                f"rule of thumb: twice an even share, {MOST_MAJORITY:.0%} at most",
                (),
                f"always guessing the most frequent {what} is right in {most / total:.1%} of {total:,} cases; "
                f"{_note_evenness(facts, data)}",
                "Compare scores with this number, read macro F1 or F1 of entities rather than accuracy, "
                "and consider training.class_weights.",
            )


def check_conflicts(facts: Facts) -> Iterator[Finding]:
    """Tell which texts carry different labels in different places; numbers are not compared."""
    if facts.problem_type == "regression":
        return
    known = [data.labelled & (data.characters > 0) for data in facts.splits.values()]
    hashes = np.concatenate([data.hashes[keep] for data, keep in zip(facts.splits.values(), known, strict=True)])
    keys = np.concatenate([data.keys[keep] for data, keep in zip(facts.splits.values(), known, strict=True)])
    disputed = _find_disputed(hashes, keys)
    for (split, data), keep in zip(facts.splits.items(), known, strict=True):
        torn = np.isin(data.hashes, disputed) & keep
        if torn.any():
            texts = len(np.unique(data.hashes[torn]))
            yield make_finding(
                "warning",
                "conflict",
                split,
                int(torn.sum()),
                0,
                NONE_ALLOWED,
                data.rows[torn],
                f"{plural(int(torn.sum()), 'row')} ({plural(texts, 'distinct text')}) with a text that has another "
                "label elsewhere",
                "Decide which label is right: no model can learn both.",
            )


def check_similar_names(facts: Facts) -> Iterator[Finding]:
    """Tell which names of labels are probably two spellings of one."""
    if facts.problem_type == "regression":
        return
    counts = facts.splits["train"].counts(len(facts.names))
    plain = facts.task == "token-classification" and not facts.tagged  # NN and NNS are two tags
    for first, second, how in find_similar_names(facts.names, strict=plain):
        at = [facts.names.index(name) for name in (first, second)]
        data = facts.splits["train"]
        fewer = min(at, key=lambda place: counts[place])
        yield make_finding(
            "warning" if how == "in case and blanks" else "note",
            "similar_names",
            "",
            int(counts[fewer]),
            0,
            "names differ in more",
            data.rows[np.unique(data.owners[data.members == fewer])],
            f"the labels {first!r} ({counts[at[0]]:,} in train) and {second!r} ({counts[at[1]]:,}) differ only {how}",
            "If they mean the same, give them one name: no model can tell them apart.",
        )


def check_long_entities(facts: Facts) -> Iterator[Finding]:
    """Tell which entities have so many words that their end was probably missed."""
    for split, data in facts.splits.items() if facts.tagged else ():
        long = data.spans > LONG_ENTITY
        if long.any():
            yield make_finding(
                "note",
                "long_entity",
                split,
                int(data.spans.max()),
                LONG_ENTITY,
                f"rule of thumb: {LONG_ENTITY} words",
                data.rows[np.unique(data.owners[long])],
                f"{int(long.sum()):,} of {len(long):,} entities have more than {LONG_ENTITY} words, "
                f"the longest {int(data.spans.max()):,}",
                "Look whether the tags go on beyond the end of a name.",
            )


def _find_disputed(hashes: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the hashes of texts with more than one label."""
    order = np.lexsort((keys, hashes))
    hashes, keys = hashes[order], keys[order]
    return np.unique(hashes[1:][(hashes[1:] == hashes[:-1]) & (keys[1:] != keys[:-1])])


def _noun(facts: Facts) -> str:
    return "entity of type" if facts.tagged else "label"


def _list(names: Iterable[str]) -> str:
    """Return names in one line, the first dozen of many."""
    said = list(names)
    rest = f" and {len(said) - MOST_NAMES} more" if len(said) > MOST_NAMES else ""
    return ", ".join(said[:MOST_NAMES]) + rest


def _note_evenness(facts: Facts, data: SplitFacts) -> str:
    """Say how uneven the labels are, as a number of even ones; of entities also the share of the first."""
    counts = data.counts(len(facts.names))
    if not facts.tagged:
        return f"{len(facts.names)} labels, as uneven as {effective_number(counts):.1f} even ones"
    most = int(counts.argmax())
    return (
        f"{len(facts.names)} types of entities, as uneven as {effective_number(counts):.1f} even ones, "
        f"{counts[most] / max(counts.sum(), 1):.1%} of them {facts.names[most]}"
    )
