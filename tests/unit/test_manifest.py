from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.model import Item, Limits, Manifest
from pipeline.errors import InvalidManifest, StorageError
from pipeline.manifest import parser as manifests
from pipeline.manifest.parser import MAX_ITEMS, derived_id, dump
from pipeline.manifest.values import MAX_PARAMS, MAX_PROMPT
from pipeline.manifest.yaml.decoder import BAD_TEXT

HEAD = "version: 1\nname: m\n"
ONE = "items: [{id: a, prompt: x}]\n"


def parse(text: str | bytes, rows: dict[str, bytes] | None = None, folder: Path | None = None) -> Manifest:
    data = text.encode() if isinstance(text, str) else text
    return manifests.parse(data, file="m.yaml", read_rows=(rows or {}).__getitem__, local_files=folder)


def problems_found(text: str | bytes, rows: dict[str, bytes] | None = None, folder: Path | None = None) -> list[str]:
    with pytest.raises(InvalidManifest) as caught:
        parse(text, rows, folder)
    return [str(problem) for problem in caught.value.problems]


def mistake(text: str | bytes, **more: Any) -> str:
    (only,) = problems_found(text, **more)
    return only


def an_item(item: str, **more: Any) -> Item:
    return parse(f"{HEAD}items:\n  - {item}\n", **more).items[0]


WHOLE = """\
version: 1
name: la-street
model: owner/model-1.5
output: s3://bucket/prefix
image_field: inputImage
params: {resolution: 1080p, ratio: 16:9, seed: 7, loop: no}
limits: {max_active: 10, budget_usd: 25.00, attempts: 5, tolerated_failures: 10%, deadline: 2h}
notify: https://example.com/hook
items:
  - {id: 007, image: "https://e.com/1.jpg", prompt: "A street", params: {seed: 1, tags: [a, {b: null}]}}
  - {image: s3://bucket/faces/2 ü.jpg}
  - {prompt: 1984, image: }
matrix: {images: [https://e.com/a.jpg, http://e.com/b.jpg], prompts: [one, "two\\n"]}
items_from: rows.csv
"""


def test_a_manifest_is_expanded_and_every_default_filled_in() -> None:
    manifest = parse(WHOLE, {"rows.csv": b'id,image,prompt,seed\nr1,https://e.com/r.jpg,"x, y",007\n,,z,\n'})
    ids = [item.id for item in manifest.items]
    assert manifest == Manifest(
        name="la-street",
        model="owner/model-1.5",
        output="s3://bucket/prefix/",
        image_field="inputImage",
        params={"resolution": "1080p", "ratio": "16:9", "seed": 7, "loop": False},
        limits=Limits(10, Decimal("25.00"), 5, "10%", 7200.0),
        notify="https://example.com/hook",
        items=(
            Item("007", "https://e.com/1.jpg", "A street", {"seed": 1, "tags": ["a", {"b": None}]}),
            Item(ids[1], "s3://bucket/faces/2 ü.jpg", None),
            Item(ids[2], None, "1984"),
            Item(ids[3], "https://e.com/a.jpg", "one"),
            Item(ids[4], "https://e.com/a.jpg", "two\n"),
            Item(ids[5], "http://e.com/b.jpg", "one"),
            Item(ids[6], "http://e.com/b.jpg", "two\n"),
            Item("r1", "https://e.com/r.jpg", "x, y", {"seed": "007"}),
            Item(ids[8], None, "z"),
        ),
    )
    assert manifest.limits.budget_usd is not None and str(manifest.limits.budget_usd) == "25.00"


def test_a_manifest_may_be_as_short_as_this() -> None:
    manifest = parse(HEAD + ONE)
    assert (manifest.model, manifest.image_field) == ("minimax/image-to-video-hailuo-01-subject", "inputImageFirst")
    assert (manifest.output, manifest.notify, manifest.params) == (None, None, {})
    assert manifest.limits == Limits()


def test_a_key_without_a_value_is_one_that_is_not_given() -> None:
    empty = "model:\noutput:\nimage_field:\nparams:\nlimits:\nnotify:\nmatrix:\nitems_from:\n"
    assert parse(HEAD + empty + ONE) == parse(HEAD + ONE)


