"""What people call the columns of texts and labels, in exports and public data sets."""

from __future__ import annotations

import re

# fmt: off
_TEXTS = frozenset({
    "text", "texts", "message", "messages", "msg", "sentence", "sentences", "utterance",
    "utterances", "comment", "comments", "review", "reviews", "body", "content", "description",
    "document", "example", "feedback", "input", "phrase", "post", "prompt", "query", "question",
    "request", "subject", "title", "tweet", "verbatim",
})
_LABELS = frozenset({
    "label", "labels", "class", "classes", "category", "categories", "intent", "intents",
    "sentiment", "tone", "target", "answer", "emotion", "group", "output", "rating", "score",
    "status", "tag", "tags", "topic", "topics", "type", "y",
})
# fmt: on
_SUFFIX = re.compile(r"[_\- ](name|id|text|column|field)$")


def plain(name: str) -> str:
    """Return `name` as it is compared: case, blanks around it and usual suffixes do not matter."""
    return _SUFFIX.sub("", name.strip().casefold())


def is_text_name(name: str) -> bool:
    """Tell whether texts are usually called so."""
    return plain(name) in _TEXTS


def is_label_name(name: str) -> bool:
    """Tell whether labels are usually called so."""
    return plain(name) in _LABELS


def words_of(name: str) -> list[str]:
    """Return the words that a name is made of."""
    return re.split(r"[_\-. ]+", name.strip().casefold())
