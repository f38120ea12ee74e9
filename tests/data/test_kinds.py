"""The kinds of corpora that tagging and classification libraries are tested with, each read from its path alone."""

from __future__ import annotations

import io
import zipfile

import pytest

from ftkit.data.labels.schemes import tag_type
from ftkit.data.splits import load_splits
from ftkit.recipe import Data

from .conftest import all_rows


def repeat(block: str, count: int = 4, join: str = "") -> str:
    """Repeat a block with a number in it, so that examples differ."""
    return join.join(block.replace("{n}", str(at)) for at in range(count))


def lines(*cells: str, tab: str = "\t") -> str:
    """Return a sentence, a word a line, with a blank line behind it; blanks in the cells become separators."""
    return "".join(cell.replace(" ", tab) + "\n" for cell in cells) + "\n"


HEADER = "WORD\tTAG\nThis\tO\nis\tO\nNew Berlin\tLOC\n"
SPACE_AFTER = lines(
    "It O +", "is O +", "a O +", "German B-LOC -", "- O -", "owned O +", "firm{n} O +", ". O +", tab=" "
)
UD = "# text = Larry Page founded it.\n# relations = 3;3;1;2;founded_by\n" + lines(
    "1 Larry PROPN B-PER _",
    "2 Page PROPN I-PER _",
    "3 founded VERB O _",
    "4 it{n} PRON O SpaceAfter=No",
    "5 . PUNCT O _",
)
UD_WIDE = (
    "# text = They buy.\n1    They{n}   they   PRON   PRP   Case=Nom   2   nsubj   2:nsubj\t_\n"
    "2    buy    buy    VERB   VBP   _          0   root    0:root\t_\n\n"
)
UD_TEN = lines(
    "1 From from ADP IN _ 3 case 3:case _", "2 the the DET DT _ 3 det 3:det _", "3 AP{n} AP PROPN NNP _ 0 root 0:root _"
)
FRAMES = lines(
    "1 AP{n} AP PROPN NNP _ 2 obl 2:obl _ _ _ ARG2", "2 comes come VERB VBZ _ 0 root 0:root _ _ come.03 V"
) + lines("1 What what PRON WP _ 0 root 0:root _ _ _ _ _", "2 if{n} if SCONJ IN _ 1 mark 1:mark _ _ _ _ _")
MIXED = (
    lines("From _ _ O", "Arlésienne _ _ B-Person", "to{n} _ _ O", "— _ _ O", "fair _ _ S-Occasion", tab=" ") + "\n\n"
)
GERMEVAL = "#\thttp://de.wikipedia.org/wiki/Bern\t[2009-08-13]\n" + lines(
    "1 1980 O O", "2 kam{n} O O", '3 " O O', "4 Crown B-OTH O", "5 Bern I-OTH B-LOC"
)
PLAIN_TAGS = "-DOCSTART-\n\n" + repeat(lines("Rundschreiben{n} O", "RAB PARTA", "1/2010 YEAR", "8. MISC", tab=" "), 6)
BOUNDARIES = (
    "-DOCSTART- O\n\n" + repeat(lines("this{n} O", "is O", "New B-LOC", "York I-LOC", tab=" "), 6) + "-DOCSTART-\n"
)
ONTONOTES = "#begin document (bc/x/00/x_{n}); part 000\n" + lines(
    "bc/x/00/x 0 0 Ada NNP (TOP(NP* - - - Sp (PERSON*) * -",
    "bc/x/00/x 0 1 left{n} VBD (VP*)) - - - Sp * * -",
    tab="   ",
)
SPANS = '{"id": 101319, "data": "This is New Berlin {n}.", "label": [[8, 18, "LOC"]]}\n'
TAGGED, TEXTS = "token-classification", "text-classification"


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


