"""The checks that need a frozen encoder: each gives findings on embedded splits; add a function and its row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ftkit.data.alike import fold_texts
from ftkit.frozen.probes import judge_out_of_fold, make_folds
from ftkit.stages.findings import Finding, make_finding
from ftkit.stages.inspection.curve import describe_curve
from ftkit.stages.inspection.embedding import NEAREST, Embedded
from ftkit.stages.inspection.neighbours import find_similar
from ftkit.stages.inspection.suspects import ProbeResults
from ftkit.words import plural

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["ENCODER_CHECKS", "run_encoder_checks"]

Check: TypeAlias = Callable[[Embedded, ProbeResults], Iterable[Finding]]

SEED = 13
COSINE, SHARE = 0.9, 0.8  # of texts that are nearly the same
MANY_SIMILAR = 0.05
MANY_SUSPECTS = 0.01
FAR = 8.0  # robust standard deviations from the usual distance to the nearest texts
DRIFT, DRIFT_TEXTS, FEWEST_TEXTS = 0.65, 2000, 50
UNKNOWN, UNREADABLE, UNKNOWN_ROW = 0.01, 0.5, 0.2
FERTILITY, FERTILITY_TEXTS = 2.5, 500


def run_encoder_checks(embedded: Embedded, judged: ProbeResults) -> list[Finding]:
    """Run all checks of embedded splits."""
    return [finding for check in ENCODER_CHECKS for finding in check(embedded, judged)]


def check_suspects(embedded: Embedded, judged: ProbeResults) -> Iterator[Finding]:
    """Tell how many labels are likely wrong, or why nobody can tell."""
    if judged.withheld:
        yield make_finding(
            "note",
            "suspects_withheld",
            "",
            0,
            0,
            "better than chance by the interval",
            (),
            f"no label is called suspect: {judged.withheld}",
            "Choose an encoder that knows the language and kind of text; then suspects are worth a look.",
        )
    for split, part in judged.suspects.groupby("split", sort=False):
        number, size = len(part), len(embedded.splits.datasets[str(split)])
        what = "sentences have a tag" if embedded.tagging else "texts have a label"
        yield make_finding(
            "warning" if number > MANY_SUSPECTS * size else "note",
            "suspect_label",
            str(split),
            number,
            round(MANY_SUSPECTS * size, 1),
            "rule of thumb: 1 %; ten much-used test sets have 3.3 % on the average "
            "(Northcutt, Athalye and Mueller, 2021)",
            part["row"].tolist(),
            f"{number:,} of {size:,} {what} that is likely wrong, in the eyes of probes that have not seen it",
            "Review them below, or read inspection/suspects.csv, the most suspect first.",
        )


def check_more_labels(_: Embedded, judged: ProbeResults) -> Iterable[Finding]:
    """Tell which score is likely with more labels."""
    return [] if judged.withheld else describe_curve(judged.curve)


def check_similar(embedded: Embedded, _: ProbeResults) -> Iterator[Finding]:
    """Tell which texts are nearly the same as another: in other words, or with a word more or less."""
    units, names = embedded.units, list(embedded.units)
    folded = {split: fold_texts(embedded.texts[split]) for split in names}
    for place, split in enumerate(names):
        for source in names[: place + 1]:
            same = source == split
            pairs = find_similar(
                units[split],
                units[source],
                embedded.texts[split],
                embedded.texts[source],
                cosine=COSINE,
                share=SHARE,
                same=same,
            )
            kept = [at for at, other, _ in pairs if folded[split][at] != folded[source][other]]
            found = np.unique(np.array(kept, dtype=np.int64))
            if not len(found):
                continue
            size = len(units[split])
            bound = round(MANY_SIMILAR * size, 1) if same else 0
            serious = len(found) > bound and (same or source == "train")
            yield make_finding(
                "warning" if serious else "note",
                "similar_text" if same else "similar_leak",
                split,
                len(found),
                bound,
                "rule of thumb: 5 %" if same else "a score on texts seen in training is too good",
                embedded.rows(split)[found],
                f"{len(found):,} of {size:,} texts are nearly the same as "
                f"{'an earlier one' if same else f'one of {source}'} "
                f"(cosine of {COSINE:g} or more, {SHARE:.0%} of the words in common)",
                "Keep one of each, or keep all of one group in the same split.",
            )


def check_outliers(embedded: Embedded, _: ProbeResults) -> Iterator[Finding]:
    """Tell which texts are far from all training texts."""
    from scipy.stats import median_abs_deviation

    known = embedded.units["train"]
    if len(known) <= 10 * NEAREST:
        return
    for split, (_places, cosines) in embedded.nearest.items():
        apart = 1 - cosines.mean(axis=1)
        middle = float(np.median(apart))
        spread = float(median_abs_deviation(apart, scale="normal")) or 1e-6
        far = np.flatnonzero(apart > middle + FAR * spread)
        if len(far):
            far = far[np.argsort(-apart[far], kind="stable")]
            yield make_finding(
                "note",
                "outlier",
                split,
                round(float(apart[far[0]]), 4),
                round(middle + FAR * spread, 4),
                f"rule of thumb: {FAR:g} robust standard deviations above the median",
                embedded.rows(split)[far],
                f"{plural(len(far), 'text')} far from all training texts, the farthest first",
                "Look whether they belong here: another language, a broken text, a topic of its own.",
            )


def check_drift(embedded: Embedded, _: ProbeResults) -> Iterator[Finding]:
    """Tell whether a classifier knows a split from train (Rabanser et al., "Failing Loudly", 2019)."""
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(SEED)
    for split, vectors in embedded.vectors.items():
        size = min(len(vectors), len(embedded.vectors["train"]), DRIFT_TEXTS)
        if split == "train" or size < FEWEST_TEXTS:
            continue
        parts = [
            part[generator.choice(len(part), size, replace=False)] for part in (embedded.vectors["train"], vectors)
        ]
        marks = np.repeat([0, 1], size)
        folds = make_folds(marks, np.arange(2 * size), folds=5, seed=SEED)
        told = judge_out_of_fold(np.concatenate(parts), marks, folds, problem_type="single_label", classes=2)[:, 1]
        area = float(roc_auc_score(marks, told))
        if area - 1.96 * _area_error(area, size) > DRIFT:
            yield make_finding(
                "warning",
                "drift",
                split,
                round(area, 4),
                DRIFT,
                "rule of thumb; 0.5 is no difference at all",
                (),
                f"a linear classifier tells {split} from train with an area under the curve of {area:.2f}",
                "The split is of another kind than train (time, source, topic): its score is about texts like these.",
            )


def _area_error(area: float, size: int) -> float:
    """Return the standard error of an area under the curve (Hanley and McNeil, 1982) with `size` cases of each kind."""
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    varied = area * (1 - area) + (size - 1) * (first + second - 2 * area**2)
    return float(np.sqrt(max(varied, 0.0)) / size)


def check_unknown(embedded: Embedded, _: ProbeResults) -> Iterator[Finding]:
    """Tell where the tokenizer meets signs that it doesn't know."""
    unknown = embedded.encoded.tokenizer.unk_token_id
    for split, rows in embedded.encoded.datasets.items():
        if unknown is None or not len(rows):
            continue
        share = _unknown_share(rows, unknown, len(embedded.splits.datasets[split]))
        mean, bad = float(share.mean()), np.flatnonzero(share > UNKNOWN_ROW)
        if mean > UNKNOWN or len(bad):
            yield make_finding(
                "blocker" if mean >= UNREADABLE else "warning" if mean > UNKNOWN else "note",
                "unknown_pieces",
                split,
                round(mean, 4),
                UNREADABLE if mean >= UNREADABLE else UNKNOWN,
                "rule of thumb",
                embedded.rows(split)[bad],
                f"the tokenizer doesn't know {mean:.2%} of the pieces; "
                f"in {plural(len(bad), 'text')} more than {UNKNOWN_ROW:.0%}",
                "Choose an encoder made for this language and script, or mend these texts.",
            )


