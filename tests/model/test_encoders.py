from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftkit.errors import ModelError
from ftkit.model.encoders import (
    encoder_fingerprint,
    find_revision,
    load_config,
    load_tokenizer,
    longest_input,
    resolve_encoder,
)
from ftkit.recipe import Head
from ftkit.stages.head.stage import build_model

ARCHITECTURES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]


class TestResolving:
    def test_a_folder_with_a_model_is_itself(self, tiny_encoder_dir):
        assert resolve_encoder(str(tiny_encoder_dir)) == str(tiny_encoder_dir)

    def test_a_run_is_the_model_it_trained(self, tiny_encoder_dir, tmp_path):
        shutil.copytree(tiny_encoder_dir, tmp_path / "run" / "model")
        (tmp_path / "run" / "recipe.toml").touch()

        assert resolve_encoder(str(tmp_path / "run")) == str(tmp_path / "run" / "model")

    def test_a_folder_without_a_model_is_an_error_that_says_what_was_expected(self, tmp_path):
        with pytest.raises(ModelError) as caught:
            resolve_encoder(str(tmp_path))

        assert str(caught.value) == (
            f"{tmp_path}: expected a folder with a model (config.json, model.safetensors), got none. "
            "Name the folder of the model, or a run that was trained."
        )

    def test_any_other_name_is_a_hub_id(self):
        assert resolve_encoder("google/bert_uncased_L-2_H-128_A-2") == "google/bert_uncased_L-2_H-128_A-2"

    @pytest.mark.sample
    @pytest.mark.parametrize("name", ["minilm", "sample:minilm"])
    def test_a_sample_is_its_folder_in_the_cache(self, sample_folder, name):
        assert resolve_encoder(name) == str(sample_folder("minilm"))


class TestFingerprint:
    def test_it_stays_until_a_file_of_the_folder_changes(self, tiny_encoder_dir, tmp_path):
        folder = tmp_path / "encoder"
        shutil.copytree(tiny_encoder_dir, folder)
        before = encoder_fingerprint(str(folder))

        assert encoder_fingerprint(str(folder)) == before
        (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
        assert encoder_fingerprint(str(folder)) != before

    def test_names_differ_without_reaching_the_hub(self):
        names = ["minilm", "bert-base-uncased", "roberta-base"]

        assert len({encoder_fingerprint(name) for name in names}) == len(names)


COMMITS = {"main": "a" * 40, "v1.0": "b" * 40}


class TestRevisions:
    @pytest.fixture
    def hub_cache(self, tiny_encoder_dir, tmp_path, monkeypatch):
        """A cache of the hub with two revisions of one encoder, as huggingface_hub lays it out."""
        home = tmp_path / "hub" / "models--someone--tiny"
        for width, (name, commit) in enumerate(COMMITS.items()):
            (home / "refs").mkdir(parents=True, exist_ok=True)
            (home / "refs" / name).write_text(commit)
            folder = home / "snapshots" / commit
            shutil.copytree(tiny_encoder_dir, folder)
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.1 + width / 10}))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    @pytest.mark.usefixtures("hub_cache")
    @pytest.mark.parametrize(
        ("name", "revision", "dropout"),
        [
            ("someone/tiny", "main", 0.1),
            ("someone/tiny@main", "main", 0.1),
            ("someone/tiny@v1.0", "v1.0", 0.2),
            (f"someone/tiny@{'b' * 40}", "v1.0", 0.2),
        ],
    )
    def test_an_encoder_of_the_hub_is_taken_at_its_revision(self, name, revision, dropout):
        assert find_revision(name) == COMMITS[revision]
        assert load_config(name).hidden_dropout_prob == dropout
        assert len(load_tokenizer(name, words=False)) > 5
        splits = SimpleNamespace(task="text-classification", problem_type="single_label", labels=("no", "yes"))
        model, _, _ = build_model(splits, Head(encoder=name))
        assert model.config.hidden_dropout_prob == dropout

    @pytest.mark.usefixtures("hub_cache")
    def test_a_revision_that_is_not_there_is_an_error(self):
        with pytest.raises(ModelError, match="its configuration can't be loaded"):
            load_config("someone/tiny@v2.0")

    def test_a_folder_has_no_revision_even_with_the_sign_in_its_name(self, tiny_encoder_dir, tmp_path):
        shutil.copytree(tiny_encoder_dir, tmp_path / "tiny@home")

        assert find_revision(str(tmp_path / "tiny@home")) == ""


