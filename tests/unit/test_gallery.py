import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.model import BatchRow, ItemRow, Output, Review
from pipeline.domain.preview_names import image_preview, output_preview
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


class PageParser(HTMLParser):
    """Collects the elements of a page, and its text outside of scripts and styles."""

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


def parsed(rows: Iterable[ItemRow], batch: BatchRow = A_BATCH) -> PageParser:
    parser = PageParser()
    parser.feed("".join(gallery_page.page(batch, rows)))
    parser.close()
    return parser


def an_item(item_id: str = "woman-1", content_type: str = "video/mp4", name: str = "0.mp4", **fields: str) -> ItemRow:
    output = Output(f"{FOLDER}items/{item_id}/{name}", content_type, 9, "ab")
    image = fields.get("image", f"{FOLDER}inputs/abc.jpg")
    return ItemRow(item_id, "succeeded", image, fields.get("prompt", "smile"), outputs=(output,))


def test_outputs_and_images_have_urls_relative_to_the_folder() -> None:
    page = parsed([an_item()])
    assert page.all("video")[0]["src"] == "items/woman-1/0.mp4"
    assert page.all("img")[0]["src"] == "inputs/abc.jpg"


def test_previews_that_are_in_the_folder_are_shown_and_lead_to_the_files() -> None:
    row = an_item()
    poster, thumbnail = output_preview(row.outputs[0]) or "", image_preview(row.image or "")
    page = PageParser()
    page.feed("".join(gallery_page.page(A_BATCH, [row], {poster, thumbnail})))
    (video,) = page.all("video")
    assert (video["poster"], video["preload"]) == (f"previews/{poster}", "none")
    assert page.all("img")[0]["src"] == f"previews/{thumbnail}"
    assert "inputs/abc.jpg" in [link.get("href") for link in page.all("a")]
    assert "poster" not in parsed([row]).all("video")[0]


def test_an_image_on_the_web_with_a_preview_is_shown_and_leads_to_its_url() -> None:
    url = "https://example.com/1.jpg?a=1&b=2"
    page = PageParser()
    page.feed("".join(gallery_page.page(A_BATCH, [an_item(image=url)], {image_preview(url)})))
    assert page.all("img")[0]["src"] == f"previews/{image_preview(url)}"
    (link,) = [link for link in page.all("a") if link.get("href") == url]
    assert link["rel"] == "noopener noreferrer"


def test_names_are_percent_encoded_in_urls() -> None:
    page = parsed([an_item("50% #1?")])
    assert page.all("video")[0]["src"] == "items/50%25%20%231%3F/0.mp4"


def test_the_gallery_loads_nothing_from_other_origins() -> None:
    page = parsed([an_item(image="https://example.com/1.jpg"), an_item(image="s3://other/2.jpg")])
    loaded = [a["src"] for tag in ("img", "video", "script", "iframe") for a in page.all(tag) if "src" in a]
    assert loaded == ["items/woman-1/0.mp4"] * 2
    assert not page.all("link")
    assert "s3://other/2.jpg" in page.texts


def test_an_image_on_the_web_is_a_link() -> None:
    page = parsed([an_item(image="https://example.com/1.jpg?a=1&b=2")])
    assert "https://example.com/1.jpg?a=1&b=2" in [a.get("href") for a in page.all("a")]


def test_only_web_urls_become_links() -> None:
    page = parsed([an_item(image="javascript:alert(1)")])
    assert not [a for a in page.all("a") if (a.get("href") or "").startswith("javascript")]


def test_image_outputs_are_shown_and_text_outputs_are_links() -> None:
    page = parsed([an_item("a", "image/png", "0.png"), an_item("b", "text/plain; charset=utf-8", "0.txt")])
    assert "items/a/0.png" in [a["src"] for a in page.all("img")]
    assert "items/b/0.txt" in [a.get("href") for a in page.all("a")]


def test_text_in_the_gallery_is_escaped() -> None:
    row = replace(an_item(), id="i", prompt=HOSTILE, error=HOSTILE, image=HOSTILE)
    page = parsed([row], replace(A_BATCH, name=HOSTILE, reason=HOSTILE))
    assert "".join(page.texts).count(HOSTILE) == 6  # title, heading, reason, image, prompt, error
    assert len(page.all("script")) == 1
    assert not [a for _, a in page.elements if "onerror" in a]


@given(st.text(max_size=60))
def test_no_text_changes_the_elements_of_the_page(text: str) -> None:
    plain = parsed([replace(an_item(), prompt="p", error="e")])
    with_text = parsed([replace(an_item(), prompt=f"p{text}", error=f"e{text}")])
    assert with_text.elements == plain.elements


def test_an_item_is_one_line() -> None:
    pieces = list(gallery_page.page(A_BATCH, [replace(an_item(), prompt="a\nb\r\nc", error="\n")]))
    (item,) = [piece for piece in pieces if piece.startswith("<li")]
    assert item.count("\n") == 1
    assert item.endswith("\n")


def test_the_error_and_the_attempts_are_shown() -> None:
    page = parsed([ItemRow("i", "failed", None, None, attempts=3, error="No person in the image.")])
    text = " ".join(page.texts)
    assert "No person in the image." in text
    assert "3 attempts" in text


def test_a_review_is_shown_with_its_note() -> None:
    page = parsed([replace(an_item(), review=Review("rejected", "Too <dark>."), take_of="woman-0")])
    text = " ".join(page.texts)
    assert "rejected" in text
    assert "Too <dark>." in text
    assert "another take of  woman-0" in text


def test_the_header_shows_counts_cost_and_time() -> None:
    text = " ".join(" ".join(parsed([]).texts).split())
    assert "3 items · $0.18 · 2026-01-02 03:04 UTC · duration 3 min 12 s" in text


def test_a_large_batch_shows_one_page_and_has_the_rest_as_inert_text() -> None:
    rows = [an_item(f"i{n}") for n in range(2 * gallery_page.PAGE_SIZE + 1)]
    page = "".join(gallery_page.page(replace(A_BATCH, total=len(rows)), iter(rows)))
    assert len(items_of(page)) == gallery_page.PAGE_SIZE
    waiting = re.findall(r'<script type="text/html">\n(.*?)</script>', page, re.DOTALL)
    assert [text.count("\n") for text in waiting] == [gallery_page.PAGE_SIZE, 1]
    assert re.findall(r"<bdi>(i\d+)</bdi>", page) == [row.id for row in rows]


def items_of(page: str) -> list[dict[str, str | None]]:
    parser = PageParser()
    parser.feed(page)
    return parser.all("li")


def test_the_page_is_streamed_with_the_rows() -> None:
    def rows() -> Iterable[ItemRow]:
        yield an_item()
        raise AssertionError("a row was read too early")

    pieces = gallery_page.page(A_BATCH, rows())
    assert any("woman-1" in next(pieces) for _ in range(3))


def test_only_the_own_script_and_style_are_allowed() -> None:
    (policy,) = [a["content"] or "" for a in parsed([]).all("meta") if a.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2
