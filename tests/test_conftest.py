"""The tiny encoders stand in for real ones, so they must load and compute like them."""

from __future__ import annotations

import pytest

ARCHITECTURES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_tiny_encoder_loads_from_its_folder_and_computes_finite_states(architecture, make_tiny_encoder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = make_tiny_encoder(architecture)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(["the film was great", "oil " * 100], padding=True, truncation=True, return_tensors="pt")
    states = model(**batch).last_hidden_state
    assert model.config.model_type == architecture
    assert states.shape == (2, 64, 16)
    assert torch.isfinite(states).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_tiny_tokenizer_survives_its_folder_with_words_and_special_tokens(architecture, make_tiny_encoder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(make_tiny_encoder(architecture))
    encoded = tokenizer([["Playing", "zq", "日"]], is_split_into_words=True)
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == 64
    assert encoded.tokens(0) == ["[CLS]", "play", "##ing", "z", "##q", "[UNK]", "[SEP]"]
    assert encoded.word_ids(0) == [None, 0, 0, 1, 1, 2, None]


def test_the_tiny_tokenizer_marks_the_second_text_of_a_pair(tiny_tokenizer):
    assert tiny_tokenizer("a film", "the story")["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
