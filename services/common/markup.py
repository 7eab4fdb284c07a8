"""HTML to what a reader of the page would see. Knows no other cleaning.

A tag is one only by a name of HTML's own: `a < b`, `<3` and `<name>` are words. No tree is built,
as that takes more than linear time for markup that is nested or written to hurt: one expression
finds all that is markup, and never reads a character more than a few times.
"""

from __future__ import annotations

import re
from html import unescape
from html.entities import html5

_RAW = "script|style|template"
"""Elements whose content nobody reads."""

_BLOCK = (
    "address|article|aside|blockquote|body|br|caption|center|dd|details|dialog|dir|div|dl|dt|"
    "fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|legend|li|main|menu|nav|ol|"
    "optgroup|option|p|pre|section|select|summary|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul"
)
"""Elements that stand apart from the words beside them."""

_INLINE = (
    "a|abbr|acronym|area|audio|b|base|bdi|bdo|big|button|canvas|cite|code|col|colgroup|data|"
    "datalist|del|dfn|em|embed|font|i|iframe|img|input|ins|kbd|label|link|map|mark|meta|meter|"
    "nobr|noscript|object|output|param|picture|progress|q|rp|rt|ruby|s|samp|small|source|span|"
    "strike|strong|sub|sup|svg|time|track|tt|u|var|video|wbr|(?:o|v|w|x|m|st1):\\w+"
)
"""Elements inside a line; those with a colon are what Word and Outlook write."""

# Quoted values may hold `>`. No part reads past the next `<`, a quote without its partner is
# the last of its kind before it: so each character is read three times at most.
_REST = r"""(?=[\s/>])(?:(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+>|[^<>]*+>)"""

# What is not closed reaches to the end, as in a browser; that it always ends somewhere is what
# keeps the search linear.
_MARKUP = re.compile(
    rf"<!--.*?(?:-->|\Z)"
    rf"|<(?P<raw>{_RAW}){_REST}.*?(?:</(?P=raw)\s*+>|\Z)"
    rf"|<(?P<apart>/?(?:{_BLOCK})){_REST}"
    rf"|</?(?:{_INLINE}|{_RAW}){_REST}"
    rf"|<(?:!doctype\b|!\[|\?xml\b)[^<>]*+>"
    rf"|&(?P<entity>\#[0-9]{{1,7}}|\#x[0-9a-f]{{1,6}}|[a-z][a-z0-9]{{1,31}});",
    re.IGNORECASE | re.DOTALL,
)
# Mail that went through several systems has `&amp;amp;`.
_ESCAPED_TWICE = re.compile(r"&(?:amp;|#0{0,5}38;|#x0{0,4}26;)++", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\n\r\f\xa0]+")


def strip_markup(text: str) -> str:
    """Return `text` without tags, comments and scripts, its entities as characters.

    Where it holds any, runs of blanks become one, as on a page. What was escaped may be markup
    in its turn: the caller asks again.
    """
    read = _MARKUP.sub(_seen, _ESCAPED_TWICE.sub("&", text) if "&" in text else text)
    return text if read == text else _SPACES.sub(" ", read)


def _seen(match: re.Match[str]) -> str:
    """Return what a reader sees of a piece of markup."""
    entity = match["entity"]
    if entity is None:
        return " " if match["apart"] or match["raw"] else ""
    if entity.startswith("#"):
        return unescape(match[0])
    return html5.get(f"{entity};", match[0])
