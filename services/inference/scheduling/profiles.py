"""What was learnt of each model that texts were computed with."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from services.inference.engine import EngineLimits
from services.inference.scheduling.cost import CostModel

# So many are kept; of others all is learnt anew.
_PROFILES = 256

# A batch may last this many times what a run costs by itself, also where that is longer
# than batches should be.
_TIMES_A_RUN = 8

# Special tokens of a text, about.
_FRAME_TOKENS = 2.0

# Weight of the latest texts in the mean of tokens per character.
_MEAN_WEIGHT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How large a batch may become; its first text is taken whatever its size."""

    texts: int
    padded_tokens: int
    seconds: float
    """As predicted: whoever comes next waits so long."""


@dataclass(slots=True, kw_only=True, eq=False)
class Profile:
    """One model with the outputs that it is asked for."""

    limits: EngineLimits
    cost: CostModel = field(default_factory=CostModel)
    running: int = 0
    """Batches under way."""
    tokens_per_character: float = 0.25

    @property
    def may_run(self) -> bool:
        """Whether its engine takes one more batch now."""
        return self.running < self.limits.runs

    def bounds(self, batch_seconds: float) -> Bounds:
        """Return how large a batch may become that should end within `batch_seconds`."""
        return Bounds(
            texts=self.limits.texts,
            padded_tokens=self.limits.padded_tokens,
            seconds=max(batch_seconds, _TIMES_A_RUN * self.cost.per_run),
        )

    def amortised(self, length: float, batch_seconds: float) -> float:
        """Return the seconds of a text where many of its length wait."""
        bounds = self.bounds(batch_seconds)
        own = self.cost.text_seconds(length)
        in_time = (bounds.seconds - self.cost.per_run) / own if own else bounds.texts
        texts = min(bounds.texts, bounds.padded_tokens / length, in_time)
        return own + self.cost.per_run / max(texts, 1.0)

    def expected_length(self, characters: float) -> float:
        """Return the tokens of a text of that many characters, about."""
        return characters * self.tokens_per_character + _FRAME_TOKENS

    def learn_length(self, *, characters: int, tokens: int, texts: int) -> None:
        """Take note of how many tokens some texts have together."""
        found = max(tokens - _FRAME_TOKENS * texts, 0.0) / max(characters, 1)
        self.tokens_per_character += _MEAN_WEIGHT * (found - self.tokens_per_character)


class Profiles:
    """The profiles of the models that were used last."""

    def __init__(self) -> None:
        """Begin with none."""
        self._profiles: OrderedDict[str, Profile] = OrderedDict()

    def of(self, model: str, limits: EngineLimits) -> Profile:
        """Return the profile of a model, a new one where there is none."""
        profile = self._profiles.get(model)
        if profile is None:
            profile = self._profiles[model] = Profile(limits=limits)
            if len(self._profiles) > _PROFILES:
                self._profiles.popitem(last=False)
        self._profiles.move_to_end(model)
        # The same graph may have been opened anew, by another engine.
        profile.limits = limits
        return profile
