"""Draws the same messages before and after fine-tuning, side by side.

Owns the picture only; it is handed vectors and knows no server.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from sklearn.manifold import TSNE

# Okabe and Ito's palette: told apart by readers with colour-blindness, too.
COLORS = ("#D55E00", "#999999", "#009E73", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "P", "X", "v", "*")


def flatten(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay vectors out on a plane so that neighbours stay neighbours.

    Args:
        vectors: Shape (n, dimension), each of length 1.

    Returns:
        Shape (n, 2), by t-SNE on cosine distance with a fixed seed (van der Maaten and
        Hinton, 2008, as scikit-learn has it).
    """
    perplexity = min(20.0, (len(vectors) - 1) / 3)
    tsne = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=0)
    placed: NDArray[np.float32] = tsne.fit_transform(vectors.astype(np.float64))
    return placed


def draw(
    path: Path,
    panels: Sequence[tuple[str, NDArray[np.float32]]],
    labels: Sequence[str],
    groups: Sequence[str],
) -> None:
    """Write one scatter a panel as SVG, coloured by label and marked by group.

    Args:
        path: Where to.
        panels: Title and vectors of shape (n, dimension), the same texts in each.
        labels: The label of each text.
        groups: What else divides the texts, such as their subject.
    """
    color = dict(zip(sorted(set(labels)), COLORS, strict=False))
    marker = dict(zip(sorted(set(groups)), MARKERS, strict=False))
    # Text stays text: it can be searched, and the file is small.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "isogloss"}):
        figure = Figure(figsize=(11, 5.4), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (title, vectors) in zip(axes, panels, strict=True):
            places = flatten(vectors)
            for place, label, group in zip(places, labels, groups, strict=True):
                axis.scatter(
                    *place, s=34, c=color[label], marker=marker[group],
                    linewidths=0.4, edgecolors="white",
                )  # fmt: skip
            axis.set_title(title)
            axis.set_xticks([])
            axis.set_yticks([])
        keys = [
            Line2D([], [], color=c, marker="o", linestyle="", label=name)
            for name, c in color.items()
        ]
        keys += [
            Line2D([], [], color="#444444", marker=m, linestyle="", label=name, fillstyle="none")
            for name, m in marker.items()
        ]
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False)
        figure.savefig(path, metadata={"Date": None})