def test_json_is_a_manifest_too() -> None:
    document = {"version": 1, "name": "m", "items": [{"id": 7, "prompt": "😀"}], "limits": {"budget_usd": 2.5}}
    for text in (json.dumps(document), json.dumps(document, ensure_ascii=False, indent=2)):
        manifest = parse(text)
        assert manifest.items == (Item("7", None, "😀"),)
        assert manifest.limits.budget_usd == Decimal("2.5")


def test_an_id_is_derived_from_the_content_and_equal_content_is_so_many_takes() -> None:
    item = "{image: 'https://e.com/1.jpg', prompt: x, params: {b: 1, a: 2}}"
    content = derived_id("https://e.com/1.jpg", "x", {"a": 2, "b": 1})
    items = parse(f"{HEAD}items:\n- {item}\n- {item}\n- {{id: {content}-3, prompt: y}}\n- {item}\n").items
    assert [entry.id for entry in items] == [content, f"{content}-2", f"{content}-3", f"{content}-4"]
    assert len(content) == 12


def test_aliases_and_merges_save_writing() -> None:
    manifest = parse(
        f"{HEAD}items:\n- &one {{image: https://e.com/1.jpg, prompt: &p a walk, params: &s {{seed: 1}}}}\n"
        "- {image: https://e.com/2.jpg, prompt: *p, params: *s}\n- {<<: *one, prompt: a run}\n"
    )
    assert [(item.image, item.prompt, item.params) for item in manifest.items] == [
        ("https://e.com/1.jpg", "a walk", {"seed": 1}),
        ("https://e.com/2.jpg", "a walk", {"seed": 1}),
        ("https://e.com/1.jpg", "a run", {"seed": 1}),
    ]


WRONG = """\
version: 2
name: LA Street
model: hailuo
prams: {}
limits: {max_active: 0, budget_usd: -1, attempts: 99, tolerated_failures: some, deadline: 2 hours}
notify: http://example.com/hook
params:
  projectid: 5
items:
  - {id: a, image: https://e.com/1.jpg, prompt: "x"}
  - {id: ../b, image: ftp://e.com/1.jpg, prompt: "x"}
  - id: a
    imge: https://e.com/1.jpg
    prompt: x
    params:
      seed: .nan
      callbackUrl: y
  - {id: c, params: {a: 1}}
  - just text
  - {id: d, id: e, image: "https://u:p@e.com/", prompt: "\\x07"}
items_from: more.csv
"""


def test_all_mistakes_are_told_at_once_with_their_places() -> None:
    rows = {"more.csv": b"prompt,image\nx\ny,ftp://e.com/2.jpg\nz,\n"}
    assert [message[:44] for message in problems_found(WRONG, rows)] == [
        "m.yaml:1:10: version must be 1, the only ver",
        "m.yaml:2:7: name must be up to 63 lower-case",
        "m.yaml:3:8: model must be owner/model, as in",
        "m.yaml:4:1: unknown key 'prams': did you mea",
        "m.yaml:5:22: limits.max_active must be at le",
        "m.yaml:5:37: limits.budget_usd must be US do",
        "m.yaml:5:51: limits.attempts must be at most",
        "m.yaml:5:75: limits.tolerated_failures must ",
        "m.yaml:5:91: limits.deadline must be a time ",
        "m.yaml:6:9: notify must be https:// (http://",
        "m.yaml:8:3: params.projectid cannot be a par",
        "m.yaml:11:10: id must be up to 128 letters, ",
        "m.yaml:11:23: image must be an https:// or s",
        "m.yaml:12:9: the id 'a' is taken by m.yaml:1",
        "m.yaml:13:5: unknown key 'imge': did you mea",
        "m.yaml:16:13: '.nan' is a number that cannot",
        "m.yaml:17:7: params.callbackUrl cannot be a ",
        "m.yaml:18:5: this needs an image, a prompt o",
        "m.yaml:19:5: this must be a mapping (key: va",
        "m.yaml:20:13: 'id' is here twice: keep one",
        "m.yaml:20:27: image must be an address witho",
        "m.yaml:20:57: text has no control characters",
        "more.csv:2:1: there are 1 cells where the he",
        "more.csv:3:1: image must be an https:// or s",
    ]


