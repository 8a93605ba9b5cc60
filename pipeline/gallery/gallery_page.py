"""The gallery of a batch: `index.html` beside the results. Pure.

The page works from the bucket or from a copy of the folder, without a server and without other origins. Each item is
one line of HTML. The first PAGE_SIZE items are elements, so that a small batch needs no script and prints completely.
The others are inert text; `assets/gallery.js` shows one page of it, so that a batch of 100,000 items opens quickly.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Container, Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from pipeline.domain import preview_names
from pipeline.domain.formatting import dollars, duration, pluralize, when
from pipeline.domain.model import BatchRow, ItemRow, Output
from pipeline.domain.states import ItemState
from pipeline.domain.wording import batch_words, item_words

FILE = "index.html"
CONTENT_TYPE = "text/html; charset=utf-8"
PAGE_SIZE = 200
"""Number of items per page."""
_SHARED = Path(__file__).parents[1] / "web" / "static"
"""Scripts and styles that the dashboard uses too."""
_OWN = Path(__file__).with_name("assets")
_FILES = ("results.json", "results.jsonl", "results.csv", "manifest.yaml")
_PAGER = """<nav aria-label="{name}" data-pager hidden>
<button type="button" data-turn="-1">Back</button> <button type="button" data-turn="1">Next</button>
</nav>
"""


def encoded(batch: BatchRow, rows: Iterable[ItemRow], previews: Container[str]) -> Iterator[bytes]:
    """Yield the page as UTF-8."""
    return (piece.encode("utf-8", "replace") for piece in page(batch, rows, previews))


def page(batch: BatchRow, rows: Iterable[ItemRow], previews: Container[str] = ()) -> Iterator[str]:
    """Yield the page in pieces of at most one item. Names, prompts and errors are escaped.

    `previews`: the names of those that are in the folder.
    """
    yield _head(batch)
    lines = (_item(batch.output, number, row, previews) for number, row in enumerate(rows, 1))
    yield f'<ol id="item-grid" class="item-grid" data-page-size="{PAGE_SIZE}">\n'
    yield from islice(lines, PAGE_SIZE)
    yield "</ol>\n" + _PAGER.format(name="Pages, below the items")
    if batch.total > PAGE_SIZE:
        notice = f"These are the first {PAGE_SIZE} of {batch.total:,} items. All items are in results.csv."
        yield f"<noscript><p>{notice}</p></noscript>\n"
    for line in lines:
        yield '<script type="text/html">\n'
        yield line
        yield from islice(lines, PAGE_SIZE - 1)
        yield "</script>\n"
    yield f"</main>\n<script>{_script()}</script>\n</body>\n</html>\n"


def _head(batch: BatchRow) -> str:
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file:; media-src 'self' file:; "
        f"script-src {_digest(_script())}; style-src {_digest(_style())}"
    )
    name, status = _text(batch.name), batch_words(batch.status, batch.counts)
    # Results are written at the end of the batch.
    files = _FILES if batch.finished else _FILES[-1:]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{name} · Dailies</title>
<style>{_style()}</style>
</head>
<body>
<header>
<p class="brand">Dailies</p>
<h1 dir="auto">{name}</h1>
<p class="line"><span class="chip {_text(batch.status)}">{_text(status)}</span> {_line(batch)}</p>
{f'<p class="error" dir="auto">{_text(batch.reason)}</p>' if batch.reason else ""}
<p class="counts">{"".join(_count(state, count) for state, count in _counts(batch))}</p>
<dl>
<div><dt>Batch</dt><dd><bdi>{_text(batch.id)}</bdi></dd></div>
<div><dt>Model</dt><dd><bdi>{_text(batch.model)}</bdi></dd></div>
<div><dt>Started by</dt><dd><bdi>{_text(batch.trigger)}</bdi></dd></div>
<div><dt>Files</dt><dd>{" ".join(f'<a href="{file}">{file}</a>' for file in files)}</dd></div>
</dl>
</header>
<main>
<div id="tools" hidden>
<div role="group" aria-label="Show items by state">
<button type="button" data-state="" aria-pressed="true">all <b>{batch.total:,}</b></button>
{"".join(_filter(state, count) for state, count in _counts(batch))}
</div>
<label>Find <input id="find" type="search" placeholder="in ids, prompts, errors" autocomplete="off"></label>
{_PAGER.format(name="Pages")}<p id="shown" role="status"></p>
</div>
"""


def _line(batch: BatchRow) -> str:
    parts = [pluralize(batch.total, "item"), dollars(batch.cost_usd), when(batch.created)]
    if batch.finished:
        parts.append(f"duration {duration(batch.working_s(batch.finished))}")
    return " · ".join(parts)


def _counts(batch: BatchRow) -> list[tuple[str, int]]:
    return [(state, batch.counts[state]) for state in ItemState if batch.counts.get(state)]


def _count(state: str, count: int) -> str:
    return f'<span class="count {state}"><b>{count:,}</b> {item_words(state)}</span>'


