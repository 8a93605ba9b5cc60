import re
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.domain.money import MAX_USD
from pipeline.errors import InvalidSettings
from pipeline.settings import Settings, environment_name, load

NOWHERE = Path("/nonexistent.yaml")
SHIPPED = Path(__file__).parents[2] / "config/pipeline.yaml"
SECRETS = ("secret", "token")
"""Ends of the names of secrets, which belong in the environment."""


def test_the_environment_overrides_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text("lease_s: 7\npoll_after_s: 8\n")
    settings = load({"PIPELINE_LEASE_S": "9"}, file)
    assert (settings.lease_s, settings.poll_after_s, settings.adopt_wait_s) == (9, 8, 900)


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name not in ("redis_url", "s3_endpoint")])
def test_every_setting_can_come_from_the_environment(name: str) -> None:
    assert environment_name(name).startswith(("PIPELINE_", "WIRO_"))


def test_an_output_gets_a_slash_and_an_empty_variable_counts_as_unset() -> None:
    settings = load({"PIPELINE_OUTPUT": "s3://bucket/a", "PIPELINE_PUBLIC_URL": ""}, NOWHERE)
    assert (settings.output, settings.public_url) == ("s3://bucket/a/", None)


def test_every_invalid_setting_is_named_with_its_source(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text("sweep_every_s: soon\n")
    with pytest.raises(InvalidSettings) as caught:
        load({"PIPELINE_OUTPUT": "bucket", "PIPELINE_ON_UNKNOWN": "panic"}, file)
    assert all(name in str(caught.value) for name in ("pipeline.yaml", "PIPELINE_OUTPUT", "PIPELINE_ON_UNKNOWN"))


def test_a_ceiling_is_an_amount_that_the_ledger_can_count() -> None:
    assert load({"PIPELINE_MAX_BATCH_USD": "50.00"}, NOWHERE).max_batch_usd == Decimal(50)
    assert load({"PIPELINE_MAX_DAY_USD": str(MAX_USD)}, NOWHERE).max_day_usd == MAX_USD
    for wrong in ("0", "-1", "NaN", "Infinity", "$50", str(MAX_USD + 1)):
        with pytest.raises(InvalidSettings, match="PIPELINE_MAX_DAY_USD"):
            load({"PIPELINE_MAX_DAY_USD": wrong}, NOWHERE)


def test_secrets_print_as_stars() -> None:
    redis_url = "unix:///run/redis.sock?password=p-123"
    settings = load({"WIRO_API_KEY": "k-123", "PIPELINE_SECRET": "s-123", "REDIS_URL": redis_url}, NOWHERE)
    assert "123" not in repr(settings)


def test_an_unknown_key_in_the_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text("leese_s: 7\n")
    with pytest.raises(InvalidSettings, match="leese_s"):
        load({}, file)


def test_an_error_in_the_file_does_not_quote_it(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text("secret: planted-key: [\n")
    with pytest.raises(InvalidSettings, match=r"pipeline.yaml:1:\d+: ") as caught:
        load({}, file)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("secret", ["whsec_!", "whsec_c2hvcnQ=", "not base64 at all!", f"whsec_{'A' * 40},whsec_x"])
def test_an_invalid_notify_secret_is_reported_without_its_value(secret: str) -> None:
    with pytest.raises(InvalidSettings, match="PIPELINE_NOTIFY_SECRET") as caught:
        load({"PIPELINE_NOTIFY_SECRET": secret})
    assert secret not in str(caught.value)


def test_the_shipped_file_shows_every_default_and_changes_none(tmp_path: Path) -> None:
    assert load({}, SHIPPED) == load({}, NOWHERE)
    shown = [line.removeprefix("# ") for line in SHIPPED.read_text().splitlines() if re.match(r"# \w+:( |$)", line)]
    file = tmp_path / "pipeline.yaml"
    file.write_text("\n".join(shown))
    assert load({}, file).model_dump() == load({}, NOWHERE).model_dump()
    ours = {name for name in Settings.model_fields if environment_name(name).startswith("PIPELINE_")}
    assert {line.partition(":")[0] for line in shown} == {name for name in ours if not name.endswith(SECRETS)}


def test_trusted_proxies_are_addresses_and_networks() -> None:
    settings = load({"PIPELINE_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1,2001:db8::/32"}, NOWHERE)
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8;192.0.2.1", "*"])
def test_an_invalid_trusted_proxy_is_reported(text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"PIPELINE_TRUSTED_PROXIES: .*CIDR"):
        load({"PIPELINE_TRUSTED_PROXIES": text}, NOWHERE)


def test_buckets_are_prefixes_with_a_slash_at_their_end() -> None:
    environ = {"PIPELINE_BUCKETS": "whole, s3://bucket/pre,bucket/a/b/", "PIPELINE_OUTPUT": "s3://dailies/batches"}
    settings = load(environ, NOWHERE)
    assert settings.prefixes == ("s3://whole/", "s3://bucket/pre/", "s3://bucket/a/b/", "s3://dailies/batches/")


@pytest.mark.parametrize(
    "buckets", ["*", "bucket/*", "https://bucket/x", "bucket//x", "/", "b", "bucket/../x", "bucket/..", "bucket/a\\b"]
)
def test_other_texts_are_no_buckets(buckets: str) -> None:
    with pytest.raises(InvalidSettings, match="bucket/prefix/"):
        load({"PIPELINE_BUCKETS": buckets}, NOWHERE)


def test_schemes_of_addresses_are_compared_without_case() -> None:
    environ = {
        "REDIS_URL": "REDISS://:Pa55@Redis.example.com/0",
        "AWS_ENDPOINT_URL_S3": "HTTPS://s3.example.com",
        "WIRO_API_URL": "HTTPS://api.wiro.ai/v1/",
        "WIRO_SOCKET_URL": "Wss://socket.wiro.ai/v1",
        "PIPELINE_OUTPUT": "S3://bucket/Out",
        "PIPELINE_PUBLIC_URL": "HTTPS://dailies.example.com/",
        "PIPELINE_DASHBOARD_URL": "Http://127.0.0.1:8000",
        "PIPELINE_BUCKETS": "S3://more/Pre/,Other",
    }
    settings = load(environ, NOWHERE)
    assert settings.redis_url == "rediss://:Pa55@Redis.example.com/0"
    assert settings.s3_endpoint == "https://s3.example.com"
    assert (settings.wiro_api_url, settings.wiro_socket_url) == ("https://api.wiro.ai/v1", "wss://socket.wiro.ai/v1")
    assert settings.prefixes == ("s3://more/Pre/", "s3://Other/", "s3://bucket/Out/")
    assert (settings.public_url, settings.is_https) == ("https://dailies.example.com", True)
    assert settings.dashboard_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("url", ["https://example.com", "https://example.com///", "http://[::1]:8000/a/b/"])
def test_the_public_url_has_no_slash_at_its_end(url: str) -> None:
    assert load({"PIPELINE_PUBLIC_URL": url}, NOWHERE).public_url == url.rstrip("/")


@pytest.mark.parametrize("url", ["dailies.example.com", "ftp://example.com", "https://", "https://a/?b", "https://a b"])
def test_a_public_url_that_no_callback_can_use_is_an_error(url: str) -> None:
    with pytest.raises(InvalidSettings, match=r"PIPELINE_PUBLIC_URL: .*must look like https://dailies\.example\.com"):
        load({"PIPELINE_PUBLIC_URL": url}, NOWHERE)
