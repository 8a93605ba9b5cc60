"""Tables with what people and programs leave in them: nothing is paid that is no prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli.main import main
from pipeline.domain.system_files import is_system_file
from pipeline.errors import InvalidManifest
from pipeline.manifest.columns import ColumnRules
from pipeline.manifest.parser import dump, parse
from pipeline.manifest.rows import Rows, read_rows

IMAGE = "https://e.com/1.jpg"


def read(text: str, name: str = "r.csv") -> Rows:
    return read_rows(text.encode(), file=name, rules=ColumnRules("inputImage"), max_items=1000)


def problems(text: str, name: str = "m.yaml", rows: bytes = b"") -> list[str]:
    try:
        parse(text.encode(), file=name, read_rows=lambda reference: rows, local_files=None)
    except InvalidManifest as error:
        return list(map(str, error.problems))
    return []


@pytest.mark.parametrize("row", ["Total,,2", ",,Total: 7", "Summe,,", "Gesamt,,x", "Sous-total,,5", "SUM,,1"])
def test_a_row_that_adds_up_the_others_is_not_an_item(row: str) -> None:
    rows = read(f"id,image,prompt\na,{IMAGE},x\n{row}\n")
    assert [str(problem).partition(" looks")[0][:8] for problem in rows.problems] == ["r.csv:3:"]
    assert "delete it" in rows.problems[0].message


@pytest.mark.parametrize(
    "text",
    [
        f"id,image,prompt\ntotal,{IMAGE},x\n",
        "id,prompt\ntotal,x\n",
        f"id,image,prompt\na,{IMAGE},x\nb,,Total darkness falls\n",
    ],
)
def test_words_of_totals_in_an_item_are_its_own(text: str) -> None:
    assert read(text).problems == []


@pytest.mark.parametrize(
    "cell",
    [
        "=@A1", "=Tabelle1!A1", "='My Sheet'!A1", "={1}", "=[@Prompt]", "=-A1", "=1+1", "=WENN(A1;B1)", "#NOM?",
        "#VALEUR!", "#ÜBERLAUF!", "#¡REF!", "#¿NOMBRE?", "#GETTING_DATA", "#####", "Err:502", "Loading...",
    ],
)  # fmt: skip
def test_a_formula_and_its_failure_in_any_program_are_no_prompt(cell: str) -> None:
    (problem,) = read(f"id|image|prompt\na|{IMAGE}|{cell}\n").problems
    assert (problem.line, problem.message.partition(",")[0]) == (2, f"prompt has {cell!r}")


@pytest.mark.parametrize("cell", ["=> she turns", "== Scene 1 ==", "#sunset", "#1 fan!", "Loading... a truck"])
def test_a_prompt_that_only_begins_like_one_is_a_prompt(cell: str) -> None:
    rows = read(f"id|image|prompt\na|{IMAGE}|{cell}\n")
    assert (rows.problems, [item["prompt"] for item in rows.items]) == ([], [cell])


def test_titles_above_the_header_do_not_hide_its_separator() -> None:
    (problem,) = read(f"Tabelle 1\n\nid;image;prompt\n1;{IMAGE};x, y\n").problems
    assert problem.message.endswith("Line 3 does: delete what is above it")


@pytest.mark.parametrize("header", ["Prompt (max. 500)", '"Prompt\n(English)"', "prompt [EN]"])
def test_what_is_in_brackets_is_no_part_of_a_name(header: str) -> None:
    assert read(f"id,image (URL),{header}\na,{IMAGE},x\n").items == [{"id": "a", "image": IMAGE, "prompt": "x"}]


@pytest.mark.parametrize("prompt", ["Fr\ufffdulein", "FrÃ¤ulein", "Sie sagt â€œja"])
def test_letters_in_a_wrong_encoding_are_refused_and_what_was_accepted_is_read(prompt: str) -> None:
    text = f'version: 1\nname: x\nitems:\n  - {{image: "{IMAGE}", prompt: "{prompt} lächelt"}}\n'
    (problem,) = problems(text)
    assert problem.startswith("m.yaml:4:44: prompt has")
    stored = parse(text.encode(), file="m", read_rows=lambda _: b"", local_files=None, is_accepted=True)
    again = parse(dump(stored), file="m", read_rows=lambda _: b"", local_files=None, is_accepted=True)
    assert again.items[0].prompt == f"{prompt} lächelt"


@pytest.mark.parametrize("prompt", ["NÃO", "São Paulo", "Ça va", "Ångström", "日本 she smiles", "€ 5"])
def test_letters_of_other_languages_are_prompts(prompt: str) -> None:
    assert problems(f'version: 1\nname: x\nitems:\n  - {{image: "{IMAGE}", prompt: "{prompt}"}}\n') == []


SYSTEM_FILES = ["._r.csv", "~$r.csv", ".~lock.r.csv#", "Thumbs.db", ".DS_Store", "desktop.ini", "r.csv.part"]


@pytest.mark.parametrize("name", SYSTEM_FILES)
def test_a_file_that_a_system_made_is_refused_as_input(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(f"id,image,prompt\na,{IMAGE},x\n")
    assert is_system_file(name)
    for command in (["init", name], ["validate", "--offline", name]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2
        assert "systems and programs make files of this name" in result.output


@pytest.mark.parametrize("image", ["s3://bucket/a/._1.jpg", "s3://bucket/~$1.jpg", "s3://bucket/1.jpg.part"])
def test_an_object_that_a_system_made_is_refused_in_a_manifest(image: str) -> None:
    (problem,) = problems(f'version: 1\nname: x\nitems:\n  - {{image: "{image}", prompt: x}}\n')
    assert problem.startswith(f"m.yaml:4:13: image is {image!r}: systems and programs")


@pytest.mark.parametrize("rows", ["._r.csv", "s3://bucket/~$r.csv"])
def test_rows_that_a_system_made_are_refused_in_a_manifest(rows: str) -> None:
    (problem,) = problems(f'version: 1\nname: x\nitems_from: "{rows}"\n')
    assert problem.startswith("m.yaml:3:13: items_from is")
