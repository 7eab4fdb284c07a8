"""Measures texts: how long they are in tokens, how many are cut, which languages they are in.

Every text that could be over the token limit is counted; of the others a sample, drawn by a hash
of the text: the same rows in any order give the same figures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import py3langid

from services.ingest.checks import token_lengths
from services.ingest.dataset import Limits, Split, TokenStatistics
from services.ingest.finding import EXCERPT_LENGTH, Code, Finding, FindingWriter
from services.ingest.workbench import Workbench

_TOKEN_SAMPLE = 10_000
_LANGUAGE_SAMPLE = 2_000
_TOKEN_BATCH = 64
_UINT64 = 1 << 64

# Of a word or two, languages cannot be told.
_LANGUAGE_BYTES = 20
_LANGUAGE_CHARACTERS = 500
_MOST_LANGUAGES = 5
_LEAST_LANGUAGE_SHARE = 0.01

_MANY_UNKNOWN = 0.05
"""Share of unknown tokens from which it is warned about them."""

_TEXTS = """
SELECT split, line, row, text, strlen(text) > getvariable('surely_short') AS long, key
FROM remaining
WHERE strlen(text) > getvariable('surely_short') OR key <= getvariable('token_sample')::UBIGINT
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of the texts."""

    tokens: TokenStatistics | None = None
    """None where there are no texts."""

    languages: tuple[tuple[str, float], ...] = ()
    """ISO 639-1 code and share of the texts, most frequent first."""

    over_long: int = 0
    """Texts over the token limit."""

    findings: tuple[Finding, ...] = ()
    """Warnings about the dataset as a whole."""


def measure(bench: Workbench, *, limits: Limits, findings: FindingWriter) -> Measured:
    """Measure the texts of the view `remaining`.

    Args:
        bench: With that view: split, line, row, text, and key, an even hash of the text.
        limits: Says how many tokens are too many.
        findings: Told of each uploaded text that has more.
    """
    total: int = bench.value("SELECT count(*) FROM remaining")
    if not total:
        return Measured()
    bench.set(
        surely_short=limits.max_tokens - token_lengths.SPECIAL_TOKENS,
        token_sample=_threshold(_TOKEN_SAMPLE, total),
    )
    guessed = _threshold(_LANGUAGE_SAMPLE, total)
    lengths, languages = _Lengths(limits.max_tokens), Counter[str]()
    for rows in bench.batches(_TEXTS, _TOKEN_BATCH):
        counted = token_lengths.count_tokens(limits.max_tokens, [row[3] for row in rows])
        for (split, line, row, text, is_long, key), count in zip(rows, counted, strict=True):
            lengths.add(count, is_long=is_long)
            # Rows of a parent were told of when it was made.
            if count.tokens > limits.max_tokens and split < len(Split):
                findings.add(_over_long(limits.max_tokens, list(Split)[split], line, row, text))
            if key <= guessed and (language := _language(text)):
                languages[language] += 1
    tokens = lengths.statistics(total)
    return Measured(
        tokens=tokens,
        languages=_shares(languages),
        over_long=lengths.over_long,
        findings=tuple(_warnings(tokens, lengths.over_long, limits.max_tokens)),
    )


def _threshold(wanted: int, total: int) -> int:
    """Return the hash up to which about `wanted` of `total` texts lie."""
    return _UINT64 - 1 if wanted >= total else wanted * _UINT64 // total


@dataclass(slots=True)
class _Lengths:
    """Adds up lengths; those of short texts stand for all that were not drawn."""

    limit: int
    long: Counter[int] = field(default_factory=Counter)
    short: Counter[int] = field(default_factory=Counter)
    tokens: int = 0
    unknown: int = 0
    over_long: int = 0

    def add(self, count: token_lengths.TokenCount, *, is_long: bool) -> None:
        (self.long if is_long else self.short)[count.tokens] += 1
        self.tokens += count.tokens - token_lengths.SPECIAL_TOKENS
        self.unknown += count.unknown
        self.over_long += count.tokens > self.limit

    def statistics(self, total: int) -> TokenStatistics:
        long, short = self.long.total(), self.short.total()
        weight = (total - long) / short if short else 0.0
        lengths = sorted(self.long.keys() | self.short.keys())
        weights = [self.long[length] + weight * self.short[length] for length in lengths]
        return TokenStatistics(
            p50=_percentile(lengths, weights, 0.5),
            p95=_percentile(lengths, weights, 0.95),
            max=lengths[-1] if lengths else 0,
            histogram=_histogram(lengths, weights),
            counted_texts=long + short,
            sampled=long + short < total,
            truncated_share=self.over_long / total,
            unknown_share=self.unknown / self.tokens if self.tokens else 0.0,
        )


def _percentile(lengths: Sequence[int], weights: Sequence[float], share: float) -> int:
    """Return the least length that `share` of the texts do not exceed."""
    wanted = share * sum(weights)
    for length, sofar in zip(lengths, accumulate(weights), strict=True):
        # What is added up in another order differs in the last digits.
        if sofar >= wanted * (1 - 1e-9):
            return length
    return 0


def _histogram(lengths: Sequence[int], weights: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Return texts by the power of two that their lengths do not exceed, from 8 on."""
    bins: dict[int, float] = defaultdict(float)
    for length, weight in zip(lengths, weights, strict=True):
        bins[max(8, 1 << (length - 1).bit_length())] += weight
    most = max(bins, default=4)
    edges = [1 << power for power in range(3, most.bit_length())]
    return tuple((edge, round(bins[edge])) for edge in edges)


def _language(text: str) -> str:
    """Return the ISO 639-1 code of the language that `text` seems to be in, or ""."""
    if len(text.encode()) < _LANGUAGE_BYTES:
        return ""
    language: str = py3langid.classify(text[:_LANGUAGE_CHARACTERS])[0]
    return language if len(language) == 2 else ""  # noqa: PLR2004  # zxx: no language


def _shares(languages: Counter[str]) -> tuple[tuple[str, float], ...]:
    total = languages.total()
    ranked = sorted(languages.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        (language, count / total)
        for language, count in ranked[:_MOST_LANGUAGES]
        if count >= _LEAST_LANGUAGE_SHARE * total
    )


def _warnings(tokens: TokenStatistics, over_long: int, limit: int) -> Iterator[Finding]:
    if over_long:
        texts = "1 text has" if over_long == 1 else f"{over_long} texts have"
        yield Finding(
            code=Code.TOKEN_LIMIT,
            message=f"{texts} more than {limit} tokens; a model reads the beginning only.",
            fix="Shorten them, so that what decides the label stands in front.",
            count=over_long,
        )
    if tokens.unknown_share > _MANY_UNKNOWN:
        yield Finding(
            code=Code.UNKNOWN_TOKENS,
            message=f"Of the texts' words, {tokens.unknown_share:.0%} are unknown to the base "
            "`small`, which was made for English.",
            fix="Train on a base that knows their language; `isogloss models bases` shows them.",
        )


def _over_long(limit: int, split: Split, line: int, row: int, text: str) -> Finding:
    return Finding(
        code=Code.TOKEN_LIMIT,
        message=f"The text has more than {limit} tokens; a model reads its beginning only.",
        split=split,
        line=line,
        row=row,
        column="text",
        excerpt=text[:EXCERPT_LENGTH],
        fix="Shorten it, so that what decides the label stands in front.",
        count=1,
    )