KINDS: dict[str, tuple[dict[str, str | bytes], str, str, set[str], int]] = {
    # name: files, task, problem type, labels without their prefix, examples
    "news with mark-up": (
        {"train.txt": repeat("__label__World Wall St. <b>{n}</b> \\N £9\n__label__Sci/Tech Chips {n}\n", 5)},
        TEXTS, "single_label", {"World", "Sci/Tech"}, 10,
    ),
    "header, words with blanks": (
        {"eng.train": HEADER, "eng.testa": HEADER.replace("New", "Old"), "eng.testb": HEADER.replace("New", "East")},
        TAGGED, "single_label", {"LOC", "O"}, 3,
    ),
    "whether a blank follows": ({"eng.train": repeat(SPACE_AFTER)}, TAGGED, "single_label", {"LOC", "O"}, 4),
    "five columns called CoNLL-U": ({"train.conllu": repeat(UD)}, TAGGED, "single_label", {"PER", "O"}, 4),
    "named columns": (
        {"train.conllup": "# global.columns = id form upos ner misc\n" + repeat(UD)},
        TAGGED, "single_label", {"PER", "O"}, 4,
    ),
    "CoNLL-U laid out with blanks": ({"ud.conllu": repeat(UD_WIDE)}, TAGGED, "single_label", {"PRON", "VERB"}, 4),
    "two schemes and columns of nothing": (
        {"eng.train": repeat(MIXED)}, TAGGED, "single_label", {"Person", "Occasion", "O"}, 4,
    ),
    "tags that train never has": (
        {"eng.train": repeat(MIXED), "eng.testa": repeat(MIXED.replace("Person", "Mood")), "eng.testb": repeat(MIXED)},
        TAGGED, "single_label", {"Person", "Mood", "Occasion", "O"}, 12,
    ),
    "GermEval, one file": ({"NER-de-dev.tsv": repeat(GERMEVAL)}, TAGGED, "single_label", {"OTH", "O"}, 4),
    "GermEval, a folder": (
        {"NER-de-train.tsv": repeat(GERMEVAL), "NER-de-test.tsv": GERMEVAL.replace("{n}", "9")},
        TAGGED, "single_label", {"OTH", "O"}, 5,
    ),
    "long reviews": (
        {"train.txt": repeat("__label__POSITIVE Fine {n}. <br /><br />\n__label__NEGATIVE Bad {n}.\n", 5)},
        TEXTS, "single_label", {"POSITIVE", "NEGATIVE"}, 10,
    ),
    "labels with underscores": (
        {"train.txt": repeat("__label__POSITIVE_Sentiment Fine {n}.\n__label__NEGATIVE_Sentiment Bad {n}.\n", 5)},
        TEXTS, "single_label", {"POSITIVE_Sentiment", "NEGATIVE_Sentiment"}, 10,
    ),
    "spans of characters": ({"train.jsonl": repeat(SPANS)}, TAGGED, "single_label", {"LOC", "O"}, 4),
    "several labels": (
        {"train.txt": repeat("__label__tv tv {n}\n__label__apple __label__tv apple tv {n}\n__label__guitar g{n}\n")},
        TEXTS, "multi_label", {"tv", "apple", "guitar"}, 12,
    ),
    "several labels or none": (
        {"train.txt": repeat("__label__tv tv {n}\n__label__apple __label__tv {n}\n none {n}\n__label__apple a{n}\n")},
        TEXTS, "multi_label", {"tv", "apple"}, 16,
    ),
    "numbers": (
        {"train.txt": repeat("__label__0.9{n} 😂 a  b \\n &amp; {n}\n__label__0.1{n} c {n}\n", 9)},
        TEXTS, "regression", set(), 18,
    ),
    "tags without prefixes": ({"spans.txt": PLAIN_TAGS}, TAGGED, "single_label", {"O", "PARTA", "YEAR", "MISC"}, 6),
    "entities": (
        {"train.txt": repeat(lines("this{n} O", "is O", "New B-LOC", "York I-LOC", tab=" "), 9)},
        TAGGED, "single_label", {"LOC", "O"}, 9,
    ),
    "documents": ({"train.txt": BOUNDARIES}, TAGGED, "single_label", {"LOC", "O"}, 6),
    "two labels on some lines": (
        {"train.txt": repeat("__label__Berlin __label__pizza this is {n}\n__label__pizza pizza {n}\n", 6)},
        TEXTS, "multi_label", {"Berlin", "pizza"}, 12,
    ),
    "one label a line": (
        {"train.txt": repeat("__label__New_York this is New York {n}\n__label__Berlin this is Berlin {n}\n", 6)},
        TEXTS, "single_label", {"New_York", "Berlin"}, 12,
    ),
    "CoNLL-U": ({"en_ewt-ud-train.conllu": repeat(UD_TEN)}, TAGGED, "single_label", {"ADP", "DET", "PROPN"}, 4),
    "CoNLL-U with frames": (
        {"en-up-train.conllu": repeat(FRAMES)}, TAGGED, "single_label", {"PROPN", "VERB", "PRON", "SCONJ"}, 8,
    ),
    "OntoNotes in an archive": (
        {"tiny.zip": zipped({
            "conll-2012/v4/data/train/data/english/bc/x/00/x.v4_gold_conll": repeat(ONTONOTES),
            "conll-2012/v4/data/development/data/english/bc/x/00/y.v4_gold_conll": repeat(ONTONOTES),
        })},
        TAGGED, "single_label", {"PERSON", "O"}, 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_read_for_what_it_is(tmp_path, kind):
    files, task, problem_type, labels, count = KINDS[kind]
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    splits = load_splits(Data(source=str(folder)))
    assert (splits.task, splits.problem_type) == (task, problem_type)
    assert {tag_type(name) if splits.tag_scheme else name for name in splits.labels} == labels
    assert len(all_rows(splits)) == count


def test_frames_are_read_by_their_column(tmp_path):
    (tmp_path / "x.conllu").write_text(repeat(FRAMES))
    assert load_splits(Data(source=str(tmp_path / "x.conllu"), label_column="11")).labels == ("_", "come.03")
