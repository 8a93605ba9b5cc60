"""Every block of the pages for users is valid as it stands; tests/e2e/test_docs.py runs their commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from support.doc_blocks import ROOT, Block, blocks

from pipeline.domain.model import Manifest
from pipeline.errors import InvalidManifest
from pipeline.manifest import parser as manifests
from pipeline.manifest.loader import load_manifest
from pipeline.schedules.schema import parse_schedules
from pipeline.settings import Settings, environment_name
from pipeline.storage.s3 import Storage
from pipeline.triggers.rule_loader import load as load_rules

PAGES = ("README.md", "docs/manifest.md", "docs/schedules.md", "docs/triggers.md")
EXAMPLES = ROOT / "examples"
RUN, OUTPUT = {"console", "bash"}, {"text"}
ALL = [block for page in PAGES for block in blocks(page)]
ITEMS = {"items", "matrix", "items_from"}


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages]


def place(block: Block) -> str:
    return f"{block.page}:{block.line}"


def test_every_block_has_a_language_that_is_run_or_checked() -> None:
    checked = RUN | OUTPUT | {"yaml", "json", "csv", "sh"}
    assert [place(block) for block in ALL if block.language not in checked] == []


@pytest.mark.parametrize("block", of("yaml"), ids=place)
def test_a_block_of_yaml_is_a_valid_manifest_schedule_or_rule(block: Block, tmp_path: Path) -> None:
    keys = set(yaml.safe_load(block.text))
    if "schedules" in keys:
        assert parse_schedules(block.text.encode(), file="schedules.yaml")
        return
    if "triggers" in keys:
        file = tmp_path / "triggers.yaml"
        file.write_text(block.text)
        assert load_rules(file)
        return
    text = block.text if "version" in keys else f"version: 1\nname: part\n{block.text}"
    text = text if keys & ITEMS else f"{text}items: [{{prompt: p}}]\n"
    if "LA Street" in text:
        with pytest.raises(InvalidManifest):
            parse(text)
    else:
        assert parse(text).items


def parse(text: str) -> Manifest:
    filled = text.replace("{date}", "2026-11-25").encode()
    return manifests.parse(filled, file="m.yaml", read_rows=lambda name: b"", local_files=EXAMPLES)


@pytest.mark.parametrize("block", of("json"), ids=place)
def test_a_block_of_json_is_json(block: Block) -> None:
    if block.text in (EXAMPLES / "rows.jsonl").read_text():
        return
    json.loads(block.text)


@pytest.mark.parametrize("block", of("csv"), ids=place)
def test_a_block_of_csv_is_the_example(block: Block) -> None:
    assert block.text == (EXAMPLES / "rows.csv").read_text()


@pytest.mark.parametrize("block", of("sh"), ids=place)
def test_a_block_of_settings_names_settings_that_exist(block: Block) -> None:
    names = re.findall(r"^export (\w+)=", block.text, re.M)
    assert names
    assert set(names) <= {environment_name(field) for field in Settings.model_fields}


def test_the_manifest_of_the_pages_is_the_example() -> None:
    text = (EXAMPLES / "la-street.yaml").read_text()
    assert [block.page for block in of("yaml") if block.text == text] == ["README.md", "docs/manifest.md"]
    assert (EXAMPLES / "nightly.yaml").read_text() in {block.text for block in of("yaml")}


@pytest.mark.parametrize("name", ["la-street.yaml", "dropped.yaml"])
def test_an_example_is_a_valid_manifest(name: str) -> None:
    assert load_manifest(str(EXAMPLES / name), lambda: Storage("http://127.0.0.1:1")).manifest.items


def test_the_pictures_of_the_examples_are_small_and_used() -> None:
    pictures = sorted((EXAMPLES / "faces").iterdir())
    assert len(pictures) == 4
    assert all(picture.stat().st_size < 40_000 for picture in pictures)
