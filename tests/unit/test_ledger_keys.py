"""The scripts and Python use the keys that `pipeline/ledger/keys.py` describes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.ledger import keys

ROOT = Path(__file__).parents[2] / "pipeline"
LIBRARIES = ["ledger/lua/_keys.lua", "schedules/lua/_schedules.lua", "triggers/lua/_triggers.lua"]
DESCRIBED = {line.split()[0] for line in (keys.__doc__ or "").splitlines() if line.startswith("    ") and line.split()}


def suffix_of(key: str) -> str:
    return key.removeprefix(keys.PREFIX).rpartition(":")[2]


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_key_of_the_scripts_is_described(library: str) -> None:
    literals = re.findall(r"\.\. '([\w:]+)'|_key\(\w+, '([\w:]+)'\)", (ROOT / library).read_text())
    suffixes = {suffix_of((first or second).rstrip(":")) for first, second in literals}
    assert suffixes - {"", "collect"} <= {part for key in DESCRIBED for part in re.findall(r"\w+", key)}


def test_each_key_of_python_is_described() -> None:
    constants = {name: value for name, value in vars(keys).items() if name.isupper() and name != "PREFIX"}
    assert {value.removeprefix(keys.PREFIX) for value in constants.values()} <= DESCRIBED


def test_only_the_key_module_and_the_libraries_build_keys() -> None:
    builds_a_key = re.compile(r"PREFIX \.\.|\{PREFIX\}|[\"']dailies:\w")
    files = [*ROOT.rglob("*.py"), *ROOT.rglob("*.lua")]
    builders = {str(file.relative_to(ROOT)) for file in files if builds_a_key.search(file.read_text())}
    assert builders == {"ledger/keys.py", "ledger/lua/_prelude.lua", *LIBRARIES}
