"""Tag schemes: found, converted to BIO, checked against seqeval's own reading of the same spans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from ftkit.data.labels.schemes import TagStats, find_scheme, order_tags, to_bio
from ftkit.data.splits import load_splits
from ftkit.recipe import Data

from .conftest import all_rows

SEQEVAL = {"IOB1": IOB1, "BIO": IOB2, "BIOES": IOBES, "BILOU": BILOU}


def write_spans(spans: list[tuple[str, int]], scheme: str) -> list[str]:
    """Write (type or "", length) blocks in a scheme: an independent, naive second implementation."""
    first, inside, last, single = {"BIO": "BIII", "IOB1": "IIII", "BIOES": "BIES", "BILOU": "BILU"}[scheme]
    tags: list[str] = []
    before = ""
    for kind, length in spans:
        if not kind:
            tags += ["O"] * length
        elif length == 1:
            tags.append(f"{single if scheme != 'BIO' else 'B'}-{kind}")
        else:
            tags += [f"{first}-{kind}", *[f"{inside}-{kind}"] * (length - 2), f"{last}-{kind}"]
        if scheme == "IOB1" and kind and kind == before:
            tags[-length] = f"B-{kind}"
        before = kind
    return tags


blocks = st.lists(st.tuples(st.sampled_from(["", "per", "loc", "x-y"]), st.integers(1, 4)), max_size=8)


@given(blocks, st.sampled_from(["IOB1", "BIO", "BIOES", "BILOU"]))
def test_every_scheme_converts_to_the_same_bio(spans, scheme):
    assert to_bio(write_spans(spans, scheme)) == write_spans(spans, "BIO")


@given(blocks, st.sampled_from(["IOB1", "BIO", "BIOES", "BILOU"]))
def test_seqeval_sees_the_same_entities_before_and_after(spans, scheme):
    tags = write_spans(spans, scheme)
    before = [entity.to_tuple()[1:] for entity in Entities([tags], SEQEVAL[scheme]).entities[0]]
    after = [entity.to_tuple()[1:] for entity in Entities([to_bio(tags)], IOB2).entities[0]]
    assert after == before


@given(st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"]), max_size=12))
def test_broken_bio_is_mended_as_conlleval_reads_it(tags):
    mended = to_bio(tags)
    assert get_entities(mended) == get_entities(tags)
    assert to_bio(mended) == mended
    assert all(tag[0] != "I" or (index and mended[index - 1][2:] == tag[2:]) for index, tag in enumerate(mended))


@given(st.lists(blocks, min_size=1, max_size=5), st.sampled_from(["BIO", "BIOES", "BILOU"]))
def test_the_scheme_is_never_called_broken_when_it_is_whole(sentences, scheme):
    stats = TagStats()
    for line, spans in enumerate(sentences):
        stats.add(write_spans(spans, scheme), line)
    find_scheme(stats, str)
    if scheme != "BIO":
        assert (stats.unclosed, stats.loose_starts) == (0, 0)


SENTENCES = [[("per", 2), ("per", 1), ("", 2)], [("loc", 3), ("", 1), ("loc", 1)], [("", 3)], [("per", 1), ("", 1)]] * 3


@pytest.mark.parametrize("scheme", ["IOB1", "BIO", "BIOES", "BILOU"])
@pytest.mark.parametrize("between", [" ", "\t"])
def test_a_file_in_any_scheme_gives_bio(load, scheme, between):
    lines = []
    for spans in SENTENCES:
        lines += [f"w{index}{between}{tag}" for index, tag in enumerate(write_spans(spans, scheme))] + [""]
    splits = load("x.txt", "\n".join(lines))
    assert (splits.tag_scheme, splits.labels) == ("BIO", ("O", "B-loc", "I-loc", "B-per", "I-per"))
    read = [[splits.labels[tag] for tag in row["tags"]] for row in all_rows(splits)]
    assert read == [write_spans(spans, "BIO") for spans in SENTENCES]
    assert any(f"in the scheme {scheme}" in told for told in splits.decisions)


def test_docstart_comments_blank_lines_of_tabs_and_hashtags(load):
    sentence = "# id 7 of many\nRome\tB-loc\n#tag\tO\n\t\n# text = It rains\nIt\tO\nrains\tO\n \n"
    splits = load("x.conll", "-DOCSTART-\tO\n\n" + sentence * 4)
    rows = all_rows(splits)
    assert [row["words"] for row in rows] == [["Rome", "#tag"], ["It", "rains"]] * 4
    assert any(told.startswith("1 -DOCSTART- line(s) skipped") for told in splits.decisions)
    assert any(told.startswith("8 comment line(s) skipped") for told in splits.decisions)


@pytest.mark.parametrize(
    ("name", "mark", "word"),
    [
        ("x.conll", "-DOCSTART-\tO\n\n", "w{0}\tB-loc\nfell\tO\n\n"),
        ("x.conllu", "# newdoc id = {0}\n", "1\tw{0}\t_\tNOUN\t_\t_\t0\tx\t_\t_\n2\tis\t_\tVERB\t_\t_\t1\tx\t_\t_\n\n"),
    ],
)
def test_documents_are_kept_whole_where_there_are_enough(load, name, mark, word):
    lines = "".join(mark.format(at) + "".join(word.format(f"{at}.{more}") for more in range(5)) for at in range(20))
    splits = load(name, lines)
    assert any(told.startswith("20 lines") and "begin documents" in told for told in splits.decisions)
    sides = [{row["group"] for row in data} for data in splits.datasets.values()]
    assert len(set.union(*sides)) == sum(map(len, sides)) == 20
    few = load(f"few-{name}", lines[: len(lines) // 4])
    assert all("group" not in data.column_names for data in few.datasets.values())


def test_documents_of_given_splits_are_not_taken_for_each_other(load_folder):
    lines = "".join(f"-DOCSTART- O\n\nw{at} B-loc\nfell O\n\n" for at in range(12))
    splits = load_folder({f"{split}.txt": lines.replace("w", split) for split in ("train", "valid", "test")})
    assert len({row["group"] for row in all_rows(splits)}) == 36


def test_any_column_can_be_words_or_tags(load):
    lines = "1 NN Rome NP B-loc\n2 VB is VP O\n\n1 PR It NP O\n2 VB rains VP O\n\n" * 4
    ner = load("x.conll", lines, text_column="2")
    assert (all_rows(ner)[0]["words"], ner.labels) == (["Rome", "is"], ("O", "B-loc", "I-loc"))
    pos = load("y.conll", lines, text_column="2", label_column="1")
    assert (pos.labels, pos.tag_scheme) == (("NN", "PR", "VB"), "")


def test_a_column_that_numbers_the_words_is_no_word(load):
    splits = load("x.conll", "1 Rome B-loc\n2 is O\n\n1 It O\n2 rains O\n\n" * 4)
    assert all_rows(splits)[0]["words"] == ["Rome", "is"]


def test_conllu_skips_ranges_and_empty_nodes_and_takes_another_column(tiny, load):
    content = (tiny / "pos.conllu").read_text(encoding="utf-8")
    splits = load("x.conllu", content)
    assert all_rows(splits)[1]["words"] == ["Vamos", "nos", "a", "el", "mar", "."]
    assert any(told.startswith("3 multiword range(s) and empty node(s) skipped") for told in splits.decisions)
    lemmas = load("y.conllu", content, label_column="lemma")
    assert "cat" in lemmas.labels


def test_a_test_file_of_words_alone_is_unlabelled(load_folder):
    train = "Rome B-loc\nis O\n\nIt O\nrains O\n\n" * 4
    splits = load_folder({"train.conll": train, "test.conll": "Oslo\ntoo\n\nBonn\n"})
    assert splits.labelled["test"] is False
    assert splits.datasets["test"][:] == {"row": [0, 1], "words": [["Oslo", "too"], ["Bonn"]], "tags": [[-1, -1], [-1]]}


def test_loose_i_tags_in_bio_are_mended_and_said(load):
    splits = load("x.conll", "Rome B-loc\nis O\n\nNew I-loc\nYork I-loc\n\n" + "Ada B-loc\nsat O\n\n" * 4)
    assert [splits.labels[tag] for tag in all_rows(splits)[1]["tags"]] == ["B-loc", "I-loc"]
    told = "1 I tag(s) that continued no entity made B (first: x.conll, line 4, word 1)."
    assert told in splits.decisions


def test_tags_are_ordered_with_both_parts_of_each_type():
    assert order_tags({"I-x", "B-a", "O"}, bio=True) == ("O", "B-a", "I-a", "B-x", "I-x")
    assert order_tags({"VERB", "NOUN"}, bio=False) == ("NOUN", "VERB")


@pytest.mark.parametrize(
    "lines",
    [
        ["Oslo U-loc", "", "Bonn S-loc", "", "Kiel B-loc", "", "New B-loc", "York L-loc"],
        ["Ada B-per", "L. I-per", "won O", "", "Oslo U-loc", "", "New B-loc", "York I-loc"],
        ["one B-x", "two O", "", "Prom S-y", "", "a B-x", "b I-x", "", "c B-x"],
    ],
    ids=["BILOU and BIOES", "BIO and BILOU", "BIO and one S"],
)
def test_tags_of_several_schemes_are_read_as_what_each_can_mean(load, lines):
    splits = load("x.conll", "\n".join([*lines, ""]))
    read = [[splits.labels[tag] for tag in row["tags"]] for row in all_rows(splits)]
    given = [[line.split()[1] for line in block.split("\n")] for block in "\n".join(lines).split("\n\n")]
    assert read == [to_bio(tags) for tags in given]
    assert any("entity tags of several schemes" in told for told in splits.decisions)
    assert [repair.check for repair in splits.repairs] == ["tags_mended"]


SPACE_AFTER = "It O +\nis O +\nGerman B-LOC -\n- O -\nowned O +\n. O +\n\nNo O +\nBern B-LOC -\n! O +\n\nOslo B-LOC +\n"


def test_a_column_of_blanks_that_follow_is_no_tag(load):
    splits = load("x.conll", SPACE_AFTER)
    assert splits.labels == ("O", "B-LOC", "I-LOC")
    assert all_rows(splits)[0]["words"] == ["It", "is", "German", "-", "owned", "."]


def test_words_with_blanks_are_kept_where_a_header_names_the_columns(load):
    splits = load("x.tsv", "WORD\tTAG\nThis\tO\nis\tO\nNew Berlin\tLOC\n\nThat\tO\nBern\tLOC\n\nKiel\tLOC\n")
    assert all_rows(splits)[0]["words"] == ["This", "is", "New Berlin"]
    assert splits.labels == ("LOC", "O")


def test_germevals_outer_entities_are_taken_and_the_inner_ones_by_their_column(tiny):
    outer = load_splits(Data(source=str(tiny / "germeval.tsv")))
    assert outer.labels == ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
    assert all_rows(outer)[0]["words"] == ["Die", "Universität", "Bern", "feiert", "."]
    inner = load_splits(Data(source=str(tiny / "germeval.tsv"), label_column="3"))
    assert [inner.labels[tag] for tag in all_rows(inner)[0]["tags"]] == ["O", "O", "B-LOC", "O", "O"]


CONLLU = (
    "1\tBooks\tbook\tNOUN\tNNS\tNumber=Plur\t2\tnsubj\t2:nsubj\tNER=B-X{more}\n"
    "2\tsell\tsell\tVERB\tVBP\tNumber=Plur|Person=3\t0\troot\t0:root\t_{more}\n\n"
)
CONLLUP = (
    "# global.columns = ID FORM UPOS NER\n"
    "1\tRome\tPROPN\tB-LOC\n2\tis\tAUX\tO\n\n1\tNo\tINTJ\tO\n\n1\tBern\tPROPN\tB-LOC\n\n"
)


@pytest.mark.parametrize(
    ("column", "tags"),
    [
        ("", ["NOUN", "VERB"]),
        ("xpos", ["NNS", "VBP"]),
        ("feats:Person", ["_", "3"]),
        ("misc:NER", ["B-X", "O"]),
        ("10", ["_", "sell.01"]),
    ],
)
def test_any_column_and_any_key_of_conllu_can_be_the_tags(load, column, tags):
    content = CONLLU.replace("{more}", "\t_", 1).replace("{more}", "\tsell.01") * 4
    splits = load("x.conllu", content, label_column=column)
    assert [splits.labels[tag] for tag in all_rows(splits)[0]["tags"]] == tags


def test_conllu_that_was_laid_out_with_blanks_is_read(load):
    content = CONLLU.replace("{more}", "").replace("\t", "    ") * 4
    assert load("x.conllu", content).labels == ("NOUN", "VERB")


def test_of_conllu_and_conllup_the_one_that_names_its_columns_is_read(load_folder):
    splits = load_folder({"train.conllup": CONLLUP, "train.conllu": CONLLU.replace("{more}", "") * 3})
    assert splits.labels == ("O", "B-LOC", "I-LOC")


def test_an_entity_type_may_be_called_o(load):
    splits = load("x.conll", "Rome B-O\nis O\n\nBern B-O\n\nno O\nOslo B-x\n")
    assert splits.labels == ("O", "B-O", "I-O", "B-x", "I-x")
