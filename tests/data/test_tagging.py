"""Tag schemes: found, converted to BIO, checked against seqeval's own reading of the same spans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from ftkit.data.labels.schemes import TagStats, find_scheme, order_tags, to_bio

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
