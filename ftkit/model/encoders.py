"""Encoders, tokenizers and configurations by sample name, folder, run folder, or hub id (`id@revision`)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.data.samples.catalogue import fetch_sample, read_catalogue
from ftkit.errors import ModelError
from ftkit.paths import split_revision

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

__all__ = [
    "encoder_fingerprint",
    "find_revision",
    "load_config",
    "load_tokenizer",
    "longest_input",
    "resolve_encoder",
    "whereabouts",
]

UNBOUNDED = 1_000_000  # tokenizers without a limit claim a length of about 1e30
# RoBERTa and its kin count positions from the padding id on.
COUNTED_FROM_PADDING = frozenset(
    {
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "lilt",
        "longformer",
        "luke",
        "markuplm",
        "mpnet",
        "xmod",
    }
)


def resolve_encoder(name: str) -> str:
    """Return the folder or hub id of an encoder; a sample is fetched if it isn't in the cache.

    Args:
        name: folder with a config.json, run folder, sample name, or hub id, which may end in `@revision`.

    Raises:
        ModelError: the folder holds no model.
        SampleError: the sample can't be fetched.
    """
    folder = Path(name)
    if folder.is_dir():
        for candidate in (folder / "model", folder):
            if (candidate / "config.json").is_file():
                return str(candidate)
        raise ModelError(
            name,
            expected="a folder with a model (config.json, model.safetensors)",
            found="none",
            remedy="Name the folder of the model, or a run that was trained.",
        )
    sample = read_catalogue().get(name.removeprefix("sample:"))
    return str(fetch_sample(sample.name)) if sample and sample.kind == "model" else name


def whereabouts(source: str) -> dict[str, str]:
    """Return what `from_pretrained` is told of a folder or hub id that `resolve_encoder` gave."""
    address, revision = (source, None) if Path(source).is_dir() else split_revision(source)
    return {"pretrained_model_name_or_path": address} | ({"revision": revision} if revision else {})


def find_revision(name: str) -> str:
    """Return the commit of an encoder of the hub, as it is in the cache; empty for folders and samples.

    Raises:
        ModelError: it can't be loaded.
    """
    from transformers.utils import cached_file

    source = resolve_encoder(name)
    if Path(source).is_dir():
        return ""
    address, revision = split_revision(source)
    try:
        path = cached_file(address, "config.json", revision=revision or "main")
    except OSError as error:
        raise _not_loaded(name, "configuration", error) from error
    return Path(path).parent.name if path else ""  # …/snapshots/<commit>/config.json


def encoder_fingerprint(name: str) -> str:
    """Return a hash that changes when the encoder does, without loading it: pins, file sizes and times, or the id."""
    folder = Path(name)
    parts = [name]
    if folder.is_dir():
        files = sorted(Path(resolve_encoder(name)).glob("*.*"))
        parts = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files if path.is_file()]
    else:
        sample = read_catalogue().get(name.removeprefix("sample:"))
        parts += [sample.sha256] if sample else []
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def load_config(name: str) -> Any:
    """Load the configuration of an encoder.

    Raises:
        ModelError: there is none, or the hub can't be reached.
    """
    from transformers import AutoConfig

    return _load(AutoConfig.from_pretrained, name, "configuration")


def load_tokenizer(name: str, *, words: bool) -> Any:
    """Load the tokenizer of an encoder.

    Args:
        name: see `resolve_encoder`.
        words: texts come as lists of words; byte-level tokenizers then need a blank before each.

    Raises:
        ModelError: there is none, it has no vocabulary, or it can't tell which word a token belongs to.
    """
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer.from_pretrained, name, "tokenizer")
    if not tokenizer.is_fast:
        raise ModelError(
            name,
            expected="a fast tokenizer (tokenizer.json)",
            found=type(tokenizer).__name__,
            remedy="Convert it with transformers and save it again.",
        )
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # transformers makes up an empty one where files are missing
        raise ModelError(
            name,
            expected="a tokenizer with a vocabulary (tokenizer.json or vocab.txt)",
            found="special tokens alone",
            remedy="Save the encoder's tokenizer beside it.",
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(
            name,
            expected="a tokenizer with a padding token",
            found="none",
            remedy="Set tokenizer.pad_token and save it again.",
        )
    if words:
        _put_blank_before_words(tokenizer)
    return tokenizer


def longest_input(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> int:
    """Return the most tokens that the encoder takes, special tokens included."""
    positions = getattr(config, "max_position_embeddings", None) or UNBOUNDED
    if config.model_type in COUNTED_FROM_PADDING:
        positions -= (config.pad_token_id or 0) + 1
    return int(min(positions, tokenizer.model_max_length if tokenizer.model_max_length < UNBOUNDED else positions))


def _put_blank_before_words(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make a byte-level tokenizer see " word" for each word, as in running text; others are left as they are.

    The option `add_prefix_space` of from_pretrained reaches only some of transformers' classes.
    """
    from tokenizers import normalizers, pre_tokenizers

    backend, without, given = tokenizer.backend_tokenizer, b'"add_prefix_space":false', b'"add_prefix_space":true'
    state = backend.pre_tokenizer.__getstate__() if backend.pre_tokenizer else b""
    if b'"ByteLevel"' not in state or without not in state:
        return
    if isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        for name in ("pre_tokenizer", "post_processor"):
            if part := getattr(backend, name):
                part.__setstate__(part.__getstate__().replace(without, given))
                setattr(backend, name, part)
    elif b'"Prepend"' not in (backend.normalizer.__getstate__() if backend.normalizer else b""):
        # What comes before ByteLevel may split a word, and each piece would get a blank.
        before = [backend.normalizer] if backend.normalizer else []
        backend.normalizer = normalizers.Sequence([*before, normalizers.Prepend(" ")])
    tokenizer.add_prefix_space = tokenizer.init_kwargs["add_prefix_space"] = True  # saved, for classes that read it


def _load(loader: Any, name: str, what: str) -> Any:
    source = resolve_encoder(name)
    try:
        return loader(**whereabouts(source), trust_remote_code=False)
    except Exception as error:  # tokenizers raises nothing more special
        raise _not_loaded(name, what, error) from error


def _not_loaded(name: str, what: str, error: Exception) -> ModelError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelError(
        f"head.encoder {name!r}: its {what} can't be loaded",
        found=first[:300],
        remedy="Give a sample name (ftkit samples), a folder, or a hub id where the hub can be reached.",
    )
