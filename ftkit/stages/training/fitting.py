"""The work inside a training: phases, Trainer, checkpoints, and the best model saved whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ftkit.frozen.states import reading_states
from ftkit.model.batching import STRIDE
from ftkit.model.control import Mailbox
from ftkit.model.encoders import find_revision
from ftkit.model.events import EventLog, read_events
from ftkit.model.exemplars import Exemplars
from ftkit.model.inference import read_column
from ftkit.model.losses import build_loss, label_weights
from ftkit.model.quiet import quietly
from ftkit.model.scoring import predict_split, score_predictions
from ftkit.recipe import Recipe, Training
from ftkit.run import Run, read_json, write_json
from ftkit.scoring.metrics import choose_metric, higher_is_better
from ftkit.speed.devices import describe_device, device_of, memory_explained, peak_device_memory, reset_peak
from ftkit.speed.graphs import graph_stride
from ftkit.speed.process import peak_memory
from ftkit.speed.switch import is_plain
from ftkit.stages import head, preprocessing
from ftkit.stages.machine import find_device, prepare_machine, recall_choices, speed_up
from ftkit.stages.training.answers import save_answers
from ftkit.stages.training.checkpoints import (
    load_best,
    load_phase,
    newest_checkpoint,
    save_model,
    save_phase,
    take_whole_phase,
)
from ftkit.stages.training.dynamics import save_dynamics
from ftkit.stages.training.outlook import Forecast
from ftkit.stages.training.phases import Phase, plan_phases
from ftkit.stages.training.solving import Solution, reading_solution, solve_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ftkit.data.types import Splits
    from ftkit.model.encoded import Encoded
    from ftkit.model.losses import Loss
    from ftkit.model.steering import Meter, RateRange, Steering
    from ftkit.model.trainer import FineTuner

__all__ = ["fit", "make_trainer"]

NEVER = 10**9
KEPT = 2  # checkpoints: the best and the newest
FEWER = "Set training.batch_size or preprocessing.max_length lower, or head.tune to top or head."
FEWEST_TO_CHOOSE = 100  # examples of validation: with them an accuracy is known to ten points up or down
LOGGED_LABELS = 40  # whose scores each evaluation logs, the most frequent ones


def fit(run: Run, mailbox: Mailbox, log: EventLog, *, resume: bool) -> dict[str, Any]:
    """Train the model of a run and save the best one.

    Args:
        run: head and preprocessing are made.
        mailbox: where commands come from.
        log: where events go.
        resume: go on from the newest whole checkpoint.

    Returns:
        The content of training/summary.json.
    """
    from torch import get_num_threads
    from transformers import set_seed

    from ftkit.model.steering import Meter

    def report(said: str) -> None:
        log.append("status", state="running", detail=said)

    recipe, folder, device = run.recipe, run.folder("training"), find_device(run.recipe)
    encoded = preprocessing.load(run)
    known = recall_choices(run, device, resume=resume)
    chosen = prepare_machine(recipe, device, known)
    precision = chosen.name
    run.write_environment(
        threads=get_num_threads(),
        precision=precision,
        precision_reason=chosen.reason,
        seed=recipe.training.seed,
        data_fingerprint=encoded.splits.fingerprint,
        revisions=_find_revisions(recipe, encoded.splits),
        **describe_device(device),
    )
    reset_peak(device)
    set_seed(recipe.training.seed)
    model, meter, begun = head.load_head_model(run).to(device), Meter(), time.monotonic()
    started = int(resume and (folder / "head_phase" / "steps.json").is_file())
    solution = None if started else _solve(run, model, encoded, precision, log)
    lengths = read_column(encoded.datasets["train"], "length")
    phases = plan_phases(run, lengths, solved=solution is not None, pace=_find_pace(run, resume=resume))
    new = head.new_parameters(run)
    done, steering, held = 0, None, solution.held if solution else ()
    for number, phase in enumerate(phases):
        if number < started:
            model, done, held = load_phase(folder, model)
            continue
        later = sum(item.steps for item in phases[number + 1 :])
        steering = _make_steering(run, encoded, log, mailbox, meter, done, later)
        events = read_events(folder / "events.jsonl") if resume else []
        steering.stale = _count_stale(events, after=done)
        if number:
            set_seed(recipe.training.seed)  # the same whether the phase before ended now or before a resume
        model = head.freeze(model, recipe.head, new, tune=phase.tune)
        if phase.tune == "full":
            for name in held:
                model.get_parameter(name).requires_grad_(False)
        checkpoint = newest_checkpoint(phase.folder) if resume else None
        if solution and phase.tune == "head":
            reading = reading_solution(model, solution)
        else:
            names = ("train", "validation")
            reading = reading_states(model, encoded, names, recipe, phase.tune, new, precision, log)
        with reading as seen:
            run.write_environment(**speed_up(model, recipe, seen.encoded, precision, known))
            trainer = make_trainer(recipe, seen.encoded, phase, model, steering, meter, seen.precision, report)
            if checkpoint:
                log.append("status", state="resumed", step=done + int(checkpoint.name.rpartition("-")[2]))
            if checkpoint and take_whole_phase(trainer, checkpoint):
                _recall_last(steering, events)
            else:
                with quietly(), memory_explained(device, FEWER):
                    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        done += trainer.state.global_step
        if steering.outcome == "suspended":
            return _summarize(steering, meter, precision, phases[-1], solution, steps=done, begun=begun)
        load_best(trainer.model, phase.folder, steering.best_step, trainer.state.global_step)
        model = trainer.model
        if steering.reason == "hand":
            break  # the phase isn't marked as finished: it can go on
        if number + 1 < len(phases):
            save_phase(folder, model, done, held)
    assert steering is not None
    save_dynamics(run, trainer.dynamics, encoded.splits)
    save_model(run, model, encoded)
    return _summarize(steering, meter, precision, phases[-1], solution, steps=done, begun=begun)


def _solve(run: Run, model: PreTrainedModel, encoded: Encoded, precision: str, log: EventLog) -> Solution | None:
    """Solve the output layer where that comes first, and is what the settings ask for."""
    recipe = run.recipe
    if recipe.head.tune not in ("head", "head_then_full") or not head.is_solved(recipe, "head"):
        return None

    def report(said: str) -> None:
        log.append("status", state="encoding", detail=said)

    return solve_head(
        model, encoded, recipe, head.new_parameters(run), precision, _make_loss(recipe, encoded).class_weights, report
    )


def _find_revisions(recipe: Recipe, splits: Splits) -> dict[str, str]:
    """Return the commits of what came from a hub, by setting."""
    found = {"data.source": splits.revision, "head.encoder": find_revision(recipe.head.encoder)}
    return {setting: revision for setting, revision in found.items() if revision}


def _find_pace(run: Run, *, resume: bool) -> float:
    """Return how fast this will train, where that bounds the epochs; one that goes on keeps what it began with."""
    if run.recipe.training.epochs or not run.recipe.training.minutes:
        return 0.0
    path = run.folder("training") / "pace.json"
    if not (resume and path.is_file()):
        write_json(path, Forecast(run).pace(run.recipe))
    return float(read_json(path))


def _make_loss(recipe: Recipe, encoded: Encoded) -> Loss:
    import torch

    settings, weights = recipe.training, None
    if settings.class_weights != "none":
        weights = label_weights(torch.tensor(_count_labels(encoded)), settings.class_weights)
    return build_loss(
        encoded.splits.problem_type,
        label_smoothing=settings.label_smoothing,
        class_weights=weights,
        focal_gamma=settings.focal_gamma,
    )


def _count_labels(encoded: Encoded) -> list[int]:
    import numpy as np

    column = encoded.datasets["train"].data.column("labels").combine_chunks()
    flat = column.flatten() if hasattr(column, "flatten") and column.type.num_fields else column
    labels = np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.int64)
    counts: list[int] = np.bincount(labels[labels >= 0], minlength=len(encoded.splits.labels)).tolist()
    return counts


def _make_steering(
    run: Run, encoded: Encoded, log: EventLog, mailbox: Mailbox, meter: Meter, first: int, later: int
) -> Steering:
    from ftkit.model.steering import Steering

    splits, settings = encoded.splits, run.recipe.training
    metric = choose_metric(
        settings.metric, task=splits.task, problem_type=splits.problem_type, tag_scheme=splits.tag_scheme
    )
    return Steering(
        log=log,
        mailbox=mailbox,
        meter=meter,
        metric=metric,
        evaluations=settings.evaluations,
        patience=settings.patience,
        first_step=first,
        later_steps=later,
        keep=_choose_kept(settings, len(splits.datasets["validation"])),
        keep_answers=partial(save_answers, run, splits),
    )


def _choose_kept(settings: Training, validated: int) -> str:
    """Return whether the weights of the best evaluation are kept, or the last ones: few examples can't choose."""
    if settings.keep != "auto":
        return settings.keep
    return "last" if validated < FEWEST_TO_CHOOSE and not settings.patience else "best"