def test_what_follows_from_another_mistake_is_not_told_as_one_more() -> None:
    assert mistake(HEAD + "items: 5\n") == "m.yaml:3:8: items must be a list, not 5"
    assert mistake(HEAD + "matrix: {images: [https://e.com/1.jpg]}\n") == "m.yaml:3:9: matrix.prompts is missing"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("model: a/b/c", "m.yaml:3:8: model must be owner/model"),
        ("model: ../x", "m.yaml:3:8: model must be owner/model"),
        ("output: /tmp/out", "m.yaml:3:9: output must be s3://bucket/prefix/"),
        ("output: https://b/p/", "m.yaml:3:9: output must be s3://bucket/prefix/"),
        ("output: s3://bucket/a/../b/", "m.yaml:3:9: output must be s3://bucket/prefix/"),
        ("output: s3://bucket//b/", "m.yaml:3:9: output must be s3://bucket/prefix/"),
        ("output: 's3://bucket/a\\n/'", "m.yaml:3:9: output must be s3://bucket/prefix/"),
        ("limits: {budget_usd: 0}", "m.yaml:3:22: limits.budget_usd must be US dollars above 0"),
        ("limits: {budget_usd: 1e3}", "m.yaml:3:22: limits.budget_usd must be US dollars above 0"),
        ("limits: {budget_usd: NaN}", "m.yaml:3:22: limits.budget_usd must be US dollars above 0"),
        ("limits: {budget_usd: yes}", "m.yaml:3:22: limits.budget_usd must be US dollars above 0"),
        ("limits: {budget_usd: '1.0000000000001'}", "m.yaml:3:22: limits.budget_usd must be US dollars above 0"),
        ("limits: {attempts: 0}", "m.yaml:3:20: limits.attempts must be at least 1, not 0"),
        ("limits: {attempts: '3'}", "m.yaml:3:20: limits.attempts must be a whole number, not '3'"),
        ("limits: {attempts: yes}", "m.yaml:3:20: limits.attempts must be a whole number, not true"),
        ("limits: {max_active: 1.5}", "m.yaml:3:22: limits.max_active must be a whole number, not 1.5"),
        ("limits: {deadline: 0h}", "m.yaml:3:20: limits.deadline must be a time such as 90s, 30m, 2h or 1d"),
        ("limits: {deadline: 90}", "m.yaml:3:20: limits.deadline must be a time such as 90s, 30m, 2h or 1d"),
        ("limits: {deadline: 367d}", "m.yaml:3:20: limits.deadline must be a time such as 90s, 30m, 2h or 1d"),
        ("limits: {tolerated_failures: 101%}", "m.yaml:3:30: limits.tolerated_failures must be a number of items"),
        ("limits: {tolerated_failures: -1}", "m.yaml:3:30: limits.tolerated_failures must be a number of items"),
        ("limits: {budget: 5}", "m.yaml:3:10: unknown key 'budget' in limits: did you mean 'budget_usd'?"),
        ("limits: []", "m.yaml:3:9: limits must be a mapping (key: value), not a list of 0"),
        ("notify: ftp://e.com", "m.yaml:3:9: notify must be an address such as https://"),
        ("notify: https://me:secret@e.com/", "m.yaml:3:9: notify must be an address without user name and password"),
        ("image_field: prompt", "m.yaml:3:14: image_field must be the model's field for an image"),
        ("image_field: a b", "m.yaml:3:14: image_field must be the name of a field"),
        ("params: {prompt: x}", "m.yaml:3:10: params.prompt cannot be a param: write it as `prompt:` of the item"),
        ("params: {inputImageFirst: x}", "m.yaml:3:10: params.inputImageFirst cannot be a param: write the image"),
        ("params: {inputImageFirstUrl: x}", "m.yaml:3:10: params.inputImageFirstUrl cannot be a param: write the"),
        ("params: {'': x}", "m.yaml:3:10: params. cannot be a param's name"),
        ("params: {a: .inf}", "m.yaml:3:13: '.inf' is a number that cannot be used"),
        (f"params: {{a: {'[' * 9}{']' * 9}}}", "m.yaml:3:13: params.a is nested too deeply: at most 8 levels"),
        (f"params: {{a: {'x' * MAX_PARAMS}}}", "m.yaml:3:9: params are too long: at most 16,384 characters as JSON"),
        ("zz: 1", "m.yaml:3:1: unknown key 'zz': there are version, name, model"),
        ("matrix: {images: [], prompts: [x]}", "m.yaml:3:18: matrix.images must not be empty"),
        ("matrix: {images: [''], prompts: [x]}", "m.yaml:3:19: this must not be empty"),
        ("items_from: rows.txt", "m.yaml:3:13: items_from must be a file or s3:// object that ends in .csv or .jsonl"),
        ("items_from: /rows.csv", "m.yaml:3:13: items_from must be a file in the manifest's folder or below it"),
        ("items_from: ../rows.csv", "m.yaml:3:13: items_from must be a file in the manifest's folder or below it"),
        ("items_from: https://e.com/rows.csv", "m.yaml:3:13: items_from must be a file beside the manifest"),
    ],
)
def test_what_is_wrong_at_the_top_is_told_with_what_would_be_right(line: str, told: str) -> None:
    assert mistake(f"{HEAD}{line}\n{ONE}").startswith(told)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("{id: a/b, prompt: x}", ":10: id must be up to 128 letters, digits"),
        ("{id: .a, prompt: x}", ":10: id must be up to 128 letters, digits"),
        ("{id: a..b, prompt: x}", ":10: id must be up to 128 letters, digits"),
        ("{id: a b, prompt: x}", ":10: id must be up to 128 letters, digits"),
        ("{id: é, prompt: x}", ":10: id must be up to 128 letters, digits"),
        ('{id: "a\\n", prompt: x}', ":10: id must be up to 128 letters, digits"),
        (f"{{id: {'a' * 129}, prompt: x}}", ":10: id must be up to 128 letters, digits"),
        ("{image: 'https://e.com/a b.jpg'}", ":13: image must be an address such as https://example.com/1.jpg"),
        ("{image: 'https:///a.jpg'}", ":13: image must be an address such as https://example.com/1.jpg"),
        ("{image: 'https://e.com:x/a.jpg'}", ":13: image must be an address such as https://example.com/1.jpg"),
        (f"{{image: 'https://e.com/{'a' * 2048}'}}", ":13: image must have at most 2048 characters"),
        ("{image: 'https://u@e.com/a.jpg'}", ":13: image must be an address without user name"),
        ("{image: s3://bucket/../other/a.jpg}", ":13: image must be s3://bucket/key"),
        ("{image: s3://bucket/a/..}", ":13: image must be s3://bucket/key"),
        ("{image: s3://b/}", ":13: image must be s3://bucket/key"),
        ("{image: 'file:///etc/passwd'}", ":13: image must be an https:// or s3:// address"),
        ("{image: 'data:image/png;base64,AAAA'}", ":13: image must be an https:// or s3:// address"),
        ("{image: a.jpg}", ":13: image must be an https:// or s3:// address: only `dailies submit` sends files"),
        (f"{{prompt: {'x' * (MAX_PROMPT + 1)}}}", ":14: prompt must have at most 20,000 characters, not"),
        ("{prompt: [x]}", ":14: prompt must be text, not a list of 1"),
        ("{prompt: x, params: [1]}", ":25: params must be a mapping (key: value), not a list of 1"),
        ("{prompt: '', image: ''}", ":5: this needs an image, a prompt or both"),
        ("{prompt: x, promt: y}", ":17: unknown key 'promt': did you mean 'prompt'?"),
    ],
)
def test_what_is_wrong_with_an_item_is_told_with_what_would_be_right(item: str, told: str) -> None:
    assert mistake(f"{HEAD}items:\n  - {item}\n").startswith(f"m.yaml:4{told}")


