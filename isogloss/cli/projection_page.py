"""The map of a model as one HTML file: no script, nothing fetched, safe to mail.

Radio buttons and style sheets move the points and pick a label out.
"""

from __future__ import annotations

from html import escape

from isogloss import Projection
from isogloss.cli.safe import visible

_SIZE = 900
_MARGIN = 20
_GOLDEN_ANGLE = 137.508
# Hues this far apart keep neighbours in the list of labels apart, however many there are.

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff; }
main { display: flex; gap: 2rem; align-items: flex-start; flex-wrap: wrap; }
svg { width: min(900px, 95vw); height: auto; border: 1px solid #ddd; }
g { transition: transform 1.2s ease-in-out; transform: translate(var(--bx), var(--by)); }
body:has(#after:checked) g { transform: translate(var(--ax), var(--ay)); }
circle { stroke: #fff; stroke-width: .5; }
.wrong circle { stroke: #000; stroke-width: 1.5; }
fieldset { border: 0; padding: 0; margin: 0 0 1rem; }
.labels { max-height: 80vh; overflow: auto; }
.labels label { display: block; white-space: nowrap; }
.dot { display: inline-block; width: .8em; height: .8em; border-radius: 50%; }
"""


def page(projection: Projection) -> str:
    """Draw a map; texts of strangers are escaped."""
    colours = {
        label: f"hsl({number * _GOLDEN_ANGLE % 360:.0f} 65% 50%)"
        for number, label in enumerate(projection.labels)
    }
    classes = {label: f"l{number}" for number, label in enumerate(projection.labels)}
    places = [value for point in projection.points for value in (*point.before, *point.after)]
    reach = max((abs(value) for value in places), default=1.0) or 1.0

    def place(value: float) -> str:
        return f"{_SIZE / 2 + value / reach * (_SIZE / 2 - _MARGIN):.1f}px"

    points = []
    for point in projection.points:
        told = f"{', '.join(point.labels)}"
        wrong = point.labels != point.predicted
        if wrong:
            told += f" (taken for {', '.join(point.predicted) or 'nothing'})"
        first = point.labels[0] if point.labels else ""
        names = " ".join(
            [*(classes[label] for label in point.labels), *(["wrong"] if wrong else [])]
        )
        points.append(
            f'<g class="{names}" style="--bx:{place(point.before[0])};'
            f"--by:{place(-point.before[1])};--ax:{place(point.after[0])};"
            f'--ay:{place(-point.after[1])}"><circle r="4" fill="{colours.get(first, "#888")}">'
            f"<title>{_safe(told)}\n{_safe(point.text)}</title></circle></g>"
        )
    dimmed = "\n".join(
        f"body:has(#{name}:checked) g:not(.{name}) {{ opacity: .06; }}" for name in classes.values()
    )
    legend = "\n".join(
        f'<label><input type="radio" name="label" id="{classes[label]}"> <span class="dot" '
        f'style="background:{colours[label]}"></span> {_safe(label)}</label>'
        for label in projection.labels
    )
    title = _safe(projection.name)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{_STYLE}{dimmed}</style>
</head>
<body>
<h1>{title}</h1>
<p>{len(projection.points)} {projection.split} texts. Texts that are near in the embedding are near
on the map; how far apart groups lie means little. Of a text's neighbours on the map,
{100 * projection.before_trust:.0f} % can be trusted before and {100 * projection.after_trust:.0f} %
after training. Points with a black edge are classified wrong.</p>
<fieldset>
<label><input type="radio" name="when" id="before" checked> before training</label>
<label><input type="radio" name="when" id="after"> after training</label>
</fieldset>
<main>
<svg viewBox="0 0 {_SIZE} {_SIZE}">
{"".join(points)}
</svg>
<fieldset class="labels">
<label><input type="radio" name="label" id="all" checked> all labels</label>
{legend}
</fieldset>
</main>
</body>
</html>
"""


def _safe(text: str) -> str:
    return escape(visible(text))
