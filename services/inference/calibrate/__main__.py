"""The command `python -m services.inference.calibrate`: find the best layout of this node.

It measures for a minute or so and wants the node for itself. What it finds is kept in the data
directory; the service takes it at its next start where no layout is set.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial

from services.common.errors import IsoglossError
from services.common.logs import configure_logging
from services.common.names import Collection, parse
from services.common.settings import load
from services.common.storage import UnsuitableStore, open_store
from services.inference.calibrate.candidates import Measured, best, candidates
from services.inference.calibrate.measuring import (
    MIXED,
    SHORT,
    BatchPrice,
    batch_prices,
    milliseconds_alone,
    texts_per_second,
)
from services.inference.calibrate.record import Calibration, Node, save
from services.inference.devices import Device
from services.inference.engines.layout import Layout, open_engines
from services.inference.library import Bounds, open_library
from services.inference.model import Model, Precision
from services.inference.residents import ModelKey
from services.inference.settings import InferenceSettings

Say = Callable[[str], object]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and keep what was found; exit with 1 and a sentence where it fails."""
    options, rest = _parser().parse_known_args(argv)
    settings = load(InferenceSettings, rest)
    configure_logging(level="error", format=settings.log_format, service="calibrate")
    # With --json standard output is for the result alone.
    say = partial(print, file=sys.stderr if options.json else sys.stdout, flush=True)
    try:
        calibration, prices = _calibrate(options, settings, say)
        path = save(calibration, settings.data_directory)
    except (IsoglossError, UnsuitableStore, OSError) as error:
        raise SystemExit(f"{options.model}: {error}") from error
    if options.json:
        result = {**asdict(calibration), "batches": [asdict(price) for price in prices]}
        sys.stdout.write(json.dumps(result) + "\n")
        return
    say("one batch at a time:")
    for price in prices:
        say(f"  {price.texts:2} texts of {price.tokens:3} tokens {price.milliseconds:9.2f} ms each")
    say(f"Kept in {path}; the service takes it at its next start where no layout is set.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.inference.calibrate",
        description=__doc__,
        epilog="All other options are the inference service's, which it has to share a store and "
        "a data directory with.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model",
        default="baseModels/small",
        help="what is measured, models/ID or baseModels/ID; default: %(default)s",
    )
    parser.add_argument("--tenant", default="default", help="whose model; default: %(default)s")
    parser.add_argument(
        "--seconds",
        type=float,
        default=1.5,
        help="of each of the two measurements of a layout; default: %(default)s",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=2,
        help="how often each layout has its turn; its best counts; default: %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _calibrate(
    options: argparse.Namespace, settings: InferenceSettings, say: Say
) -> tuple[Calibration, list[BatchPrice]]:
    node = Node.here()
    say(f"{options.model} on {node.processor}, {node.cpus} processors")
    say("engines  workers  threads   short texts/s   mixed texts/s   alone ms")
    key = ModelKey.of(
        options.tenant,
        parse(options.model, Collection.MODELS, Collection.BASE_MODELS),
        Precision.EXACT,
    )
    measured = []
    # In turns, so that what disturbs the node for some seconds does not decide.
    for layout in candidates(node.cpus) * options.rounds:
        with _opened(settings, key, layout) as model:
            measured.append(_measured(model, layout, options.seconds))
        say(_row(measured[-1]))
    chosen = best(measured)
    say(f"taken:\n{_row(chosen)}")
    with _opened(settings, key, chosen.layout) as model:
        prices = batch_prices(model)
    return (
        Calibration(
            node=node,
            model=options.model,
            digest=model.digest,
            layout=chosen.layout,
            measured=measured,
        ),
        prices,
    )


def _measured(model: Model, layout: Layout, seconds: float) -> Measured:
    speed = partial(texts_per_second, model, workers=layout.workers, seconds=seconds)
    return Measured(
        layout=layout,
        short=speed(SHORT),
        mixed=speed(MIXED),
        alone=milliseconds_alone(model),
    )


@contextmanager
def _opened(settings: InferenceSettings, key: ModelKey, layout: Layout) -> Iterator[Model]:
    """Open the model as the service would in that layout."""
    engines = open_engines(layout, Device.CPU, settings.data_directory.absolute() / "engines")
    library = open_library(
        partial(open_store, settings.store_url, settings.store_options),
        engines,
        settings.resolved_cache_directory,
        Bounds(disk=settings.cache_bytes, memory=settings.resolved_model_memory_bytes),
    )
    try:
        yield library.models.request(key).result()
    finally:
        library.close()
        engines.close()


def _row(one: Measured) -> str:
    layout = one.layout
    return (
        f"{layout.engines:7}{layout.workers:9}{layout.threads:9}"
        f"{one.short:16.1f}{one.mixed:16.1f}{one.alone:11.2f}"
    )


if __name__ == "__main__":
    main()
