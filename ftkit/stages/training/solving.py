"""The output layer alone, solved on the states of the frozen encoder instead of trained by steps.

What it reads is chosen among what the saved model can express in plain transformers: what stands before it as it is,
the first token's state itself, or the mean of all tokens. For the latter two the dense layer between becomes ε times
the identity: near 0 its activation (tanh, GELU) is a line, and the output layer undoes its slope. For the mean the
encoder gets one more layer, see `ftkit.model.meanlayer`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ftkit.data.alike import hash_alike
from ftkit.frozen.linear import LinearFit, choose_strengths, fit_linear
from ftkit.frozen.replay import FIRST, MEAN, POOLED, replaying
from ftkit.frozen.states import Frozen, Reporter, freeze_splits
from ftkit.model.layers import LAYER, find_layers, is_head_parameter
from ftkit.model.losses import IGNORE_INDEX
from ftkit.model.meanlayer import add_mean_layer, can_read_mean, read_mean
from ftkit.model.scoring import mark_labels
from ftkit.recipe import Recipe
from ftkit.speed.devices import device_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ftkit.data.types import Splits
    from ftkit.model.columns import Rows
    from ftkit.model.encoded import Encoded

__all__ = ["ADDED", "Solution", "reading_solution", "solve_head"]

BLOCK = 2048  # rows read at a time
MOST = 200_000  # states that the output layer is fitted to
SCALES = (1e-3, 1e-5)  # ε: tanh is a line to 1e-6 at the first, GELU needs the second
STRAIGHT = 1e-4  # farthest from a line, relative to the largest state
AGREEMENT = 1e-3  # of the model with what was fitted, relative to the largest logit
CHECKED = 16  # rows
ADDED = "the mean of the tokens, through one more layer"
PLAIN, AVERAGED, BEGIN = "what stands before it", "the mean of the tokens", "the first token"
PREFERRED = (ADDED, AVERAGED, BEGIN, PLAIN)


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What was solved.

    Attributes:
        frozen: the splits as states.
        new: parameters that belong to the head from now on.
        held: parameters that make a line of what stands before the output layer; where other layers are trained next,
            they stay as they are: a step that is small for others would tear a line of slope ε apart.
        facts: what it reads, how strongly weights are held down, out-of-fold loss, examples, seconds.
    """

    frozen: Frozen
    new: tuple[str, ...]
    held: tuple[str, ...]
    facts: dict[str, Any]


def solve_head(
    model: PreTrainedModel,
    encoded: Encoded,
    recipe: Recipe,
    new: Collection[str],
    precision: str,
    weights: Tensor | None,
    report: Reporter,
) -> Solution | None:
    """Fit the output layer of a model, and put it there; None where the model's head can't be solved.

    Args:
        model: encoder and head; changed in place.
        encoded: the encoded splits.
        recipe: settings of training and head.
        new: parameters that the checkpoint lacked.
        precision: of the frozen layers.
        weights: (C,) of the labels in the loss.
        report: is told how far it is.
    """
    begun = time.monotonic()
    frozen = freeze_splits(
        model,
        encoded,
        ("train", "validation"),
        tune="head",
        top_layers=1,
        new=new,
        precision=precision,
        report=report,
        keep=recipe.training.cache_features,
        anew=True,
    )
    output = _find_output(model)
    if frozen.place is None or output is None:
        return None
    report("solving the output layer")
    problem = _Problem(model, frozen, output, new)
    fitting: dict[str, Any] = {
        "problem_type": encoded.splits.problem_type,
        "classes": len(encoded.splits.labels),
        "weights": None if weights is None else weights.numpy(),
    }
    readings = problem.readings()
    if not readings:
        return None
    tried = choose_strengths(readings, problem.targets, groups=problem.groups, seed=recipe.training.seed, **fitting)
    reads = _choose_reading({name: losses for name, (_, losses) in tried.items()})
    (strength, losses), features = tried[reads], readings[reads]
    fit = fit_linear(features, problem.targets, strength, **fitting)
    if not problem.put(reads, fit, features[:CHECKED]):
        report("the output layer can't be solved: this model doesn't say what was fitted")
        return None
    facts = {
        "reads": reads,
        "strength": strength,
        "loss_out_of_fold": round(float(losses.mean()), 4),
        "examples": len(features),
        "seconds": round(time.monotonic() - begun, 2),
    }
    report(f"the output layer is solved on {len(features):,} states; it reads {reads}, chosen by cross-validation")
    return Solution(
        frozen=replace(frozen, place=problem.place, precision="fp32"),
        facts=facts,
        new=(*new, *problem.linear_names),
        held=problem.held,
    )


