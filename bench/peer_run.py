"""One training by a peer, in the peers' own environment: `python peer_run.py FOLDER`.

Reads `FOLDER/task.json` and leaves `FOLDER/outcome.json` and `FOLDER/outcome.npz`. Imports nothing
of this project: its packages are not there.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from transformers import TrainerCallback

Answers = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""Probabilities and vectors, one row a text."""

Answer = Callable[[list[str]], Answers]

_BATCH = 64
_MAX_TOKENS = 256  # what all-MiniLM-L6-v2 was trained with


class Cap(TrainerCallback):
    """Stops a training when its time is over."""

    def __init__(self, seconds: float) -> None:
        """Keep how long it may take."""
        self.seconds = seconds
        self.reached = False

    def on_train_begin(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 (the library's)
        """Begin to count: what is loaded before is not training."""
        self.end = time.monotonic() + self.seconds

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002 (the library's)
        """Stop where the time is over."""
        if time.monotonic() >= self.end:
            self.reached = True
            control.should_training_stop = True


def setfit(task: dict[str, Any], cap: Cap) -> Answer:
    """SetFit as its documentation has it: 20 pairs a row, one pass, a logistic regression."""
    from datasets import Dataset  # type: ignore[import-not-found]  # noqa: PLC0415
    from setfit import SetFitModel, Trainer, TrainingArguments  # type: ignore[import-not-found]  # noqa: PLC0415

    model = SetFitModel.from_pretrained(task["base"])
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                num_iterations=20,
                seed=task["seed"],
                save_strategy="no",
                report_to="none",
                show_progress_bar=False,
            ),
            train_dataset=Dataset.from_dict({"text": task["texts"], "label": task["label_ids"]}),
            callbacks=[cap],
        )
        trainer.train()
    return lambda texts: (
        np.asarray(model.predict_proba(texts, as_numpy=True)),
        np.asarray(model.model_body.encode(texts, show_progress_bar=False)),
    )


def trainer(task: dict[str, Any], cap: Cap) -> Answer:
    """Train with the Hugging Face Trainer and its defaults, or for as many epochs as asked."""
    from transformers import (  # noqa: PLC0415
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(task["base"])
    model = AutoModelForSequenceClassification.from_pretrained(
        task["base"], num_labels=task["labels"]
    )
    read = tokenizer(task["texts"], truncation=True, max_length=_MAX_TOKENS)
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": label}
        for ids, mask, label in zip(
            read["input_ids"], read["attention_mask"], task["label_ids"], strict=True
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        chosen = {"num_train_epochs": task["epochs"]} if task["epochs"] else {}
        Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                seed=task["seed"],
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                **chosen,
            ),
            train_dataset=rows,  # any sequence of rows
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[cap],
        ).train()
    return partial(_answers, model.eval(), tokenizer)


def _answers(
    model: Any,  # noqa: ANN401 (any architecture)
    tokenizer: Any,  # noqa: ANN401 (any tokenizer)
    texts: list[str],
) -> Answers:
    """Return probabilities, and mean-pooled vectors of length 1 for neighbours."""
    probabilities, vectors = [], []
    for start in range(0, len(texts), _BATCH):
        read = tokenizer(
            texts[start : start + _BATCH],
            truncation=True,
            max_length=_MAX_TOKENS,
            padding=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            told = model(**read, output_hidden_states=True)
        mask = read["attention_mask"].unsqueeze(-1)
        total = (told.hidden_states[-1] * mask).sum(dim=1)
        probabilities.append(told.logits.softmax(dim=-1).numpy())
        vectors.append(torch.nn.functional.normalize(total, dim=-1).numpy())
    return np.concatenate(probabilities), np.concatenate(vectors)


METHODS = {"setfit": setfit, "trainer": trainer}


def main() -> None:
    """Train and answer."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text())
    torch.set_num_threads(task["threads"])
    cap = Cap(task["cap_seconds"])
    began, cpu = time.monotonic(), time.process_time()
    answer = METHODS[task["method"]](task, cap)
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu
    probabilities, vectors = answer(task["test_texts"])
    np.savez(folder / "outcome.npz", probabilities=probabilities, vectors=vectors)
    outcome = {"seconds": seconds, "cpu_seconds": cpu_seconds, "capped": cap.reached}
    (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
