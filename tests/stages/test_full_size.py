"""A full-size encoder: bert-base's configuration with random weights fits and trains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import json, sys
from pathlib import Path
from transformers import AutoTokenizer, BertConfig, BertModel
from ftkit.recipe import Recipe
from ftkit.run import Run
from ftkit.stages import chain
tiny, source, folder = sys.argv[1:]
BertModel(BertConfig()).save_pretrained(folder + "/base")
AutoTokenizer.from_pretrained(tiny).save_pretrained(folder + "/base")
recipe = Recipe().replace({
    "data": {"source": source}, "head": {"encoder": folder + "/base"},
    "training": {"epochs": 1.0, "batch_size": 16, "precision": "fp32"}, "evaluation": {"baselines": False},
})
fitted = chain.make(Run.create(Path(folder) / "run", recipe), "training")
print(json.dumps(dict(fitted.summary)))
"""


@pytest.mark.slow
def test_bert_base_is_trained_within_a_laptops_memory(tmp_path, cache, tiny_encoder_dir):
    import json

    source = str(Path(__file__).parents[2] / "data" / "tiny" / "reviews.csv")
    command = [sys.executable, "-c", CODE, str(tiny_encoder_dir), source, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    weights = 110e6 * 4
    assert 4 * weights < summary["peak_memory_bytes"] < 6e9  # weights, gradients and two moments are needed
    assert summary["examples_per_second"] > 0
