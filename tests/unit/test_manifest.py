"""Manifests: what is valid, and the position and message of every problem."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from support.images import HTML, JPEG
from support.manifests import HEAD, ONE, WHOLE, all_problems, an_item, only_problem, parse_manifest

from pipeline.domain.model import Item, Limits, Manifest
from pipeline.manifest import parser as manifests
from pipeline.manifest.parser import MAX_ITEMS, derived_id
from pipeline.manifest.validators import MAX_PARAMS, MAX_PROMPT
from pipeline.manifest.yaml.document import PathProblem


def test_a_manifest_is_expanded_with_all_defaults() -> None:
    manifest = parse_manifest(WHOLE, {"rows.csv": b'id,image,prompt,seed\nr1,https://e.com/r.jpg,"x, y",007\n,,z,\n'})
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


def test_the_shortest_manifest_has_all_defaults() -> None:
    manifest = parse_manifest(HEAD + ONE)
    assert (manifest.model, manifest.image_field) == ("minimax/image-to-video-hailuo-01-subject", None)
    assert (manifest.output, manifest.notify, manifest.params) == (None, None, {})
    assert manifest.limits == Limits()


def test_a_key_without_a_value_is_the_same_as_no_key() -> None:
    empty = "model:\noutput:\nimage_field:\nparams:\nlimits:\nnotify:\nmatrix:\nitems_from:\n"
    assert parse_manifest(HEAD + empty + ONE) == parse_manifest(HEAD + ONE)


def test_a_manifest_can_be_json() -> None:
    document = {"version": 1, "name": "m", "items": [{"id": 7, "prompt": "😀"}], "limits": {"budget_usd": 2.5}}
    for text in (json.dumps(document), json.dumps(document, ensure_ascii=False, indent=2)):
        manifest = parse_manifest(text)
        assert manifest.items == (Item("7", None, "😀"),)
        assert manifest.limits.budget_usd == Decimal("2.5")


def test_ids_are_derived_from_the_content_and_equal_content_is_several_takes() -> None:
    item = "{image: 'https://e.com/1.jpg', prompt: x, params: {b: 1, a: 2}}"
    content = derived_id("https://e.com/1.jpg", "x", {"a": 2, "b": 1})
    items = parse_manifest(f"{HEAD}items:\n- {item}\n- {item}\n- {{id: {content}-3, prompt: y}}\n- {item}\n").items
    assert [entry.id for entry in items] == [content, f"{content}-2", f"{content}-3", f"{content}-4"]
    assert len(content) == 12


def test_aliases_and_merges_are_expanded() -> None:
    manifest = parse_manifest(
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


def test_all_problems_are_reported_at_once_with_their_positions() -> None:
    rows = {"more.csv": b"prompt,image\nx\ny,ftp://e.com/2.jpg\nz,\n"}
    assert [message[:44] for message in all_problems(WRONG, rows)] == [
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
        "m.yaml:16:13: '.nan' is not a finite number:",
        "m.yaml:17:7: params.callbackUrl cannot be a ",
        "m.yaml:18:5: this needs an image, a prompt o",
        "m.yaml:19:5: this must be a mapping (key: va",
        "m.yaml:20:13: 'id' is a duplicate: keep one",
        "m.yaml:20:27: image must be an address witho",
        "m.yaml:20:57: control characters and unpaire",
        "more.csv:2:1: the row has 1 cells, the heade",
        "more.csv:3:1: image must be an https:// or s",
    ]


def test_a_problem_that_follows_from_another_is_not_reported() -> None:
    assert only_problem(HEAD + "items: 5\n") == "m.yaml:3:8: items must be a list, not 5"
    assert only_problem(HEAD + "matrix: {images: [https://e.com/1.jpg]}\n") == "m.yaml:3:9: matrix.prompts is missing"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model: a/b/c", "m.yaml:3:8: model must be owner/model"),
        ("model: ../x", "m.yaml:3:8: model must be owner/model"),
        ("output: /tmp/out", "m.yaml:3:9: output must be s3://bucket/prefix/"),
        ("output: https://b/p/", "m.yaml:3:9: output must be s3://bucket/prefix/"),
        ("output: s3://bucket/a/../b/", "m.yaml:3:9: output must be s3://bucket/prefix/"),
        ("output: s3://bucket//b/", "m.yaml:3:9: output must be s3://bucket/prefix/"),
        ("output: 's3://bucket/a\\n/'", "m.yaml:3:9: output must be s3://bucket/prefix/"),
        ("limits: {budget_usd: 0}", "m.yaml:3:22: limits.budget_usd must be US dollars above 0"),
        ("limits: {budget_usd: '9000000.01'}", "m.yaml:3:22: limits.budget_usd must be at most 9,000,000 US dollars"),
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
        ("notify: https://e.com\uff0fa/", "m.yaml:3:9: notify must be an address such as https://"),
        ("notify: http://127.e.com/", "m.yaml:3:9: notify must be https:// (http://"),
        ("notify: https://me:secret@e.com/", "m.yaml:3:9: notify must be an address without user name and password"),
        ("image_field: prompt", "m.yaml:3:14: image_field must be the model's field for an image"),
        ("image_field: a b", "m.yaml:3:14: image_field must be the name of a field"),
        ("params: {prompt: x}", "m.yaml:3:10: params.prompt cannot be a param: write it as `prompt:` of the item"),
        ("params: {inputImageFirst: x}", "m.yaml:3:10: params.inputImageFirst cannot be a param: write the image"),
        ("params: {inputImageFirstUrl: x}", "m.yaml:3:10: params.inputImageFirstUrl cannot be a param: write the"),
        ("params: {'': x}", "m.yaml:3:10: params. cannot be a param's name"),
        ("params: {a: .inf}", "m.yaml:3:13: '.inf' is not a finite number"),
        (f"params: {{a: {'[' * 9}{']' * 9}}}", "m.yaml:3:13: params.a is nested too deeply: at most 8 levels"),
        (f"params: {{a: {'x' * MAX_PARAMS}}}", "m.yaml:3:9: params are too long: at most 16,384 characters as JSON"),
        ("zz: 1", "m.yaml:3:1: unknown key 'zz': the known keys are version, name, model"),
        ("matrix: {images: [], prompts: [x]}", "m.yaml:3:18: matrix.images must not be empty"),
        ("matrix: {images: [''], prompts: [x]}", "m.yaml:3:19: this must not be empty"),
        ("items_from: rows.txt", "m.yaml:3:13: items_from must be a file or s3:// object that ends in .csv, .tsv or"),
        ("items_from: /rows.csv", "m.yaml:3:13: items_from must be a file in the manifest's folder or below it"),
        ("items_from: ../rows.csv", "m.yaml:3:13: items_from must be a file in the manifest's folder or below it"),
        ("items_from: https://e.com/rows.csv", "m.yaml:3:13: items_from must be a file beside the manifest"),
    ],
)
def test_a_problem_at_the_top_level_is_reported_with_what_is_right(line: str, expected: str) -> None:
    assert only_problem(f"{HEAD}{line}\n{ONE}").startswith(expected)


@pytest.mark.parametrize(
    ("item", "expected"),
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
def test_a_problem_of_an_item_is_reported_with_what_is_right(item: str, expected: str) -> None:
    assert only_problem(f"{HEAD}items:\n  - {item}\n").startswith(f"m.yaml:4{expected}")


@pytest.mark.parametrize("text", ["", "items: []\n", "items:\n", "items: []\nmatrix:\n"])
def test_a_manifest_without_items_is_refused(text: str) -> None:
    assert "there are no items: write `items:`, `matrix:` or `items_from:`" in only_problem(HEAD + text)


def test_the_position_of_the_first_of_two_equal_ids_is_reported() -> None:
    rows = {"rows.csv": b"id,prompt\nb,x\n1,y\n"}
    text = '{"version": 1, "name": "m", "items_from": "rows.csv", "items": [\n{"id": 1, "prompt": "x"}]}'
    assert all_problems(text, rows) == ["rows.csv:3:1: the id '1' is taken by m.yaml:2"]


def test_the_number_of_items_is_bounded() -> None:
    pairs = "matrix: {images: [" + "s3://bucket/a, " * 500 + "], prompts: [" + "x, " * 500 + "]}\n"
    assert "more than 200,000 items" in only_problem(HEAD + pairs)
    listed = "items: [" + "{prompt: x}, " * (MAX_ITEMS + 1) + "]\n"
    assert "more than 200,000 items" in only_problem(HEAD + listed)


def test_a_manifest_that_is_too_long_when_written_out_is_refused() -> None:
    prompts = json.dumps(["x" * MAX_PROMPT] * 200)
    images = json.dumps(["s3://bucket/a"] * 200)
    assert "with all its items written out" in only_problem(f"{HEAD}matrix: {{images: {images}, prompts: {prompts}}}\n")


def test_the_number_of_reported_problems_is_bounded() -> None:
    taken_ids = "items:\n" + "- {id: a, prompt: x}\n" * 3000
    assert len(all_problems(HEAD + taken_ids)) == 1000
    invalid_items = "items:\n" + "- {id: /, iamge: x}\n" * 3000
    *first, last = all_problems(HEAD + invalid_items)
    assert len(first) == 1000
    assert "there are more problems" in last


@pytest.mark.parametrize("text", ["", "5", "- 1", "null", "just text"])
def test_a_text_that_is_not_a_mapping_is_refused(text: str) -> None:
    assert len(all_problems(text)) == 1


def test_image_files_must_be_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces/1.JPG").write_bytes(JPEG)
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_bytes(b"no image")
    (tmp_path / "link.jpg").symlink_to("/etc/passwd")
    (tmp_path / "dir.jpg").mkdir()
    assert an_item("{image: faces/1.JPG}", folder=tmp_path).image == "faces/1.JPG"
    for name, expected in {
        "faces/2.jpg": "image is a file that does not exist",
        "dir.jpg": "image is a file that does not exist",
        "empty.png": "image is an empty file",
        "notes.txt": "image must be a file that ends in .jpg, .jpeg, .png, .webp, .gif, .bmp or .avif",
        "link.jpg": "image must be a file in the manifest's folder or below it; 'link.jpg' is a link out of it",
        "../x.jpg": "image must be a file in the manifest's folder or below it",
        f"{tmp_path}/faces/1.JPG": "image must be a file in the manifest's folder or below it",
        "a\\b.jpg": "image must be a file in the manifest's folder or below it",
        f"{'a' * 300}.jpg": "image is a file that",
    }.items():
        assert expected in only_problem(f"{HEAD}items: [{{image: '{name}'}}]\n", folder=tmp_path)


def test_the_bytes_of_an_image_file_decide_whatever_its_name_is(tmp_path: Path) -> None:
    accepted = {"a.png": JPEG, "b": JPEG, "c.jfif": JPEG, "d.avif": b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf"}
    refused = {
        "a.jpg": (HTML, "image 'a.jpg' is an HTML page, not an image: open its address"),
        "b.HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image 'b.HEIC' is a HEIC image: convert it to JPEG"),
        "c.tiff": (b"II*\0", "image 'c.tiff' is a TIFF image or a camera's raw file: convert it to JPEG"),
        "d.jpg": (JPEG[:-2], "image 'd.jpg' is truncated: its end is missing"),
        "e.jpg": (b"\0\5\x16\7\0\2\0\0", "image 'e.jpg' is an AppleDouble file"),
        "f.jpg": (b"text", "image 'f.jpg' is not a JPEG, PNG, WebP, GIF, BMP or AVIF image"),
    }
    for name, data in accepted.items():
        (tmp_path / name).write_bytes(data)
        assert an_item(f"{{image: {name}}}", folder=tmp_path).image == name
    for name, (data, expected) in refused.items():
        (tmp_path / name).write_bytes(data)
        problem = only_problem(f"{HEAD}items:\n  - {{image: {name}}}\n", folder=tmp_path)
        assert problem.startswith(f"m.yaml:4:13: {expected}")


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_hostile_manifests_are_refused_with_short_messages(text: str, expected: str) -> None:
    messages = all_problems(text)
    assert expected in messages[0]
    assert len(messages) <= 1001
    assert all(len(message) < 400 for message in messages)


def test_a_problem_that_is_found_after_parsing_has_the_position_of_its_item() -> None:
    rows = {"rows.csv": b"id,image,prompt\nr1,https://e.com/r.jpg,x\nr2,https://e.com/r.jpg,x\n"}
    _, positions = manifests.parse_with_positions(
        WHOLE.encode(), file="m.yaml", read_rows=rows.__getitem__, local_files=None
    )
    # Three items of `items:`, four of `matrix:`, two rows.
    paths = [(8, "image"), (0, "image"), (2, "prompt"), (5, "image"), (6, "image"), (6, "prompt")]
    located = positions.locate(PathProblem(path, f"wrong {path[1]}") for path in paths)
    assert [str(problem) for problem in located] == [
        "m.yaml:10:22: wrong image",
        "m.yaml:12:14: wrong prompt",
        "m.yaml:13:40: wrong image",
        "m.yaml:13:76: wrong prompt",
        "rows.csv:3:1: wrong image",
    ]


MANIFESTS = Path(__file__).parents[1] / "data" / "manifests"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nbsp.yaml", "m.yaml:4:4: a no-break space (U+00A0) is here"),
        ("nbsp-colon.yaml", "m.yaml:5:12: a no-break space (U+00A0) is here"),
        (
            "windows-path.yaml",
            "m.yaml:4:13: image must be a file in the manifest's folder or below it, written with '/': ",
        ),
    ],
)
def test_what_other_programs_write_is_named_with_its_place(name: str, expected: str, tmp_path: Path) -> None:
    assert only_problem((MANIFESTS / name).read_text(), folder=tmp_path).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version:\u00a01\nname: m\nitems: [{prompt: x}]\n", "m.yaml:1:9: a no-break space (U+00A0) is here"),
        (f"{HEAD}items:\n\u3000- prompt: x\n", "m.yaml:4:1: a ideographic space (U+3000) is here"),
        (f"{HEAD}items:\n  - {{\u202fprompt: x}}\n", "m.yaml:4:6: a narrow no-break space (U+202F) is here"),
        (f"{HEAD}items:\n  - {{prompt: x, image:\u200bhttps://e.com/1.jpg}}\n", "m.yaml:4:23: a zero width space"),
    ],
)
def test_a_character_that_looks_like_a_space_is_named_with_its_place(text: str, expected: str) -> None:
    assert any(problem.startswith(expected) for problem in all_problems(text))


def test_a_no_break_space_within_a_text_is_part_of_the_text() -> None:
    text = f"{HEAD}items:\n- prompt: 'Elle dit\u00a0: oui,\u00a0non'\n- prompt: |\n    one -\u00a0two\n"
    assert [item.prompt for item in parse_manifest(text).items] == ["Elle dit\u00a0: oui,\u00a0non", "one -\u00a0two\n"]
    assert only_problem(f"{text}colour: red\n").startswith("m.yaml:7:1: unknown key 'colour': the known keys are")


def test_schemes_are_compared_without_case() -> None:
    text = (MANIFESTS / "upper-scheme.yaml").read_text() + "output: S3://Bucket/x/\nnotify: Https://e.com/hook\n"
    manifest = parse_manifest(text)
    assert manifest.items[0].image == "https://example.com/1.jpg"
    assert (manifest.output, manifest.notify) == ("s3://Bucket/x/", "https://e.com/hook")
    assert an_item("{image: S3://bucket/A.jpg}").image == "s3://bucket/A.jpg"
    rows = {"s3://bucket/r.csv": b"image\nHTTP://E.com/1.jpg\n"}
    assert parse_manifest(f"{HEAD}items_from: S3://bucket/r.csv\n", rows).items[0].image == "http://E.com/1.jpg"


def test_a_backslash_in_double_quotes_has_advice() -> None:
    assert "Write paths with /" in only_problem(f'{HEAD}items: [{{image: "faces\\1.jpg"}}]\n')