def _filter(state: str, count: int) -> str:
    attributes = f'type="button" class="{state}" data-state="{state}" aria-pressed="false"'
    return f"<button {attributes}>{item_words(state)} <b>{count:,}</b></button>"


def _item(folder: str, number: int, row: ItemRow, previews: Container[str]) -> str:
    """Return one item as one line: `gallery.js` splits the text by lines."""
    name, state = _text(row.id), _text(row.status)
    frames = [_input(folder, row, previews), *(_output(folder, row, output, previews) for output in row.outputs)]
    if not row.outputs:
        frames.append(
            f'<div class="frame no-media"><span class="status-stamp">{_text(item_words(row.status))}</span></div>'
        )
    parts = [
        f'<li class="item-card" data-state="{state}"><div class="card-media">',
        f'<p class="card-header"><b>{number}</b> <bdi>{name}</bdi></p>',
        f'<div class="frames">{"".join(frames)}</div></div>',
        f'<p class="prompt" dir="auto">{_text(row.prompt)}</p>' if row.prompt else "",
        f'<p class="facts">{_chips(row)}{_facts(row)}</p>',
        f'<p class="error" dir="auto">{_text(row.error)}</p>' if row.error else "",
        f'<p class="review" dir="auto">{_text(row.review.note)}</p>' if row.review and row.review.note else "",
        "</li>\n",
    ]
    return "".join(parts)


def _facts(row: ItemRow) -> str:
    parts = [dollars(row.cost_usd)]
    if row.elapsed_s is not None:
        parts.append(duration(row.elapsed_s))
    if row.attempts > 1:
        parts.append(pluralize(row.attempts, "attempt"))
    if row.take_of:
        parts.append(f"another take of <bdi>{_text(row.take_of)}</bdi>")
    return " · ".join(parts)


def _chips(row: ItemRow) -> str:
    mark = row.review.mark if row.review else None
    names = [name for name in (row.status, mark) if name]
    return "".join(f'<span class="chip {_text(name)}">{_text(item_words(name))}</span> ' for name in names)


def _preview(name: str | None, previews: Container[str]) -> str | None:
    """Return the relative URL of a preview, None if it is not in the folder."""
    return f"{preview_names.FOLDER}{name}" if name and name in previews else None


def _input(folder: str, row: ItemRow, previews: Container[str]) -> str:
    """Return the image if it is in the batch's folder, a link if it is a web URL, else its URI as text."""
    if row.image is None:
        return '<div class="frame no-media">no image</div>'
    address, path = _text(row.image), _relative_url(folder, row.image)
    link = f'href="{path or address}"' + ("" if path else ' rel="noopener noreferrer"')
    is_web = row.image.startswith(("https://", "http://"))
    shown = _preview(preview_names.image_preview(row.image), previews) or path
    if shown and (path or is_web):
        image = f'<img src="{shown}" alt="Image of {_text(row.id)}" loading="lazy" decoding="async">'
        return f'<a class="frame" {link}>{image}</a>'
    if is_web:
        address = f"<a {link}>{address}</a>"
    return f'<div class="frame no-media"><p class="address"><span>Image</span> <bdi>{address}</bdi></p></div>'


def _output(folder: str, row: ItemRow, output: Output, previews: Container[str]) -> str:
    path = _relative_url(folder, output.uri)
    name = _text(row.id)
    preview = _preview(preview_names.output_preview(output), previews)
    if path is None:
        return f'<div class="frame no-media"><p class="address"><bdi>{_text(output.uri)}</bdi></p></div>'
    if output.content_type.startswith("video/"):
        poster = f' poster="{preview}"' if preview else ""
        attributes = f"controls muted loop playsinline preload=none{poster}"
        return f'<div class="frame"><video src="{path}" {attributes} aria-label="Output of {name}"></video></div>'
    if output.content_type.startswith("image/"):
        image = f'<img src="{preview or path}" alt="Output of {name}" loading="lazy" decoding="async">'
        return f'<a class="frame" href="{path}">{image}</a>'
    if output.content_type.startswith("audio/"):
        audio = f'<audio src="{path}" controls preload=none aria-label="Output of {name}"></audio>'
        return f'<div class="frame no-media">{audio}</div>'
    kind = "text" if output.content_type.startswith("text/") else "file"
    return f'<div class="frame no-media"><a href="{path}">Open the {kind} of {name}</a></div>'


def _relative_url(folder: str, uri: str) -> str | None:
    """Return the relative, percent-encoded URL of an object in the batch's folder; None for any other object."""
    return quote(uri.removeprefix(folder)) if uri.startswith(folder) and uri != folder else None


def _text(text: str | None) -> str:
    """Return `text` as HTML on one line."""
    return html.escape(text or "").replace("\r", "&#13;").replace("\n", "&#10;")


@cache
def _script() -> str:
    return (_SHARED / "video_preview.js").read_text(encoding="utf-8") + (_OWN / "gallery.js").read_text(
        encoding="utf-8"
    )


@cache
def _style() -> str:
    return (_SHARED / "shared.css").read_text(encoding="utf-8") + (_OWN / "gallery.css").read_text(encoding="utf-8")


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
