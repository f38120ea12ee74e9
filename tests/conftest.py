"""Shared fixtures: tiny random encoders that need no network, an empty cache, and the real samples."""

from __future__ import annotations

import os

# Before any library reads them: tests reach no hub and open no window.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side

import random
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# a busy or slow machine is no error
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

TINY = Path(__file__).parents[1] / "data" / "tiny"
QUICK = {
    "epochs": 2.0,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "precision": "fp32",
    "threads": 1,
    "keep": "best",
    "device": "cpu",
}

SEED = 13
MAX_LENGTH = 64
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = [
    "the", "a", "of", "in", "to", "and", "is", "was", "not", "very", "good", "bad", "great", "poor", "film",
    "story", "bank", "company", "shares", "oil", "wheat", "trade", "profit", "market", "price", "rain", "sun",
    "london", "paris", "apple", "google", "visit", "play", "##ing", "##ed", "##s", "##er",
]  # fmt: skip
# Single characters, so that every ASCII word is made of known pieces and anything else is [UNK].
PIECES = (*string.ascii_lowercase, *string.digits, *string.punctuation)
TAILS = tuple(f"##{character}" for character in string.ascii_lowercase + string.digits)
VOCABULARY = tuple(dict.fromkeys((*SPECIAL, *PIECES, *TAILS, *WORDS)))

COMMON = {"vocab_size": len(VOCABULARY), "pad_token_id": 0}
WIDE = COMMON | {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": MAX_LENGTH,
}
SPECIAL_IDS = {"bos_token_id": 2, "eos_token_id": 3}

# architecture: configuration class, its arguments, and whether the model tells the two texts of a pair apart
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "bert": ("BertConfig", WIDE, True),
    "distilbert": (
        "DistilBertConfig",
        COMMON | {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": MAX_LENGTH},
        False,
    ),
    # RoBERTa counts positions from pad_token_id + 1
    "roberta": ("RobertaConfig", WIDE | SPECIAL_IDS | {"max_position_embeddings": MAX_LENGTH + 1}, False),
    "electra": ("ElectraConfig", WIDE | {"embedding_size": 8}, True),
    "deberta-v2": (
        "DebertaV2Config",
        WIDE
        | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8, "type_vocab_size": 0},
        False,
    ),
    "modernbert": ("ModernBertConfig", WIDE | SPECIAL_IDS | {"cls_token_id": 2, "sep_token_id": 3}, False),
}


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Start every test from the same random state, without importing torch for it."""
    random.seed(SEED)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(SEED)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)


@pytest.fixture(autouse=True, scope="session")
def quick_and_alone_on_a_core() -> Iterator[None]:
    """Compute on one core, since tests run side by side, and time the first pass of a head for a moment only.

    What that tells is an estimate, and hundreds of heads are made.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ftkit.stages.head.first_pass.TIMED", 0.01)
        patch.setattr("ftkit.speed.precision.count_cores", lambda: 1)
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FTKIT_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def make_tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the folder of a tiny random encoder of an architecture, with its tokenizer."""
    made: dict[str, Path] = {}

    def make(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = save_tiny_encoder(architecture, tmp_path_factory.mktemp(architecture))
        return made[architecture]

    return make


@pytest.fixture(scope="session")
def tiny_encoder_dir(make_tiny_encoder: Callable[[str], Path]) -> Path:
    """Folder of a BERT with 2 layers, 16 wide."""
    return make_tiny_encoder("bert")


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_encoder_dir: Path) -> Any:
    """The WordPiece tokenizer of the tiny encoders."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_encoder_dir)


@pytest.hookimpl(optionalhook=True)  # also without xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run one process more than there are cores where kernels, browsers and programs are waited for."""
    return (os.cpu_count() or 1) + ("not slow" not in config.option.markexpr)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    import torch

    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")


@pytest.fixture(scope="session")
def sample_folder() -> Callable[[str], Path]:
    """Return a function that gives the folder of a real sample; for tests marked `sample`."""
    from ftkit.data.samples.catalogue import fetch_sample

    return lambda name: fetch_sample(name, progress=lambda *_: None)


def save_tiny_encoder(architecture: str, folder: Path) -> Path:
    """Write a random encoder and the shared tokenizer in Hugging Face format."""
    import torch
    import transformers

    config_class, arguments, pairs = ARCHITECTURES[architecture]
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = transformers.AutoModel.from_config(getattr(transformers, config_class)(**arguments))
    model.save_pretrained(folder)
    make_tokenizer(pairs=pairs).save_pretrained(folder)
    return folder


def make_tokenizer(*, pairs: bool) -> Any:
    """Make the lower-casing WordPiece tokenizer; `pairs` adds token_type_ids."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {word: place for place, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", *(["token_type_ids"] if pairs else []), "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


@pytest.fixture
def make_run(tmp_path: Path, cache: Path, tiny_encoder_dir: Path) -> Callable[..., Any]:
    """Return a function that makes a run on a tiny file; keywords are recipe sections."""
    from ftkit.recipe import Recipe
    from ftkit.run import Run

    def make(source: str = "reviews.csv", name: str = "run", **sections: dict[str, Any]) -> Any:
        settings = {
            "data": {"source": str(TINY / source), "validation_fraction": 0.2, "test_fraction": 0.2},
            "head": {"encoder": str(tiny_encoder_dir)},
            "training": QUICK,
            "evaluation": {"resamples": 100},
        }
        merged = {
            section: {**settings.get(section, {}), **sections.get(section, {})} for section in {*settings, *sections}
        }
        return Run.create(tmp_path / name, Recipe().replace(merged))

    return make