@pytest.mark.parametrize("text", ["", "items: []\n", "items:\n", "items: []\nmatrix:\n"])
def test_without_items_there_is_no_batch(text: str) -> None:
    assert "there are no items: give `items:`, `matrix:` or `items_from:`" in mistake(HEAD + text)


def test_the_first_of_two_equal_ids_is_named_wherever_it_is() -> None:
    rows = {"rows.csv": b"id,prompt\nb,x\n1,y\n"}
    text = '{"version": 1, "name": "m", "items_from": "rows.csv", "items": [\n{"id": 1, "prompt": "x"}]}'
    assert problems_found(text, rows) == ["rows.csv:3:1: the id '1' is taken by m.yaml:2"]


def test_a_batch_has_no_end_of_items() -> None:
    pairs = "matrix: {images: [" + "s3://bucket/a, " * 500 + "], prompts: [" + "x, " * 500 + "]}\n"
    assert "more than 200,000 items" in mistake(HEAD + pairs)
    pluralize = "items: [" + "{prompt: x}, " * (MAX_ITEMS + 1) + "]\n"
    assert "more than 200,000 items" in mistake(HEAD + pluralize)


def test_a_manifest_that_is_too_long_when_written_out_is_refused() -> None:
    prompts = json.dumps(["x" * MAX_PROMPT] * 200)
    images = json.dumps(["s3://bucket/a"] * 200)
    assert "with all its items written out" in mistake(f"{HEAD}matrix: {{images: {images}, prompts: {prompts}}}\n")