def make_trainer(
    recipe: Recipe,
    encoded: Encoded,
    phase: Phase,
    model: PreTrainedModel,
    steering: Steering | RateRange,
    meter: Meter,
    precision: str,
    report: Callable[[str], None] = lambda said: None,
) -> FineTuner:
    """Return the trainer of one phase.

    Args:
        recipe: settings of training and head.
        encoded: the data.
        phase: epochs and folder of the checkpoints.
        model: what requires a gradient is trained.
        steering: a callback that decides when to score and save, by its `metric`.
        meter: counts steps.
        precision: fp32 or bf16.
        report: is told how steps are computed, and what didn't fit.
    """
    from transformers import PrinterCallback, ProgressCallback, TrainingArguments

    from ftkit.model.trainer import FineTuner

    settings, device = recipe.training, device_of(model)
    rows = encoded.datasets["train"]
    stride = STRIDE if is_plain() or device.type != "cuda" else graph_stride(int(read_column(rows, "length").max()))
    args = TrainingArguments(
        output_dir=str(phase.folder),
        num_train_epochs=phase.epochs,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        max_grad_norm=settings.max_grad_norm,
        bf16=precision == "bf16",
        use_cpu=device.type == "cpu",
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="steps",
        save_steps=NEVER,
        save_total_limit=KEPT,
        eval_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        metric_for_best_model=steering.metric,
        greater_is_better=higher_is_better(steering.metric),
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=device.type == "cuda",
        accelerator_config={"non_blocking": device.type == "cuda"},
    )
    args._n_gpu = min(1, args.n_gpu)  # one device: Trainer would spread each batch over all there are
    loss = _make_loss(recipe, encoded)
    optimization = {
        "learning_rate": phase.rate,
        "weight_decay": settings.weight_decay,
        "layer_decay": 1.0 if phase.tune == "head" else recipe.head.layer_decay,
        "optimizer": settings.optimizer,
        "momentum": settings.momentum,
        "schedule": settings.schedule,
        "warmup": settings.warmup,
    }
    trainer = FineTuner(
        model,
        args,
        train_data=rows,
        collator=encoded.make_collator(settings, stride=stride),
        loss=loss,
        optimization=optimization,
        score=partial(_score_validation, recipe, encoded, loss, precision),
        meter=meter,
        steering=steering,
        batch_tokens=settings.batch_tokens,
        report=report,
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


def _score_validation(
    recipe: Recipe, encoded: Encoded, loss: Loss, precision: str, model: PreTrainedModel
) -> dict[str, Any]:
    splits, data = encoded.splits, encoded.splits.datasets["validation"]
    words = data["words"] if splits.task == "token-classification" else None
    exemplars = Exemplars(splits)
    predictions = predict_split(
        model,
        encoded.datasets["validation"],
        splits,
        encoded.make_collator(),
        loss,
        words=words,
        batch_size=recipe.evaluation.batch_size,
        precision=precision,
        on_chunk=exemplars.take,
    )
    scores = score_predictions(predictions, data, splits, resamples=0)
    frequent = sorted(scores.per_label, key=lambda row: -row["support"])[:LOGGED_LABELS]
    return {
        "loss": predictions.loss,
        **{name: interval.value for name, interval in scores.metrics.items()},
        "per_label": [{name: row[name] for name in ("label", "f1", "support")} for row in frequent],
        "examples": exemplars.to_json(),
        "answers": predictions,
    }


def _recall_last(steering: Steering, events: list[dict[str, Any]]) -> None:
    """Reporter a phase that was put down whole what its last evaluation said, where the last weights are kept."""
    scored = [event for event in events if event["kind"] == "evaluation"]
    if steering.keep == "last" and scored:
        steering.best = scored[-1]["metrics"].get(steering.metric)
        steering.best_step = scored[-1]["step"] - steering.first_step


def _count_stale(events: list[dict[str, Any]], *, after: int) -> int:
    """Return how many evaluations of a phase came since its best one: patience goes on where it was put down.

    Args:
        events: of the steps that are not done again.
        after: steps of earlier phases.
    """
    marks = [event["best"] for event in events if event["kind"] == "evaluation" and event["step"] > after]
    return len(marks) if True not in marks else marks[::-1].index(True)


def _summarize(
    steering: Steering,
    meter: Meter,
    precision: str,
    phase: Phase,
    solution: Solution | None,
    *,
    steps: int,
    begun: float,
) -> dict[str, Any]:
    per_second = 1 / meter.seconds if meter.seconds else 0.0
    return {
        "status": steering.outcome,
        "reason": steering.reason,
        "steps": steps,
        "steps_total": steering.total,
        "seconds": round(meter.seconds, 3),
        "seconds_with_evaluation": round(time.monotonic() - begun, 3),
        "examples_per_second": round(meter.examples * per_second, 3),
        "tokens_per_second": round(meter.tokens * per_second, 3),
        "precision": precision,
        "peak_memory_bytes": peak_memory(),
        **peak_device_memory(steering.tuner.args.device),
        "metric": steering.metric,
        "keep": steering.keep,
        "best": steering.best,
        "best_step": steering.first_step + steering.best_step,
        "learning_rate": phase.rate,
        "epochs": phase.epochs,
        **({"solved": solution.facts} if solution else {}),
    }