class TestErrorsOfLoading:
    REMEDY = "Give a sample name (ftkit samples), a folder, or a hub id where the hub can be reached."

    def test_a_hub_id_without_the_hub(self):
        with pytest.raises(ModelError) as caught:
            load_config("bert-base-uncased")

        assert str(caught.value) == (
            "head.encoder 'bert-base-uncased': its configuration can't be loaded: got We couldn't connect to "
            f"'https://huggingface.co' to load the files, and couldn't find them in the cached files. {self.REMEDY}"
        )

    def test_a_tokenizer_of_the_hub_without_the_hub(self):
        with pytest.raises(ModelError, match="'bert-base-uncased': its tokenizer can't be loaded: got We couldn't"):
            load_tokenizer("bert-base-uncased", words=False)

    def test_a_name_that_nothing_can_have(self):
        with pytest.raises(ModelError, match=r"'no such id!': its configuration can't be loaded: got Repo id must use"):
            load_config("no such id!")

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            ('{"broken', "It looks like the config file at '.*' is not a valid JSON file"),
            ("{}", "Unrecognized model in"),
            ('{"model_type": "unheard-of"}', "has model type `unheard-of`"),
            (
                '{"model_type": "x", "auto_map": {"AutoConfig": "code.Config"}}',
                "contains custom code which must be executed",
            ),
        ],
        ids=["damaged", "empty", "unknown architecture", "code of its own"],
    )
    def test_a_configuration_that_is_no_good(self, tmp_path, content, found):
        (tmp_path / "config.json").write_text(content)
        (tmp_path / "code.py").write_text("raise SystemExit('run')")

        with pytest.raises(ModelError, match=rf"its configuration can't be loaded: got .*{found}"):
            load_config(str(tmp_path))

    @pytest.mark.parametrize("content", ['{"broken', "{}", '{"version": "1.0", "added_tokens": [], "model": 3}', ""])
    def test_a_damaged_tokenizer(self, tiny_encoder_dir, tmp_path, content):
        folder = tmp_path / "encoder"
        shutil.copytree(tiny_encoder_dir, folder)
        (folder / "tokenizer.json").write_text(content)

        with pytest.raises(ModelError, match="its tokenizer can't be loaded: got "):
            load_tokenizer(str(folder), words=False)

    def test_a_folder_without_the_files_of_a_tokenizer(self, tiny_encoder_dir, tmp_path):
        shutil.copy(tiny_encoder_dir / "config.json", tmp_path)

        with pytest.raises(ModelError) as caught:
            load_tokenizer(str(tmp_path), words=False)

        assert str(caught.value) == (
            f"{tmp_path}: expected a tokenizer with a vocabulary (tokenizer.json or vocab.txt), got special tokens "
            "alone. Save the encoder's tokenizer beside it."
        )

    def test_a_tokenizer_without_a_padding_token(self, tiny_encoder_dir, tmp_path):
        folder = tmp_path / "encoder"
        shutil.copytree(tiny_encoder_dir, folder)
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": None}))

        with pytest.raises(ModelError) as caught:
            load_tokenizer(str(folder), words=False)

        assert str(caught.value) == (
            f"{folder}: expected a tokenizer with a padding token, got none. Set tokenizer.pad_token and save it again."
        )

    def test_a_slow_tokenizer(self, tiny_encoder_dir, monkeypatch):
        from transformers import AutoTokenizer

        slow = SimpleNamespace(is_fast=False)
        monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: slow)

        with pytest.raises(ModelError) as caught:
            load_tokenizer(str(tiny_encoder_dir), words=False)

        assert str(caught.value) == (
            f"{tiny_encoder_dir}: expected a fast tokenizer (tokenizer.json), got SimpleNamespace. "
            "Convert it with transformers and save it again."
        )


