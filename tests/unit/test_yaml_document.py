from __future__ import annotations

import json
import math
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.manifest.messages import problems_of
from pipeline.manifest.yaml import document
from pipeline.manifest.yaml.decoder import MAX_DEPTH
from pipeline.manifest.yaml.document import Document, PathProblem, in_order
from pipeline.manifest.yaml.positions import Path

TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=20)
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    PLAIN | TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)


def load(text: str | bytes, **options: Any) -> Document:
    return document.load(text.encode() if isinstance(text, str) else text, file="f.yaml", **options)


def problems(text: str | bytes, **options: Any) -> list[str]:
    return [str(problem) for problem in load(text, **options).problems]


@given(st.dictionaries(TEXT, VALUES, max_size=4), st.booleans())
def test_any_json_object_is_decoded_as_json(value: dict[str, Any], as_ascii: bool) -> None:
    document = load(json.dumps(value, ensure_ascii=as_ascii))
    assert (document.value, document.problems) == (value, [])


@given(VALUES)
def test_json_is_yaml(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    if not any(character in text for character in "\x85\u2028\u2029\ufeff"):
        assert load(f"# so that it is not read as JSON\n{text}\n").value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16:9", "16:9"),
        ("2026-01-31", "2026-01-31"),
        ("007", 7),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("-1.5", -1.5),
        ("+.5", 0.5),
        ("yes", True),
        ("Off", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("1_000", "1_000"),
        ("10%", "10%"),
        ("- 1\n- [2, {a: 3}]", [1, [2, {"a": 3}]]),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("{1: a, yes: b, ~: c}", {"1": "a", "yes": "b", "~": "c"}),
    ],
)
def test_scalars_have_the_expected_types(text: str, value: Any) -> None:
    document = load(f"v: {text}" if not text.startswith("-") or text == "-1.5" else f"v:\n{text}")
    assert (document.value, document.problems) == ({"v": value}, [])


def test_text_keys_keep_values_as_written() -> None:
    document = load(
        "id: 007\nprompts: [1.50, yes, ~]\nseed: 007\nparams: {id: 007, more: [{id: 8}]}\nlast: {id: 9}\n",
        text_keys=frozenset({"id", "prompts"}),
        free_keys=frozenset({"params"}),
    )
    assert document.value == {
        "id": "007",
        "prompts": ["1.50", "yes", None],
        "seed": 7,
        "params": {"id": 7, "more": [{"id": 8}]},
        "last": {"id": "9"},
    }


def test_anchors_aliases_and_merges_work() -> None:
    document = load("base: &b {x: 1, y: 2}\nsame: *b\nmore: {<<: *b, y: 3}\nall: {<<: [{x: 4}, *b]}\n")
    assert document.problems == []
    assert document.value["same"] == {"x": 1, "y": 2}
    assert document.value["more"] == {"x": 1, "y": 3}
    assert document.value["all"] == {"x": 4, "y": 2}


def test_all_problems_of_a_document_are_reported_with_their_positions() -> None:
    assert problems('a: 1\nb: {c: 1,\n    c: 2}\nd: !!python/object:os.system x\ne: .nan\nf: [*no]\na: "\\x07"\n') == [
        "f.yaml:3:5: 'c' is a duplicate: keep one",
        "f.yaml:4:4: the tag '!!python/object:os.system' is not supported: remove it (quotes make text)",
        "f.yaml:5:4: '.nan' is not a finite number: put it in quotes if it is text",
        "f.yaml:6:5: there is no anchor &no before this alias, or the alias is inside of it",
        "f.yaml:7:1: 'a' is a duplicate: keep one",
        "f.yaml:7:4: control characters and unpaired surrogates are not allowed",
    ]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (b"", "1:1"),
        (b"# nothing\n", "2:1"),
        (b"a: \xff", "1:4"),
        ("ä: ".encode() + b"\xff", "1:4"),
        (b"a: \x00", "1:4"),
        (b"a: \x1b[2J", "1:4"),
        (b"a:\n\t- b", "2:1"),
        (b"a: b: c", "1:5"),
        (b"a: [1, 2\n", "2:1"),
        (b"a: 1\n---\nb: 2\n", "2:1"),
        (b"? [1]\n: 2\n", "1:3"),
        (b"a: '\\ud800'\nb: \"\\ud800\"", "2:7"),
        (b'{"a": "\\ud800"}', "1:10"),
        (b'{"a": "\\ud83d\\ude00", "b": "\\u0000"}', "1:28"),
        (b'{"a": 1, "b": 1e999}', "1:15"),
        (b'{"a": 1, "b": -Infinity}', "1:15"),
        (b'{"a": {"b": 1, "b": 2}}', "1:16"),
        (b'{"a": 1} {', "1:10"),
    ],
)
def test_invalid_yaml_is_reported_at_its_position(text: bytes, position: str) -> None:
    first, *others = problems(text)
    assert first.startswith(f"f.yaml:{position}: ")
    assert others == []


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 1_000_000,
        b"{a: " * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b"- " * 100_000,
        b"".join(b" " * i + b"a:\n" for i in range(100)),
    ],
    ids=["lists", "mappings", "json", "whole json", "dashes", "indents"],
)
def test_the_nesting_depth_is_bounded(text: bytes) -> None:
    document = load(text)
    assert [
        f"nested too deeply: the maximum is {MAX_DEPTH} levels" in problem.message for problem in document.problems
    ] == [True]
    assert not document.readable


def test_the_expansion_of_aliases_is_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 15)]
    document = load("\n".join(lines))
    assert not document.readable
    assert "expand to more than" in document.problems[-1].message