def _choose_reading(losses: Mapping[str, npt.NDArray[np.float64]]) -> str:
    """Return what is read: the mean before the first token before the rest, unless another is better beyond chance.

    Frozen states tell most in their mean, and few examples can't say which reading is best: another one has to have a
    loss out of fold that is lower by more than two standard errors of the difference.
    """
    usual = next(name for name in PREFERRED if name in losses)
    best = min(losses, key=lambda name: float(losses[name].mean()))
    behind = losses[usual] - losses[best]
    return best if behind.mean() > 2 * behind.std() / np.sqrt(len(behind)) else usual


@contextmanager
def reading_solution(model: PreTrainedModel, solution: Solution) -> Iterator[Frozen]:
    """Let a model read the states of its frozen layers inside the block; see `reading_states`."""
    assert solution.frozen.place is not None
    with replaying(model, solution.frozen.place, solution.new):
        yield solution.frozen


class _Problem:
    """The states and targets of a training split, and how a fit becomes weights of the model."""

    def __init__(self, model: PreTrainedModel, frozen: Frozen, output: nn.Linear, new: Collection[str]) -> None:
        self.model, self.frozen, self.output, self.new = model, frozen, output, new
        self.rows = frozen.encoded.datasets["train"]
        self.tagging = frozen.encoded.splits.task == "token-classification"
        assert frozen.place is not None
        mean = frozen.place.pooling == "mean"
        self.state, self.name = (MEAN, AVERAGED) if mean else (FIRST, BEGIN)
        self.dense = None if self.tagging else _find_dense(model, output)
        self.linear_names: tuple[str, ...] = ()
        self.held: tuple[str, ...] = ()
        self.given = self.place = frozen.place
        self.mean: Any = None
        self._slope = 1.0
        self.first, self.targets, self.groups, self._pick = self._read()

    def readings(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the (N, H) states that the output layer could read, by name."""
        found = {}
        own = _find_names(self.model, self.output)
        others = [
            name
            for name, _ in self.model.named_parameters()
            if is_head_parameter(self.model, name, self.new) and name not in own
        ]
        if not others:  # nothing random stands before it
            found[PLAIN] = self._capture()
        if self.dense is not None and self._find_scale():
            found[self.name] = self.first
            if self.mean is not None:
                found[ADDED] = read_mean(torch.from_numpy(self.first), torch.from_numpy(self.mean)).numpy()
        return found

    def put(self, reads: str, fit: LinearFit, features: npt.NDArray[np.float32]) -> bool:
        """Put a fit into the model, and tell whether the model then says the same of the first states."""
        changed = [self.output, *([self.dense] if self.dense is not None else [])]
        kept = {name: self.model.get_parameter(name).detach().clone() for name in _find_names(self.model, *changed)}
        weight, slope = torch.tensor(fit.weight, dtype=torch.float32), 1.0
        with torch.no_grad():
            if reads == ADDED:
                self.place = replace(self.given, pooling="added")
            if reads in (self.name, ADDED):
                assert self.dense is not None
                self._make_linear(self.scale)
                slope = self.scale * self._slope
                self.linear_names = _find_names(self.model, self.dense)
            self.output.weight.copy_(weight / slope)
            self.output.bias.copy_(torch.tensor(fit.bias, dtype=torch.float32))
        said, wanted = self._mark_uses(len(features)), fit(features)
        if np.abs(said - wanted).max() <= AGREEMENT * max(float(np.abs(wanted).max()), 1e-3):
            if reads == ADDED:
                add_mean_layer(self.model)
                self.held = _find_names(self.model, find_layers(self.model)[-1])
            if self.linear_names:
                self.held = (*self.held, *self.linear_names, *_find_names(self.model, self.output))
            return True
        self.model.load_state_dict(kept, strict=False)
        self.linear_names, self.place = (), self.given
        return False

    def _read(self) -> tuple[Any, Any, Any, Any]:
        """Return first states of texts, or those of labelled tokens, with their targets and groups."""
        splits = self.frozen.encoded.splits
        if self.tagging:
            return self._read_tokens()
        texts = np.asarray(self.rows["text"])
        positions, begins = np.unique(texts, return_index=True)
        both = self._means(self._blocks(lambda states: torch.stack(states)[:, :POOLED]), begins)  # (N, 2, H)
        first = both[:, self.state]
        single = len(begins) == len(texts)  # of windows the mean of normalised means is another thing
        if self.state == FIRST and single and can_read_mean(self.model):
            self.mean = both[:, MEAN]
        targets = _read_targets(self.rows, begins, splits)
        alike = np.asarray(hash_alike(splits.datasets["train"].data.table))
        groups = np.unique(alike[positions], return_inverse=True)[1] if len(alike) > positions.max() else positions
        known = np.arange(len(targets))
        if splits.problem_type != "multi_label":  # what has no label can't be fitted to
            known = np.flatnonzero(targets >= 0 if splits.problem_type == "single_label" else ~np.isnan(targets))
        known = known if len(known) <= MOST else known[:: len(known) // MOST + 1]
        self.mean = self.mean[known] if self.mean is not None else None
        return first[known], targets[known], groups[known], (begins, known)

    def _read_tokens(self) -> tuple[Any, Any, Any, Any]:
        parts, labels, groups = [], [], []
        total = int(sum(int((np.asarray(item) != IGNORE_INDEX).sum()) for item in self.rows["labels"]))
        step = max(1, -(-total // MOST))  # every so many-th row
        chosen = np.arange(0, len(self.rows), step)
        for at in range(0, len(chosen), BLOCK):
            picked = self.rows[chosen[at : at + BLOCK].tolist()]
            for text, states, tags in zip(picked["text"], picked["states"], picked["labels"], strict=True):
                counted = np.flatnonzero(np.asarray(tags) != IGNORE_INDEX)
                parts.append(states[counted].float().numpy())
                labels.append(np.asarray(tags, dtype=np.int64)[counted])
                groups.append(np.full(len(counted), int(text)))
        return np.concatenate(parts), np.concatenate(labels), np.concatenate(groups), None

    def _capture(self) -> npt.NDArray[np.float32]:
        """Return what comes before the output layer, of each text or labelled token."""
        if self.tagging:
            return np.asarray(self.first)  # dropout alone stands between
        begins, known = self._pick
        return np.asarray(self._means(self._blocks(self._run), begins)[known], dtype=np.float32)

    def _run(self, states: list[Tensor]) -> Tensor:
        caught: list[Tensor] = []
        handle = self.output.register_forward_pre_hook(lambda _, given: caught.append(given[0].detach().float()))
        try:
            self._forward(torch.stack(states))
        finally:
            handle.remove()
        return caught[0].reshape(len(states), -1).cpu()

    def _forward(self, states: Tensor) -> Tensor:
        training = self.model.training
        self.model.eval()
        states = states.float().to(device_of(self.model))
        mask = torch.ones_like(states[..., 0], dtype=torch.long)
        try:
            with replaying(self.model, self.place, (*self.new, *self.linear_names)), torch.inference_mode():
                logits: Tensor = self.model(inputs_embeds=states, attention_mask=mask).logits
            return logits.cpu()
        finally:
            self.model.train(training)

    def _mark_uses(self, count: int) -> npt.NDArray[np.float64]:
        """Return the model's logits of the first texts, or of the first labelled tokens."""
        if self.tagging:
            said: list[Any] = []
            at = 0
            while sum(map(len, said)) < count:
                row = self.rows[[at]]
                counted = np.flatnonzero(np.asarray(row["labels"][0]) != IGNORE_INDEX)
                said.append(self._forward(row["states"][0][None])[0].numpy()[counted])
                at += 1
            return np.asarray(np.concatenate(said)[:count], dtype=np.float64)
        begins, known = self._pick
        last = known[:count].max() + 1
        stop = int(begins[last]) if last < len(begins) else len(self.rows)
        logits = self._forward(torch.stack(self.rows[list(range(stop))]["states"])).numpy()
        return np.asarray(self._means([logits], begins[:last])[known[:count]], dtype=np.float64)

    def _blocks(self, choose: Callable[[list[Tensor]], Tensor]) -> list[npt.NDArray[np.float32]]:
        return [
            choose(self.rows[list(range(at, min(at + BLOCK, len(self.rows))))]["states"]).float().numpy()
            for at in range(0, len(self.rows), BLOCK)
        ]

    def _means(self, blocks: list[npt.NDArray[np.float32]], begins: npt.NDArray[np.int64]) -> Any:
        """Return the mean over the windows of each text: as it predicts, a model takes the mean of their logits."""
        whole = np.concatenate(blocks)
        sizes = np.diff(np.append(begins, len(whole)))
        return (np.add.reduceat(whole, begins, axis=0) / sizes.reshape(-1, *[1] * (whole.ndim - 1))).astype(np.float32)

    def _find_scale(self) -> bool:
        """Find an ε at which the dense layer and what follows are a line in the first state."""
        dense = self.dense
        assert dense is not None
        states = torch.stack(self.rows[list(range(min(CHECKED, len(self.rows))))]["states"])
        kept = [parameter.detach().clone() for parameter in dense.parameters()]
        before, self.linear_names = self.linear_names, _find_names(self.model, dense)
        try:
            for scale in SCALES:
                self._make_linear(scale)
                out, given = self._run(list(states)) / scale, states[:, self.state].float()
                if out.shape != given.shape:
                    return False
                self._slope = float((out * given).sum() / given.square().sum())
                if (out - self._slope * given).abs().max() <= STRAIGHT * abs(self._slope) * given.abs().max():
                    self.scale = scale
                    return True
            return False
        finally:
            self.linear_names = before
            with torch.no_grad():
                for parameter, value in zip(dense.parameters(), kept, strict=True):
                    parameter.copy_(value)

    def _make_linear(self, scale: float) -> None:
        assert self.dense is not None
        with torch.no_grad():
            self.dense.weight.copy_(scale * torch.eye(self.dense.in_features))
            self.dense.bias.zero_()


def _find_output(model: PreTrainedModel) -> nn.Linear | None:
    """Return the layer whose outputs are the logits."""
    found = [
        module
        for _, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == model.config.num_labels
    ]
    return found[-1] if found and found[-1].bias is not None else None


def _find_dense(model: PreTrainedModel, output: nn.Linear) -> nn.Linear | None:
    """Return the one layer as wide as the states between encoder and output layer; None if there is none, or more."""
    found = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module is not output
        and not LAYER.search(f"{name}.")
        and "embed" not in name
        and module.in_features == module.out_features == output.in_features
    ]
    return found[0] if len(found) == 1 and found[0].bias is not None else None


def _find_names(model: PreTrainedModel, *modules: nn.Module) -> tuple[str, ...]:
    """Return the names that the parameters of some modules have in the model."""
    own = {id(parameter) for module in modules for parameter in module.parameters()}
    return tuple(name for name, parameter in model.named_parameters() if id(parameter) in own)


def _read_targets(rows: Rows, begins: npt.NDArray[np.int64], splits: Splits) -> npt.NDArray[Any]:
    """Return what each text is fitted to: label ids, yes and no of each label, or numbers."""
    labels = rows["labels"]
    if splits.problem_type == "multi_label":
        return mark_labels([labels[int(at)] for at in begins], len(splits.labels)).astype(np.float64)
    return np.asarray(labels)[begins]