class TestByteLevelTokenizers:
    """In running text a byte-level tokenizer sees a blank before each word; lists of words have none."""

    @pytest.mark.parametrize("kind", ["RobertaTokenizer", "PreTrainedTokenizerFast", "sequence"])
    def test_words_are_tokenized_as_in_running_text_also_after_saving(self, make_byte_level, tmp_path, kind):
        from transformers import AutoTokenizer

        folder = make_byte_level(kind)
        running = AutoTokenizer.from_pretrained(folder).tokenize(" good film")

        loaded = load_tokenizer(str(folder), words=True)
        loaded.save_pretrained(tmp_path / "saved")
        shutil.copy(folder / "config.json", tmp_path / "saved")
        again = load_tokenizer(str(tmp_path / "saved"), words=True)

        assert running == ["Ġgood", "Ġfilm"]
        for tokenizer in (loaded, again):
            encoded = tokenizer([["good", "film"]], is_split_into_words=True, add_special_tokens=False)
            assert tokenizer.convert_ids_to_tokens(encoded["input_ids"][0]) == running
            assert encoded.word_ids(0) == [0, 1]

    @pytest.mark.parametrize("kind", ["RobertaTokenizer", "PreTrainedTokenizerFast", "sequence"])
    def test_what_is_saved_reads_running_text_the_same_way_with_plain_transformers(
        self, make_byte_level, tmp_path, kind
    ):
        from transformers import AutoTokenizer

        folder = make_byte_level(kind)
        load_tokenizer(str(folder), words=True).save_pretrained(tmp_path)
        shutil.copy(folder / "config.json", tmp_path)

        assert AutoTokenizer.from_pretrained(tmp_path).tokenize("good film") == ["Ġgood", "Ġfilm"]

    def test_texts_are_left_as_the_tokenizer_reads_them(self, make_byte_level):
        folder = make_byte_level("RobertaTokenizer")

        assert load_tokenizer(str(folder), words=False).tokenize("good film")[0] != "Ġgood"

    def test_word_pieces_are_not_touched(self, tiny_encoder_dir):
        loaded = load_tokenizer(str(tiny_encoder_dir), words=True)

        assert loaded.backend_tokenizer.normalizer.normalize_str("Good") == "good"
        assert loaded.tokenize("good film") == ["good", "film"]


@pytest.fixture
def make_byte_level(tmp_path):
    """Return a function that saves a small byte-level tokenizer beside a configuration."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, RobertaConfig

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]

    def make(kind: str) -> Path:
        folder = tmp_path / kind
        tokenizer = Tokenizer(models.BPE())
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
        pieces = pre_tokenizers.Split(Regex(r" ?\w+| ?\W+"), "isolated")
        sequence = pre_tokenizers.Sequence([pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        tokenizer.pre_tokenizer = sequence if kind == "sequence" else byte_level
        trainer = trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=special,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        tokenizer.train_from_iterator(["the good film was good"] * 20, trainer)
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
        names = dict(zip(["bos_token", "pad_token", "eos_token", "unk_token", "mask_token"], special, strict=True))
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", **names)
        fast.save_pretrained(folder)
        RobertaConfig(vocab_size=320, pad_token_id=1).save_pretrained(folder)
        if kind == "RobertaTokenizer":
            path = folder / "tokenizer_config.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": kind}))
        return folder

    return make


class TestLongestInput:
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_the_model_takes_just_that_many_tokens(self, make_tiny_encoder, architecture):
        import torch
        from transformers import AutoModel

        folder = str(make_tiny_encoder(architecture))
        limit = longest_input(load_tokenizer(folder, words=False), load_config(folder))

        assert limit == 64
        states = AutoModel.from_pretrained(folder)(input_ids=torch.full((1, limit), 5)).last_hidden_state
        assert states.shape[:2] == (1, limit)

    @pytest.mark.parametrize(
        ("config", "model_max_length", "expected"),
        [
            pytest.param(
                {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1},
                512,
                512,
                id="RoBERTa counts from the padding id",
            ),
            pytest.param(
                {"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1},
                10**30,
                512,
                id="the tokenizer knows no limit",
            ),
            pytest.param(
                {"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0},
                128,
                128,
                id="the tokenizer has a lower limit",
            ),
            pytest.param({"model_type": "t5", "pad_token_id": 0}, 10**30, 1_000_000, id="no limit at all"),
        ],
    )
    def test_it_is_the_lower_of_positions_and_tokenizer(self, config, model_max_length, expected):
        tokenizer = SimpleNamespace(model_max_length=model_max_length)

        assert longest_input(tokenizer, SimpleNamespace(**config)) == expected