def _unknown_share(rows: Dataset, unknown: int, texts: int) -> npt.NDArray[np.float64]:
    """Return (N,) share of unknown pieces of each text."""
    counts, totals = np.zeros(texts), np.zeros(texts)
    for table in rows.with_format("arrow").iter(batch_size=2000):
        ids = table["input_ids"].combine_chunks()
        owners = np.repeat(np.asarray(table["text"]), np.asarray(ids.value_lengths()))
        flat = ids.flatten().to_numpy(zero_copy_only=False)
        counts += np.bincount(owners, weights=flat == unknown, minlength=texts)
        totals += np.bincount(owners, minlength=texts)
    return np.asarray(counts / np.maximum(totals, 1))


def check_fertility(embedded: Embedded, _: ProbeResults) -> Iterator[Finding]:
    """Tell where a word becomes many pieces (fertility: Rust et al., "How Good is Your Tokenizer?", 2021)."""
    tokenizer = embedded.encoded.tokenizer
    for split, texts in embedded.texts.items():
        some = texts[:: max(1, len(texts) // FERTILITY_TEXTS)]
        encoded = tokenizer(some, add_special_tokens=False, truncation=True, max_length=embedded.encoded.max_length)
        pieces = sum(len(ids) for ids in encoded["input_ids"])
        words = sum(len(set(encoded.word_ids(at))) for at in range(len(some)))
        fertility = pieces / max(words, 1)
        if fertility > FERTILITY:
            yield make_finding(
                "warning",
                "fertility",
                split,
                round(fertility, 3),
                FERTILITY,
                "a tokenizer made for a language makes 1.1 to 1.9 pieces of a word (Rust et al., 2021)",
                (),
                f"a word becomes {fertility:.2f} pieces: the tokenizer was made for other texts",
                "Choose an encoder made for this language; training is slower and worse with this one.",
            )


def check_sample(embedded: Embedded, _: ProbeResults) -> Iterator[Finding]:
    """Tell of which splits only a sample was looked at."""
    for split, whole in embedded.whole.items():
        seen = len(embedded.splits.datasets[split])
        if seen < whole:
            yield make_finding(
                "note",
                "sampled",
                split,
                seen,
                whole,
                "inspection.encoded_texts",
                (),
                f"{seen:,} of {whole:,} texts were looked at through the encoder, a seeded sample",
                "Raise inspection.encoded_texts to look at all of them; it takes longer.",
            )


ENCODER_CHECKS: tuple[Check, ...] = (
    check_more_labels,
    check_unknown,
    check_fertility,
    check_suspects,
    check_similar,
    check_drift,
    check_outliers,
    check_sample,
)
