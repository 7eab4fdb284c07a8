from __future__ import annotations

import pytest
import typer

from isogloss import Hyperparameters, Preset
from isogloss.cli.hyperparameters import hyperparameters, named


def test_flags_and_settings_are_put_together() -> None:
    given = hyperparameters(
        ["class_balance=1", "max-steps=50", "preset=fast", "matryoshka_dimensions=64,128"],
        epochs=3,
        learning_rate=None,
    )

    assert given == Hyperparameters(
        epochs=3,
        class_balance=1.0,
        max_steps=50,
        preset=Preset.FAST,
        matryoshka_dimensions=(64, 128),
    )
    assert dict(named(given)) == {
        "preset": "fast",
        "epochs": "3",
        "max steps": "50",
        "class balance": "1",
        "matryoshka dimensions": "64,128",
    }


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["epochs"], "give NAME=VALUE with one of anchor_weight, average_decay"),
        (["epoch=3"], "give NAME=VALUE"),
        (["epochs=three"], "'three' is no whole number"),
        (["epochs=1.5"], "'1.5' is no whole number"),
        (["matryoshka_dimensions=64,"], "'64,' is no whole number"),
        (["dropout=much"], "'much' is no number"),
        (["seed=1"], "seed is given twice"),
        (["dropout=0", "dropout=0.1"], "dropout is given twice"),
        (["preset=quick"], "none of fast, balanced, thorough"),
        (["preset=unknown"], "none of fast, balanced, thorough"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(settings: list[str], says: str) -> None:
    with pytest.raises(typer.BadParameter, match=says):
        hyperparameters(settings, seed=0)
