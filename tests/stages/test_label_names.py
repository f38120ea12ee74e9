import pytest

from ftkit.stages.inspection.label_names import find_similar_names


@pytest.mark.parametrize(
    ("names", "how"),
    [
        (["Sport", "sport"], "in case and blanks"),
        (["money fx", "Money-FX"], "in case and blanks"),
        (["Sport", "sports"], "in a plural s"),
        (["PER", "PERS"], "in a plural s"),
        (["science", "sience"], "in one letter"),
        (["product", "prodact"], "in one letter"),
    ],
    ids=" ".join,
)
def test_two_spellings_are_found(names, how):
    assert list(find_similar_names(names)) == [(*names, how)]


@pytest.mark.parametrize(
    "names",
    [
        ["label_1", "label_2"],
        ["cpi", "cpu"],
        ["C", "C++"],
        ["comp.sys.ibm", "comp.sys.mac"],
        ["PRP", "PRP$"],
        ["version1", "version12"],
        ["", "."],
    ],
    ids=" ".join,
)
def test_other_names_are_no_spellings(names):
    assert list(find_similar_names(names)) == []


def test_of_plain_tags_only_case_and_blanks_count():
    assert list(find_similar_names(["NNP", "NNPS", "VB", "vb"], strict=True)) == [("VB", "vb", "in case and blanks")]
