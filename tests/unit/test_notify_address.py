"""An address of `notify` that the service would not send to is an error before anything is submitted."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli.main import main
from pipeline.errors import InvalidManifest
from pipeline.manifest.untrusted import UntrustedManifests
from pipeline.net.notify_address import notify_refusal
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage

MANIFEST = "version: 1\nname: b\nnotify: {notify}\nitems: [{{prompt: p}}]\n"


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("https://example.com/hook", ()),
        ("https://example.com:8443/hook", ("127.0.0.1:9000",)),
        ("http://127.0.0.1:9000/hook", ("127.0.0.1:9000",)),
        ("http://localhost/hook", ("localhost", "127.0.0.1", "::1")),
        ("http://[::1]:9000/hook", ("localhost", "127.0.0.1", "::1")),
    ],
)
def test_public_addresses_and_named_hosts_are_accepted(url: str, hosts: tuple[str, ...]) -> None:
    assert notify_refusal(url, hosts) is None


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://127.0.0.1:9000/hook", "127.0.0.1:9000"),
        ("http://localhost/hook", "localhost"),
        ("https://localhost/hook", "localhost"),
        ("https://10.0.0.5/hook", "10.0.0.5"),
        ("https://[::1]:9000/hook", "[::1]:9000"),
        ("http://127.0.0.1:9001/hook", "127.0.0.1:9001"),
    ],
)
def test_another_address_is_refused_with_the_entry_that_allows_it(url: str, entry: str) -> None:
    refusal = notify_refusal(url, ("127.0.0.1:9000",) if url.endswith("9001/hook") else ())
    assert refusal
    assert f"add {entry} to PIPELINE_NOTIFY_HOSTS" in refusal
    assert notify_refusal(url, (entry,)) is None


def test_validate_reports_it_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "b.yaml"
    file.write_text(MANIFEST.format(notify="http://127.0.0.1:9000/hook"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIPELINE_NOTIFY_HOSTS", raising=False)
    result = CliRunner().invoke(main, ["validate", str(file)])
    assert result.exit_code == 2
    assert f"{file}:3:9: notify must be a public https:// address" in result.stdout
    monkeypatch.setenv("PIPELINE_NOTIFY_HOSTS", "127.0.0.1:9000")
    assert CliRunner().invoke(main, ["validate", str(file)]).exit_code == 0


def test_a_manifest_by_http_or_s3_is_refused_at_its_line() -> None:
    text = MANIFEST.format(notify="http://localhost:9000/hook").encode()
    manifests = UntrustedManifests(Settings(), Storage("http://127.0.0.1:1"), None)
    with pytest.raises(InvalidManifest, match=r"m\.yaml:3:9: notify must be .*localhost:9000 to PIPELINE_NOTIFY_HOSTS"):
        manifests.read(text, file="m.yaml")
