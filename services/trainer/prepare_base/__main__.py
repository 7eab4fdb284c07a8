"""The command `python -m services.trainer.prepare_base ID DIRECTORY`: make a base's directory.

The directory can be copied to machines that reach no package index, and be a source there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from services.trainer.base_import import UnsupportedBase, read_base
from services.trainer.base_sources import SourceError
from services.trainer.prepare_base.recipes import RECIPES, prepare

USAGE = f"""\
usage: python -m services.trainer.prepare_base ID DIRECTORY

ID         one of {", ".join(sorted(RECIPES))}
DIRECTORY  where it goes; it must not exist yet\
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the base that the arguments name; exit with 1 and a sentence where it fails."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if len(arguments) != 2 or arguments[0] not in RECIPES:  # noqa: PLR2004 (ID and DIRECTORY)
        raise SystemExit(USAGE)
    base, directory = arguments[0], Path(arguments[1])
    try:
        prepare(base, directory)
        encoder = read_base(directory)
    except (SourceError, UnsupportedBase, OSError) as error:
        raise SystemExit(f"{base}: {error}") from error
    sys.stdout.write(
        f"{directory}: {encoder.dimensions} dimensions, {encoder.parameters / 1e6:.1f} M "
        f"parameters. `python -m services.trainer.publish_base {base} {directory}` publishes it.\n"
    )


if __name__ == "__main__":
    main()