def test_so_many_mistakes_are_told_and_no_more() -> None:
    for text in ("items:\n" + "- {id: a, prompt: x}\n" * 3000, "items:\n" + "- {id: /, iamge: x}\n" * 3000):
        told = problems_found(HEAD + text)
        assert len(told) == 1001 or len(told) == 1000
    assert "there are more mistakes" in told[-1]


@pytest.mark.parametrize("text", ["", "5", "- 1", "null", "just text"])
def test_what_is_no_mapping_is_no_manifest(text: str) -> None:
    assert len(problems_found(text)) == 1


def test_files_are_looked_for_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces/1.JPG").write_bytes(b"picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_bytes(b"no picture")
    (tmp_path / "link.jpg").symlink_to("/etc/passwd")
    (tmp_path / "dir.jpg").mkdir()
    assert an_item("{image: faces/1.JPG}", folder=tmp_path).image == "faces/1.JPG"
    for name, told in {
        "faces/2.jpg": "image is a file that is not there",
        "dir.jpg": "image is a file that is not there",
        "empty.png": "image is an empty file",
        "notes.txt": "image must be a file that ends in .jpg, .jpeg, .png, .webp, .gif, .bmp or .avif",
        "link.jpg": "image must be a file in the manifest's folder or below it; 'link.jpg' is a link out of it",
        "../x.jpg": "image must be a file in the manifest's folder or below it",
        f"{tmp_path}/faces/1.JPG": "image must be a file in the manifest's folder or below it",
        "a\\b.jpg": "image must be a file in the manifest's folder or below it",
        f"{'a' * 300}.jpg": "image is a file that",
    }.items():
        assert told in mistake(f"{HEAD}items: [{{image: '{name}'}}]\n", folder=tmp_path)


def test_rows_are_looked_for_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt\nx\n")
    (tmp_path / "out.csv").symlink_to("/etc/passwd")
    rows = {"rows.csv": (tmp_path / "rows.csv").read_bytes()}
    assert parse(HEAD + "items_from: rows.csv\n", rows, tmp_path).items[0].prompt == "x"
    assert "is a link out of it" in mistake(HEAD + "items_from: out.csv\n", folder=tmp_path)
    assert "is a file that is not there" in mistake(HEAD + "items_from: no.csv\n", folder=tmp_path)


def test_rows_that_cannot_be_read_are_a_mistake_unless_it_may_pass() -> None:
    def read(reference: str) -> bytes:
        raise StorageError(f"There is no object {reference}.", retryable="later" in reference)

    for reference in ("s3://bucket/rows.csv", "s3://bucket/later.csv"):
        text = f"{HEAD}items_from: {reference}\n".encode()
        with pytest.raises(StorageError if "later" in reference else InvalidManifest, match="There is no object"):
            manifests.parse(text, file="m.yaml", read_rows=read, local_files=None)