def test_the_nesting_depth_of_aliases_is_bounded() -> None:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 5000))]
    assert "nested too deeply" in problems("\n".join(lines))[-1]


def test_a_value_cannot_contain_itself() -> None:
    assert problems("a: &a [*a]") == [
        "f.yaml:1:8: there is no anchor &a before this alias, or the alias is inside of it"
    ]


def test_the_number_of_problems_of_a_document_is_bounded() -> None:
    document = load("a: " + "[.nan, .nan, .nan]\n" * 1 + "".join("a: .nan\n" for _ in range(5000)))
    assert len(document.problems) == 1000
    assert not document.readable


def test_the_length_of_a_document_is_bounded() -> None:
    assert problems("a: 12345", max_bytes=7) == ["f.yaml:1:1: the file has 8 bytes: the maximum is 7"]


def test_a_byte_order_mark_is_ignored() -> None:
    assert load(b"\xef\xbb\xbfa: 1").value == {"a": 1}
    assert load(b'\xef\xbb\xbf{"a": 1}').value == {"a": 1}


TWO = """\
top:
  - id: ä
    prompt: "x
      y"
  - {id: b, prompt: "z", params: {seed: [1, 2]}}
base: &base {a: 1}
copy: *base
"""


@pytest.mark.parametrize(
    ("path", "position", "key_position"),
    [
        ((), (1, 1), (1, 1)),
        (("top",), (2, 3), (1, 1)),
        (("top", 0), (2, 5), (2, 5)),
        (("top", 0, "prompt"), (3, 13), (3, 5)),
        (("top", 1, "prompt"), (5, 21), (5, 13)),
        (("top", 1, "params", "seed", 1), (5, 45), (5, 45)),
        (("top", 1, "nothing"), (5, 5), (5, 5)),
        (("top", 7, "nothing"), (2, 3), (2, 3)),
        (("nothing",), (1, 1), (1, 1)),
        (("copy", "a"), (7, 7), (7, 7)),
    ],
)
def test_every_value_and_key_has_a_position(
    path: Path, position: tuple[int, int], key_position: tuple[int, int]
) -> None:
    document = load(TWO)
    assert document.position(path) == position
    assert document.position(path, key=True) == key_position


def test_positions_in_json_are_right_after_surrogate_pairs() -> None:
    text = '{"a": "\\ud83d\\ude00\\\\", "b": 1}'
    document = load(text)
    assert document.value == {"a": "😀\\", "b": 1}
    assert document.position(("b",)) == (1, text.index("1}") + 1)


@pytest.mark.parametrize("value", ["\ufdd0", "\ufdd0\ufdd0", "😀\ufdd0\ufdd0"])
@pytest.mark.parametrize("as_ascii", [True, False])
def test_no_character_of_a_text_is_lost(value: str, as_ascii: bool) -> None:
    # The list is a problem for JSON, so that the YAML decoder reads all of it.
    text = json.dumps({"a": value, "b": ["😀", math.inf]}, ensure_ascii=as_ascii)
    assert load(text).value["a"] == value
    assert load(f"a: {json.dumps(value, ensure_ascii=False)}\n").value == {"a": value}


@pytest.mark.parametrize("text", ['{"a": "\\ud83d\\ude00\\u0007"}', '{"a": "😀\\u0007"}', 'a: "😀\\a"\n'])
def test_a_control_character_behind_an_emoji_is_a_problem(text: str) -> None:
    assert problems(text) == [
        f"f.yaml:1:{text.index(':') + 3}: control characters and unpaired surrogates are not allowed"
    ]


def test_problems_are_located_in_their_order() -> None:
    located = load("a: 1\nb: 2\n").locate([PathProblem(("b",), "a value"), PathProblem(("a",), "a key", at_key=True)])
    assert list(map(str, located)) == ["f.yaml:2:4: a value", "f.yaml:1:1: a key"]


class PlanEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    every: int = Field(1, ge=1)
    overlap: Literal["skip", "queue"] = "skip"
    enabled: bool = True


class Plans(BaseModel):
    model_config = ConfigDict(extra="forbid")
    plans: list[PlanEntry]


def test_validation_errors_become_messages_with_what_is_right() -> None:
    document = load(
        "plans:\n  - {name: 5, every: 0, overlap: zip, enabeld: yes}\n  - every: x\n    enabled: [1]\n  - 5\nzz: 1\n"
    )
    with pytest.raises(ValidationError) as caught:
        Plans.model_validate(document.value)
    assert list(map(str, in_order(document.locate(problems_of(caught.value, Plans))))) == [
        "f.yaml:2:12: name must be text, not 5",
        "f.yaml:2:22: every must be at least 1, not 0",
        "f.yaml:2:34: overlap must be 'skip' or 'queue', not 'zip'",
        "f.yaml:2:39: unknown key 'enabeld': did you mean 'enabled'?",
        "f.yaml:3:5: name is missing",
        "f.yaml:3:12: every must be a whole number, not 'x'",
        "f.yaml:4:14: enabled must be true or false, not a list of 1",
        "f.yaml:5:5: this must be a mapping (key: value), not 5",
        "f.yaml:6:1: unknown key 'zz': the known keys are plans",
    ]


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_text_is_a_value_or_a_problem(text: bytes) -> None:
    document = load(text)
    assert document.readable or document.problems
    assert not any(map(_is_not_finite, _leaves(document.value))) or document.problems


def _leaves(value: Any) -> list[Any]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [value] if children is None else [leaf for child in children for leaf in _leaves(child)]


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
