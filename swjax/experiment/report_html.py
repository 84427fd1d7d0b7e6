"""The pieces of a report page: escaped text, tables, inline drawings, numbers as words."""

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure


class Html(str):
    """Text that is HTML already; everything else is escaped on its way into a page."""


def text(value: object) -> Html:
    """A value as HTML."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, content: object = "", **attributes: object) -> Html:
    """An element; ``class_`` stands for ``class``.

    >>> tag("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    given = "".join(f' {k.rstrip("_")}="{escape(str(v))}"' for k, v in attributes.items())
    return Html(f"<{name}{given}>{text(content)}</{name}>")


def joined(parts: Iterable[object], between: str = "\n") -> Html:
    """Several pieces one after the other."""
    return Html(between.join(text(part) for part in parts))


def section(title: str, *content: object) -> Html:
    """A heading and what stands under it."""
    return tag("section", joined([tag("h2", title), *content]))


class Column(NamedTuple):
    """A column of a table: its heading and the class of its cells (``text`` for words)."""

    title: object
    kind: str = ""


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Html:
    """A table that scrolls sideways when the screen is narrow."""
    kinds = [{"class_": c.kind} if c.kind else {} for c in columns]
    cells = lambda name, row: joined(
        (tag(name, value, **kind) for value, kind in zip(row, kinds, strict=True)), ""
    )
    head = tag("thead", tag("tr", cells("th", [c.title for c in columns])))
    body = tag("tbody", joined(tag("tr", cells("td", row)) for row in rows))
    return tag("div", tag("table", joined([head, body])), class_="scroll")


def definitions(items: Mapping[str, object]) -> Html:
    """Terms and what they are."""
    pairs = (joined([tag("dt", k), tag("dd", v)], "") for k, v in items.items())
    return tag("dl", joined(pairs))


def drawing(figure: Figure, name: str, caption: object, description: str) -> Html:
    """A figure as inline SVG that refers to nothing outside, with ids of its own."""
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": name, "svg.image_inline": True}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    opening, rest = svg.split(">", 1)
    opening = re.sub(r'\s(width|height|xmlns(:xlink)?|version)="[^"]*"', "", opening)
    label = f' role="img" aria-label="{escape(description)}">'
    inner = tag("div", Html(opening + label + rest), class_="scroll")
    return tag("figure", joined([inner, tag("figcaption", caption)]), id=f"figure-{name}")


_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def page(**parts: object) -> str:
    """The whole page from its template."""
    template = files("swjax.experiment").joinpath("report_template.html").read_text("utf-8")
    return Template(template).substitute({k: text(v) for k, v in parts.items()})


# --- numbers ---


def number(value: float | int | None, digits: int = 3) -> str:
    """A number to a few significant digits, without a trailing exponent where it can be avoided.

    >>> number(0.04971), number(1234567.0), number(None), number(2.5e-7)
    ('0.0497', '1234567', '–', '2.5e-07')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 10**digits and abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def interval(low: float | int | None, high: float | int | None, digits: int = 2) -> str:
    """An interval whose ends show as many decimals as its width has meaning for.

    >>> interval(0.48512, 0.51234)
    '[0.485, 0.512]'
    >>> interval(None, 1.0)
    '–'
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "–"
    decimals = decimals_of(high - low, digits)
    return f"[{low:.{decimals}f}, {high:.{decimals}f}]"


def with_interval(
    estimate: float | int | None, low: float | int | None, high: float | int | None
) -> str:
    """An estimate with its interval, all to the same number of decimals.

    >>> with_interval(0.49719, 0.48512, 0.51234)
    '0.497 [0.485, 0.512]'
    """
    if estimate is None or low is None or high is None or math.isnan(high - low):
        return number(estimate)
    return f"{estimate:.{decimals_of(high - low)}f} {interval(low, high)}"


def decimals_of(width: float | int, digits: int = 2) -> int:
    """Decimals that show a width to so many significant digits."""
    if not width > 0 or math.isinf(width):
        return 3
    return min(max(0, digits - 1 - math.floor(math.log10(width))), 12)


def duration(seconds: float | int | None) -> str:
    """A time span in words.

    >>> duration(0.42), duration(75), duration(4000)
    ('0.4 s', '1 min 15 s', '1 h 6 min')
    """
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