def a_row(name: str, text: str | bytes) -> Item:
    data = text.encode() if isinstance(text, str) else text
    return parse(f"{HEAD}items_from: {name}\n", {name: data}).items[0]


def test_rows_of_csv_are_items() -> None:
    assert a_row("s3://bucket/r.csv", 'id, seed ,prompt\r\n7,1.50,"two\r\nlines, ""here"""\r\n') == Item(
        "7", None, 'two\r\nlines, "here"', {"seed": "1.50"}
    )
    assert a_row("r.csv", "\ufeffprompt,id\n\nx,\n").prompt == "x"


def test_rows_of_jsonl_are_items() -> None:
    row = {"id": 7, "prompt": "x", "seed": 1, "params": {"ratio": "16:9"}, "image": None}
    assert a_row("r.jsonl", f"\n{json.dumps(row)}\n\n") == Item("7", None, "x", {"ratio": "16:9", "seed": 1})


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("r.csv", "", "r.csv:1:1: there is nothing here"),
        ("r.csv", "id;image;prompt\n1;a;b\n", "r.csv:1:1: columns are separated by commas"),
        ("r.csv", "a,b\n1,2\n", "r.csv:1:1: there is no column image or prompt"),
        ("r.csv", "prompt,Prompt\nx,y\n", "r.csv:1:1: the column 'Prompt' is written prompt"),
        ("r.csv", "prompt,prompt\nx,y\n", "r.csv:1:1: the column 'prompt' is here twice"),
        ("r.csv", "prompt,callbackUrl\nx,y\n", "r.csv:1:1: the column 'callbackUrl' cannot be a param"),
        ("r.csv", "prompt,\nx,y\n", "r.csv:1:1: the column '' cannot be a param's name"),
        ("r.csv", "prompt,params\nx,y\n", "r.csv:1:1: 'params' is no column"),
        ("r.csv", 'prompt,a\n"x\ny",1\nz\n', "r.csv:4:1: there are 1 cells where the header has 2"),
        ("r.csv", 'prompt\nx\n"y\n', "r.csv:3:1: not CSV: unexpected end of data"),
        ("r.csv", "prompt\nx\n\x07\n", "r.csv:3:1: text has no control characters"),
        ("r.csv", b"prompt\nx\n\xff\n", "r.csv:3:1: byte 9 is no UTF-8"),
        ("r.csv", "prompt,image\nx,\n,\n,ftp://e\n", "r.csv:4:1: image must be an https:// or s3:// address"),
        ("r.csv", "prompt\n", "m.yaml:3:13: items_from has no rows below its header"),
        ("r.jsonl", '{"prompt": "x"}\n[1]\n', "r.jsonl:2:1: a line must be an object"),
        ("r.jsonl", '{"prompt": "x"}\n{"prompt": }}\n', "r.jsonl:2:13: not JSON"),
        ("r.jsonl", '{"prompt": "x"}\n{"prompt": "y", "a": NaN}\n', "r.jsonl:2:22: 'NaN' is a number"),
        ("r.jsonl", '{"prompt": "x", "prompt": "y"}\n', "r.jsonl:1:17: 'prompt' is here twice"),
        ("r.jsonl", '{"prompt": "x", "a": 1, "params": {"a": 2}}\n', "r.jsonl:1:17: the param 'a' is here twice"),
        ("r.jsonl", '{"prompt": "x", "params": 5}\n', "r.jsonl:1:27: params must be an object"),
        ("r.jsonl", '{"prompt": "x", "projectid": 5}\n', "r.jsonl:1:1: params.projectid cannot be a param"),
        ("r.jsonl", '{"prompt": "\\ud800"}\n', "r.jsonl:1:15: not JSON"),
    ],
)
def test_what_is_wrong_in_rows_is_told_with_their_lines(name: str, text: str | bytes, told: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    first, *others = problems_found(f"{HEAD}items_from: {name}\n", {name: data})
    assert first.startswith(told)
    assert others == []


def test_rows_have_an_end() -> None:
    rows = {"r.csv": b"prompt\n" + b"x\n" * (MAX_ITEMS + 10)}
    assert "more than 200,000 items" in mistake(HEAD + "items_from: r.csv\n", rows=rows)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{HEAD}items:\n- prompt: {'x' * 10_000_000}\n", "prompt must have at most 20,000 characters"),
        (f"{HEAD}items: [{'a, ' * 2_000_000}]\n", "this list has more than 250,000 entries"),
        (HEAD + "".join(f"k{i}: 1\n" for i in range(100_000)), "this mapping has more than 256 keys"),
        (json.dumps({"items": [dict.fromkeys(map(str, range(1000)))]}), "this mapping has more than 256 keys"),
        (f"{HEAD}matrix: {{prompts: [x], images: [{'a, ' * 150_000}]}}\n", "this must be an https:// or s3:// address"),
        (f"{HEAD}matrix: {{prompts: [x], images: [{'[], ' * 150_000}]}}\n", "matrix.images must be a list of text"),
        (f"{HEAD}items: [{'{image: a}, ' * 50_000}]\n", "image must be an https:// or s3:// address"),
        (f"{HEAD}{ONE}'{'k' * 1000}': 1\n", "unknown key 'kkk"),
        (f'{{"version": 1, "name": "m", "{"prompt" * 1_000_000}": 1}}', "there are no items"),
    ],
    ids=["prompt", "list", "mapping", "json", "matrix", "lists", "items", "key", "json key"],
)
def test_what_is_hostile_is_refused_in_few_words(text: str, told: str) -> None:
    messages = problems_found(text)
    assert told in messages[0]
    assert len(messages) <= 1001
    assert all(len(message) < 400 for message in messages)


TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\x85\u2028\ufeff\n\t\"\\'#:{}[]&*!%@`-"),
    max_size=30,
).filter(lambda text: BAD_TEXT.search(text) is None)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
PARAMS = st.dictionaries(
    TEXT.filter(lambda name: name not in ("", "prompt", "callbackUrl", "projectid", "x", "xUrl", "<<")),
    st.recursive(
        st.none() | st.booleans() | NUMBERS | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
IMAGES = st.sampled_from(["https://e.com/ü.jpg?x#y", "s3://bucket/a\u2028b \x85'\".png", "http://[::1]:80/1"])


@st.composite
def whole_manifests(draw: st.DrawFn) -> Manifest:
    ids = draw(st.lists(IDS, min_size=1, max_size=4, unique=True))
    some = st.none() | TEXT.filter(bool)
    items = [Item(each, draw(IMAGES), draw(some), draw(PARAMS)) for each in ids]
    limits = Limits(
        max_active=draw(st.none() | st.integers(1, 100_000)),
        budget_usd=draw(st.none() | st.decimals("0.000000000001", 999_999_999, places=12)),
        attempts=draw(st.integers(1, 20)),
        tolerated_failures=draw(st.sampled_from([None, "0", "10", "10%", "2.5%", "100%"])),
        deadline_s=draw(st.none() | st.integers(1, 10**6 - 1).map(float)),
    )
    name = draw(st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True))
    output = draw(st.sampled_from([None, "s3://bucket/", "s3://bucket/a b/é#/"]))
    notify = draw(st.sampled_from([None, "https://e.com/hook?a=b#c", "http://127.0.0.1:9/x"]))
    return Manifest(name, "owner/model", output, "x", draw(PARAMS), limits, notify, tuple(items))


@given(whole_manifests())
def test_what_is_dumped_is_read_back_as_the_same(manifest: Manifest) -> None:
    assert parse(dump(manifest)) == manifest


@given(whole_manifests())
def test_what_is_dumped_is_yaml_for_everybody(manifest: Manifest) -> None:
    document = yaml.safe_load(dump(manifest))
    assert [entry["id"] for entry in document["items"]] == [item.id for item in manifest.items]
    assert [entry.get("prompt") for entry in document["items"]] == [item.prompt for item in manifest.items]


def test_what_was_derived_stays_when_it_is_read_back() -> None:
    manifest = parse(WHOLE, {"rows.csv": b"prompt\nx\nx\n"})
    assert parse(dump(manifest)) == manifest
    assert dump(parse(dump(manifest))) == dump(manifest)
    assert b"\n- {" in dump(replace(manifest, items=manifest.items[:1]))
