"""Manifests out of word processors, chats and editors: each character that YAML takes for text is named at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InvalidManifest
from pipeline.manifest.columns import ColumnRules
from pipeline.manifest.parser import parse
from pipeline.manifest.rows import read_rows
from pipeline.manifest.yaml.document import load

HEAD = "version: 1\nname: x\nitems:\n"
ITEM = "  - {image: https://e.com/1.jpg, prompt: Fräulein lächelt}\n"


def problems(text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    try:
        parse(data, file="m", read_rows=lambda name: b"", local_files=Path())
    except InvalidManifest as error:
        return list(map(str, error.problems))
    return []


@pytest.mark.parametrize("quotes", ["“”", "‘’", "„“", "«»", "””", "‚‘"])
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("  - image: https://e.com/1.jpg\n    prompt: {She smiles}\n", "m:5:13"),
        ("  - image: https://e.com/1.jpg\n    prompt: {Look: she smiles}\n", "m:5:13"),
        ("  - {image: https://e.com/1.jpg, prompt: {a, b}}\n", "m:4:46"),
        ("  - image: {https://e.com/1.jpg}\n", "m:4:12"),
        ("  - {image}: https://e.com/1.jpg\n", "m:4:5"),
        ("  - {https://e.com/1.jpg: }\n", "m:4:5"),
    ],
)
def test_curly_quotes_around_a_value_are_named_with_their_place(quotes: str, text: str, place: str) -> None:
    braces = text.startswith("  - {image: ")
    text = text.replace("{a, b}", f"{quotes[0]}a, b{quotes[1]}") if braces else text
    text = text if braces else text.replace("{", quotes[0]).replace("}", quotes[1])
    assert any(problem.startswith(f"{place}: curly quotes") for problem in problems(HEAD + text)), problems(HEAD + text)


@pytest.mark.parametrize("prompt", ["She says “hi”", "“Hi”, she says, “bye”", "'“Hi”'", '"„Hallo“"', "it’s"])
def test_quotes_of_a_prompt_are_its_own(prompt: str) -> None:
    assert problems(f"{HEAD}  - image: https://e.com/1.jpg\n    prompt: {prompt}\n") == []


def test_a_quote_that_is_not_closed_is_named_where_it_opens() -> None:
    (problem,) = problems(f'{HEAD}  - image: "https://e.com/1.jpg”\n    prompt: x\n')
    assert problem.startswith("m:4:12: not YAML: the quote that opens here is not closed")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-16", "m:1:1: this is UTF-16 text: save the file as UTF-8"),
        ("utf-16-le", "m:1:1: this is UTF-16 text: save the file as UTF-8"),
        ("utf-16-be", "m:1:1: this is UTF-16 text: save the file as UTF-8"),
        ("utf-32", "m:1:1: this is UTF-32 text: save the file as UTF-8"),
        ("utf-32-le", "m:1:1: this is UTF-32 text: save the file as UTF-8"),
        ("utf-32-be", "m:1:1: this is UTF-32 text: save the file as UTF-8"),
        ("latin-1", "m:4:44: byte 69 is not UTF-8: save the file as UTF-8"),
        ("cp1252", "m:4:44: byte 69 is not UTF-8: save the file as UTF-8"),
    ],
)
def test_another_encoding_is_named(encoding: str, expected: str) -> None:
    assert problems((HEAD + ITEM).encode(encoding)) == [expected]


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-le", "utf-32-be"])
def test_rows_in_the_widest_encoding_are_read(encoding: str) -> None:
    rows = read_rows("prompt\nlächelt\n".encode(encoding), file="r.csv", rules=ColumnRules("i"), max_items=9)
    assert (rows.items, rows.problems) == ([{"prompt": "lächelt"}], [])


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems_are_taken(end: str) -> None:
    assert problems((HEAD + ITEM).replace("\n", end)) == []


@pytest.mark.parametrize("character", ["\u200b", "\u200e", "\ufeff", "\u00ad", "\u2060"])
@pytest.mark.parametrize("address", ["https://e.com/{}1.jpg", "https://e.com/1.jpg{}", "https://e{}.com/1.jpg"])
def test_a_character_of_no_width_in_an_address_is_shown(character: str, address: str) -> None:
    (problem,) = problems(f"{HEAD}  - image: {address.format(character)}\n    prompt: x\n")
    assert problem.startswith("m:4:12: image must be an address")
    assert ascii(character)[1:-1] in problem


@pytest.mark.parametrize("character", ["\u2060", "\u200e", "\u00ad", "\u00a0"])
def test_a_character_of_no_width_where_a_space_must_be_is_named(character: str) -> None:
    found = problems(f"{HEAD}  - image:{character}https://e.com/1.jpg\n    prompt: x\n")
    assert any(f"U+{ord(character):04X}" in problem for problem in found), found


@pytest.mark.parametrize("word", ["yes", "no", "1e3", "2024-01-01", "12:30", "0x1F", "1_000", "3.0", "true"])
def test_a_prompt_is_text_as_it_is_written(word: str) -> None:
    text = f"{HEAD}  - image: https://e.com/1.jpg\n    prompt: {word}\n"
    manifest = parse(text.encode(), file="m", read_rows=lambda name: b"", local_files=None)
    assert manifest.items[0].prompt == word


def test_schedules_have_the_same_advice() -> None:
    (problem,) = load("schedules:\n  - name: “nightly”\n".encode(), file="s").problems
    assert str(problem).startswith("s:2:11: curly quotes")
