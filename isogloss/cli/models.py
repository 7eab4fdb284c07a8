"""`isogloss models ...`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Annotated, cast

import typer
from rich.table import Table
from rich.text import Text

from isogloss import Client, Model, ModelState, ModelUpdate, Precision
from isogloss.api.models import outcome
from isogloss.cli import bundles, evaluations, model_runs
from isogloss.cli.commands import base_name, command, dataset_name, model_name
from isogloss.cli.hyperparameters import hyperparameters, named
from isogloss.cli.session import Session
from isogloss.cli.training_view import MODEL_STYLE, training_view
from isogloss.cli.words import ago, count, duration, estimated, size

app = typer.Typer(
    no_args_is_help=True, help="Fine-tune models, watch them and see how good they are."
)
model_runs.register(app)
evaluations.register(app)
bundles.register(app)

Id = Annotated[str, typer.Argument(help="models/ID, or ID alone.", show_default=False)]


@command(app, "bases", services=["trainer"], examples=["isogloss models bases"])
def bases(session: Session) -> None:
    """List the untrained encoders that a model can start from."""
    with session.client() as client:
        found = list(client.models.bases())
    if session.json:
        session.document(found)
        return
    session.table(
        ["!name", "what it is", ">dimension", ">tokens", ">parameters", "licence"],
        (
            [
                base.name,
                f"{base.display_name}. {base.description}".strip(". "),
                str(base.dimension),
                str(base.max_tokens),
                f"{base.parameter_count / 1e6:.1f} M",
                base.license,
            ]
            for base in found
        ),
    )


@command(
    app,
    "create",
    services=["trainer"],
    examples=[
        "isogloss models create tone --dataset tone-k3v9qz --watch",
        "isogloss models create spam --dataset spam-8m2xwa --positive-label spam --epochs 3",
        "isogloss models create tone --dataset tone-k3v9qz --preset fast --set class_balance=1",
        "isogloss models create tone --dataset tone-k3v9qz --no-start",
    ],
)
def create(
    session: Session,
    *,
    name: Annotated[
        str, typer.Argument(help="A name for people; need not be unique.", show_default=False)
    ],
    dataset: Annotated[
        str, typer.Option(help="What it learns: datasets/ID, or ID alone.", show_default=False)
    ],
    base: Annotated[
        str, typer.Option(help="What it starts from; see `models bases`; or models/ID.")
    ] = "small",
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the rows, 1 to 100. Otherwise by their number."),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak of the encoder's, 1e-6 to 1e-2. Otherwise the recipe's."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Texts of one step, 2 to 256. Otherwise 32, or 64 of many rows."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of everything random, 0 or more. Otherwise 0.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="fast|balanced|thorough",
            help="How much time it may take for its quality. Otherwise balanced.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other hyperparameter, such as class_balance=1; may be given several times.",
        ),
    ] = None,
    positive_label: Annotated[
        str,
        typer.Option(
            help="Of two labels the one that precision, recall and F1 are told for.",
            show_default=False,
        ),
    ] = "",
    webhook: Annotated[
        str,
        typer.Option(
            metavar="URI",
            help="Where its end is told, at a host that the operator allows.",
            show_default=False,
        ),
    ] = "",
    no_start: Annotated[
        bool,
        typer.Option("--no-start", help="Create it PAUSED; `models resume` begins the training."),
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the training.")] = False,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Check the request and create nothing.")
    ] = False,
) -> None:
    """Fine-tune a base model on a dataset."""
    if watch and no_start:
        raise typer.BadParameter("Give --watch or --no-start: what is paused does not end.")
    wanted = hyperparameters(
        [*(settings or ()), *(() if preset is None else (f"preset={preset}",))],
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
    )
    with session.client() as client:
        model = client.models.create(
            name,
            dataset=dataset_name(dataset),
            base_model=base_name(base),
            hyperparameters=wanted,
            positive_label=positive_label,
            webhook_uri=webhook,
            auto_start=not no_start,
            validate_only=validate_only,
        )
        if watch and not validate_only:
            if not session.rich and not session.json:
                # For who copies it from a log; a live view has it in its first line.
                session.line(model.name)
            follow(session, client, model.name)
            return
    if session.json:
        session.document(model)
        return
    if validate_only:
        session.note("The request is fine; nothing was created.")
    else:
        session.table(["!name", "!state"], [[model.name, model.state]])
    if model.estimate is not None:
        session.note(f"It will take {estimated(model.estimate)}.")
    if not validate_only:
        session.next_step(f"isogloss models {'resume' if no_start else 'watch'} {model.name}")


def follow(session: Session, client: Client, name: str) -> None:
    """Show a run to its end.

    Raises:
        IsoglossError: It failed or was cancelled.
        KeyboardInterrupt: The user does not want to watch any more; the run goes on.
    """
    last: ModelUpdate | None = None
    try:
        updates = cast("Generator[ModelUpdate]", client.models.watch(name))
        with training_view(session) as view, closing(updates):
            for last in updates:
                view.update(last)
    except KeyboardInterrupt:
        session.note("Stopped watching; the run goes on.")
        session.note(f"  Watch it again:  isogloss models watch {name}")
        session.note(f"  Pause it:        isogloss models pause {name}")
        session.note(f"  Stop it:         isogloss models cancel {name}")
        raise
    outcome(last.model if last else client.models.get(name))
    if not session.rich and not session.json:
        session.line(f"{name} is ready.")
    session.next_step(
        f"isogloss models evaluation {name}",
        f'isogloss classify --model {name} "a text of your own"',
    )


@command(
    app,
    "watch",
    services=["trainer"],
    examples=["isogloss models watch tone-9x4kdp", "isogloss models watch tone-9x4kdp --json"],
)
def watch(session: Session, model: Id) -> None:
    """Follow a training run to its end. Ctrl-C stops watching, not the run.

    Fails where the run fails or is cancelled. With --json: one line for each event.
    """
    with session.client() as client:
        follow(session, client, model_name(model))


@command(
    app,
    "list",
    services=["trainer"],
    examples=["isogloss models list", "isogloss models list --state queued --state training"],
)
def list_(
    session: Session,
    *,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="Only models in this state, such as ready; may be given several times.",
            show_default=False,
        ),
    ] = None,
    query: Annotated[
        str, typer.Option(help="Only models whose name for people holds this.", show_default=False)
    ] = "",
    dataset: Annotated[
        str, typer.Option(help="Only models that learn this dataset.", show_default=False)
    ] = "",
    base: Annotated[
        str, typer.Option(help="Only models that start from this base.", show_default=False)
    ] = "",
) -> None:
    """List models, newest first."""
    wanted = bool(state or query or dataset or base)
    with session.client() as client:
        found = list(
            client.models.list(
                states=[one.upper() for one in state or ()],
                query=query,
                dataset=dataset_name(dataset) if dataset else "",
                base_model=base_name(base) if base else "",
            )
        )
    if session.json:
        session.document(found)
        return
    if not found and session.rich and not wanted:
        session.note("No models yet. Train one: isogloss models create NAME --dataset DATASET")
        return
    session.table(
        ["!name", "display name", "!state", "!dataset", ">accuracy", ">created"],
        (
            [
                model.name,
                model.display_name,
                _state(model),
                model.dataset,
                f"{model.latest_metrics.accuracy:.4f}" if model.latest_metrics else "",
                ago(model.create_time),
            ]
            for model in found
        ),
    )


def _state(model: Model) -> Text:
    place = f" #{model.queue_position}" if model.queue_position else ""
    return Text(f"{model.state}{place}", MODEL_STYLE.get(model.state, ""))


@command(app, "show", services=["trainer"], examples=["isogloss models show tone-9x4kdp"])
def show(session: Session, model: Id) -> None:
    """Show one model."""
    with session.client() as client:
        found = client.models.get(model_name(model))
    if session.json:
        session.document(found)
        return
    facts = list(_facts(found))
    if not session.rich:
        for name, value in facts:
            session.line(name, value)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(name, value)
    session.out.print(grid)


def _facts(model: Model) -> Generator[tuple[str, Text]]:
    yield "model", Text(model.name, "bold")
    yield "display name", Text(model.display_name)
    state = Text(model.state, MODEL_STYLE.get(model.state, ""))
    yield "state", state.append(f"  {model.state_reason}" if model.state_reason else "", "dim")
    if model.error is not None:
        yield "error", Text(model.error.message, "red")
    yield "base model", Text(model.base_model)
    yield "dataset", Text(model.dataset)
    told = ", ".join(f"{name} {value}" for name, value in named(model.hyperparameters))
    if told:
        yield "hyperparameters", Text(told)
    if model.positive_label:
        yield "positive label", Text(model.positive_label)
    yield from _run_facts(model)
    if (measured := model.latest_metrics) is not None:
        words = f"accuracy {measured.accuracy:.4f}, F1 {measured.f1:.4f} at step {measured.step}"
        yield "held-out rows", Text(words)
    if model.state is ModelState.READY:
        yield "labels", Text(str(model.label_count))
        yield "dimension", Text(str(model.dimension))
        yield "longest text", Text(count(model.max_tokens, "token"))
    for variant in model.variants:
        what = f"{size(variant.size_bytes)}, sha256 {variant.digest}"
        if variant.precision is Precision.QUANTIZED:
            points = 0.0 - 100 * variant.accuracy_loss
            what += f", {variant.speedup:.1f} times as fast, accuracy {points:+.1f} points"
        yield variant.precision.lower(), Text(what)
    if model.attempt > 1:
        yield "attempt", Text(str(model.attempt))
    yield "created", Text(ago(model.create_time))
    if model.start_time and model.end_time:
        took = (model.end_time - model.start_time).total_seconds()
        yield "took", Text(duration(took))


def _run_facts(model: Model) -> Generator[tuple[str, Text]]:
    if model.queue_position:
        yield "place in the queue", Text(str(model.queue_position))
    if model.estimate is not None and model.state in (ModelState.QUEUED, ModelState.PAUSED):
        yield "will take", Text(estimated(model.estimate))
    if model.webhook_uri:
        yield "webhook", Text(model.webhook_uri)
    if model.progress is not None and not model.state.final:
        left = model.progress.eta
        eta = f", {duration(left)} left" if left is not None else ""
        yield "progress", Text(f"{100 * model.progress.fraction:.0f} %{eta}")


@command(app, "cancel", services=["trainer"], examples=["isogloss models cancel tone-9x4kdp"])
def cancel(session: Session, model: Id) -> None:
    """Cancel a model that is queued or training."""
    with session.client() as client:
        found = client.models.cancel(model_name(model))
    if session.json:
        session.document(found)
    else:
        session.note(f"{found.name} is {found.state.lower()}.")


@command(app, "delete", services=["trainer"], examples=["isogloss models delete tone-9x4kdp"])
def delete(
    session: Session,
    *,
    model: Id,
    force: Annotated[
        bool, typer.Option("--force", help="Although aliases stand for it, which then fail.")
    ] = False,
) -> None:
    """Delete a model and all that is stored of it; a run is cancelled first.

    Or one evaluation on a further dataset: models/ID/evaluations/ID.
    """
    name = model_name(model)
    with session.client() as client:
        if "/evaluations/" in name:
            client.models.delete_evaluation(name)
        else:
            client.models.delete(name, force=force)
    if session.json:
        session.document({"deleted": name})
    else:
        session.note(f"{name} is deleted.")
