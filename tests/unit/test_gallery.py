import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.model import BatchRow, ItemRow, Output, Review
from pipeline.gallery import gallery_page

FOLDER = "s3://bucket/takes/la-street/"
A_BATCH = BatchRow(
    id="la-street",
    name="la-street",
    model="m/n",
    status="partial",
    counts={"succeeded": 2, "failed": 1},
    total=3,
    cost_usd=Decimal("0.18"),
    created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    finished=datetime(2026, 1, 2, 3, 7, 17, tzinfo=UTC),
    output=FOLDER,
    trigger="cli",
)
HOSTILE = "<script>alert(1)</script>\"'&\n<img src=x onerror=y> \u202e🎬 مرحبا"


class Seen(HTMLParser):
    """The elements of a page, and its text outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._raw = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._raw = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, data: str) -> None:
        if not self._raw:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def seen(rows: Iterable[ItemRow], batch: BatchRow = A_BATCH) -> Seen:
    parser = Seen()
    parser.feed("".join(gallery_page.page(batch, rows)))
    parser.close()
    return parser


def a_take(item_id: str = "woman-1", content_type: str = "video/mp4", name: str = "0.mp4", **fields: str) -> ItemRow:
    output = Output(f"{FOLDER}items/{item_id}/{name}", content_type, 9, "ab")
    image = fields.get("image", f"{FOLDER}inputs/abc.jpg")
    return ItemRow(item_id, "succeeded", image, fields.get("prompt", "smile"), outputs=(output,))


def test_takes_and_pictures_are_named_relative_to_the_folder() -> None:
    page = seen([a_take()])
    assert page.all("video")[0]["src"] == "items/woman-1/0.mp4"
    assert page.all("img")[0]["src"] == "inputs/abc.jpg"


def test_names_are_percent_encoded_in_addresses() -> None:
    page = seen([a_take("50% #1?")])
    assert page.all("video")[0]["src"] == "items/50%25%20%231%3F/0.mp4"


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = seen([a_take(image="https://example.com/1.jpg"), a_take(image="s3://other/2.jpg")])
    loaded = [a["src"] for tag in ("img", "video", "script", "iframe") for a in page.all(tag) if "src" in a]
    assert loaded == ["items/woman-1/0.mp4"] * 2
    assert not page.all("link")
    assert "s3://other/2.jpg" in page.texts


def test_a_picture_on_the_web_is_a_link() -> None:
    page = seen([a_take(image="https://example.com/1.jpg?a=1&b=2")])
    assert "https://example.com/1.jpg?a=1&b=2" in [a.get("href") for a in page.all("a")]


def test_only_web_addresses_become_links() -> None:
    page = seen([a_take(image="javascript:alert(1)")])
    assert not [a for a in page.all("a") if (a.get("href") or "").startswith("javascript")]


def test_images_are_pictures_and_texts_are_links() -> None:
    page = seen([a_take("a", "image/png", "0.png"), a_take("b", "text/plain; charset=utf-8", "0.txt")])
    assert "items/a/0.png" in [a["src"] for a in page.all("img")]
    assert "items/b/0.txt" in [a.get("href") for a in page.all("a")]


def test_text_comes_out_as_text() -> None:
    row = replace(a_take(), id="i", prompt=HOSTILE, error=HOSTILE, image=HOSTILE)
    page = seen([row], replace(A_BATCH, name=HOSTILE, reason=HOSTILE))
    assert "".join(page.texts).count(HOSTILE) == 6  # title, heading, reason, picture, prompt, error
    assert len(page.all("script")) == 1
    assert not [a for _, a in page.elements if "onerror" in a]


@given(st.text(max_size=60))
def test_any_text_leaves_the_page_as_it_is(text: str) -> None:
    plain = seen([replace(a_take(), prompt="p", error="e")])
    odd = seen([replace(a_take(), prompt=f"p{text}", error=f"e{text}")])
    assert odd.elements == plain.elements


def test_an_item_is_one_line() -> None:
    pieces = list(gallery_page.page(A_BATCH, [replace(a_take(), prompt="a\nb\r\nc", error="\n")]))
    (item,) = [piece for piece in pieces if piece.startswith("<li")]
    assert item.count("\n") == 1
    assert item.endswith("\n")


def test_the_error_is_told_in_words() -> None:
    page = seen([ItemRow("i", "failed", None, None, attempts=3, error="No person in the picture.")])
    text = " ".join(page.texts)
    assert "No person in the picture." in text
    assert "3 attempts" in text


def test_a_verdict_is_shown_with_its_note() -> None:
    page = seen([replace(a_take(), review=Review("rejected", "Too <dark>."), take_of="woman-0")])
    text = " ".join(page.texts)
    assert "rejected" in text
    assert "Too <dark>." in text
    assert "another take of  woman-0" in text


def test_the_header_tells_counts_cost_and_time() -> None:
    text = " ".join(" ".join(seen([]).texts).split())
    assert "3 items · $0.18 · 2026-01-02 03:04 UTC · took 3 min 12 s" in text


def test_a_large_batch_shows_one_page_and_keeps_the_rest_as_text() -> None:
    rows = [a_take(f"i{n}") for n in range(2 * gallery_page.PAGE + 1)]
    page = "".join(gallery_page.page(replace(A_BATCH, total=len(rows)), iter(rows)))
    assert len(items_of(page)) == gallery_page.PAGE
    waiting = re.findall(r'<script type="text/html">\n(.*?)</script>', page, re.DOTALL)
    assert [text.count("\n") for text in waiting] == [gallery_page.PAGE, 1]
    assert re.findall(r"<bdi>(i\d+)</bdi>", page) == [row.id for row in rows]


def items_of(page: str) -> list[dict[str, str | None]]:
    parser = Seen()
    parser.feed(page)
    return parser.all("li")


def test_the_page_comes_as_the_rows_do() -> None:
    def rows() -> Iterable[ItemRow]:
        yield a_take()
        raise AssertionError("read ahead")

    pieces = gallery_page.page(A_BATCH, rows())
    assert any("woman-1" in next(pieces) for _ in range(3))


def test_only_its_own_script_and_style_may_run() -> None:
    (policy,) = [a["content"] or "" for a in seen([]).all("meta") if a.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2
