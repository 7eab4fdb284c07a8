"""How good a model is: figures from probabilities, embeddings and labels, and what they advise.

Pure arithmetic, except `assessment`, which asks a model for its answers. Knows no service, no
store and no database; `stored` and `convert` say how a result is kept.
"""

from services.trainer.evaluation.geometry import neighbour_share
from services.trainer.evaluation.scores import Averages, Evaluation, evaluate, evaluate_sets

__all__ = ["Averages", "Evaluation", "evaluate", "evaluate_sets", "neighbour_share"]
