"""Manifests are checked against the model's schema wherever they come in, before anything is paid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from pydantic import SecretStr
from support.access import BEARER, TOKEN
from support.inbox import Inbox
from support.model_schemas import IMAGE, MODEL, PROMPT, RATIO, SECONDS, a_tool
from support.schedule_folder import BEFORE, MIDNIGHT, ScheduleFolder

from pipeline.cli.main import main
from pipeline.ledger.ledger import Ledger
from pipeline.local.servers import S3Env
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage
from pipeline.web.app import create_app
from pipeline.wiro.client import Wiro
from pipeline.wiro.errors import VendorFault

Describe = Callable[..., None]
PRICES = json.dumps(
    [
        {"inputs": {"seconds": 5}, "price": 0.25, "priceMethod": "cpr"},
        {"inputs": {"seconds": 10}, "price": 0.5, "priceMethod": "cpr"},
    ]
)
HEAD = f"version: 1\nname: m\nmodel: {MODEL}\noutput: s3://bucket/out/\nitems:\n"
FOUR_ERRORS = f"""\
{HEAD}- {{image: https://e.com/1.jpg, prompt: a, params: {{secondss: 5}}}}
- {{image: https://e.com/1.jpg, prompt: a, params: {{seconds: 60}}}}
- {{image: https://e.com/1.jpg, prompt: a, params: {{ratio: 4:3}}}}
- {{image: https://e.com/1.jpg}}
"""


@pytest.fixture
def describe(monkeypatch: pytest.MonkeyPatch) -> Describe:
    """`describe(*parameters)`: how the vendor describes each model from now on; `fails=True`: it is unavailable."""
    monkeypatch.setenv("WIRO_API_KEY", "a-key")
    monkeypatch.setenv("WIRO_API_URL", "http://127.0.0.1:1/v1")

    def describe(*items: dict[str, Any], fails: bool = False, **fields: Any) -> None:
        def tool_detail(wiro: Wiro, model: str) -> dict[str, Any]:
            if fails:
                raise VendorFault("The vendor is away.")
            return a_tool(*items, **fields)

        monkeypatch.setattr(Wiro, "tool_detail", tool_detail)

    return describe


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(text: str, name: str = "m.yaml") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def dailies(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.mark.usefixtures("no_redis")
def test_validate_prints_the_errors_against_the_schema(describe: Describe, file: Callable[..., str]) -> None:
    describe(PROMPT, IMAGE, SECONDS, RATIO)
    name = file(FOUR_ERRORS)
    result = dailies("validate", name)
    assert result.exit_code == 2
    places = [line.removeprefix(f"{name}:").partition(":")[0] for line in result.stdout.splitlines()]
    assert places == ["6", "7", "8", "9"]
    assert dailies("submit", name).exit_code == 2


@pytest.mark.usefixtures("no_redis")
def test_validate_offline_does_not_use_the_schema(describe: Describe, file: Callable[..., str]) -> None:
    describe(PROMPT, IMAGE, SECONDS, RATIO)
    result = dailies("validate", "--offline", file(FOUR_ERRORS))
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.usefixtures("no_redis")
def test_without_a_key_the_offline_checks_decide(
    describe: Describe, file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(PROMPT, IMAGE, SECONDS, RATIO)
    monkeypatch.delenv("WIRO_API_KEY")
    result = dailies("validate", file(FOUR_ERRORS))
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.usefixtures("no_redis")
@pytest.mark.parametrize(("fails", "reason"), [(True, "The vendor is away."), (False, "describes no parameters")])
def test_a_note_reports_that_the_schema_is_not_known(
    describe: Describe, file: Callable[..., str], fails: bool, reason: str
) -> None:
    describe(fails=fails)
    result = dailies("validate", file(FOUR_ERRORS))
    assert result.exit_code == 0
    assert result.stderr.count("Not checked against the schema of acme/animate") == 1
    assert reason in result.stderr


@pytest.mark.usefixtures("no_redis")
def test_the_dry_run_shows_the_price_of_each_item_and_their_sum(describe: Describe, file: Callable[..., str]) -> None:
    describe(PROMPT, IMAGE, SECONDS, prices=PRICES)
    rows = "id,image,prompt,seconds\na,https://e.com/1.jpg,x,5\nb,https://e.com/1.jpg,x,10\n"
    file(rows, "rows.csv")
    name = file(HEAD.replace("items:\n", "items_from: rows.csv\n"))
    assert "Estimated cost: $0.75.\n" in dailies("submit", name, "--dry-run").stdout
    printed = json.loads(dailies("submit", name, "--dry-run", "--json").stdout)
    assert [(item["low_usd"], item["high_usd"]) for item in printed["items"]] == [("0.25", "0.25"), ("0.5", "0.5")]
    assert (printed["low_usd"], printed["high_usd"], printed["reason"]) == ("0.75", "0.75", "")


@pytest.mark.usefixtures("no_redis")
def test_the_dry_run_shows_a_range_and_why_where_the_price_is_open(
    describe: Describe, file: Callable[..., str]
) -> None:
    describe(PROMPT, IMAGE, SECONDS, prices=PRICES)
    name = file(HEAD + "- {image: https://e.com/1.jpg, prompt: a}\n")
    shown = dailies("submit", name, "--dry-run").stdout
    assert "Estimated cost: $0.25 to $0.50 (The price depends on seconds" in shown
    printed = json.loads(dailies("submit", name, "--dry-run", "--json").stdout)
    assert (printed["low_usd"], printed["high_usd"]) == ("0.25", "0.5")
    assert "seconds" in printed["reason"]


@pytest.mark.usefixtures("no_redis")
def test_the_dry_run_reports_when_no_price_can_be_known(describe: Describe, file: Callable[..., str]) -> None:
    describe(PROMPT, IMAGE, SECONDS)
    shown = dailies("submit", file(HEAD + "- {image: https://e.com/1.jpg, prompt: a}\n"), "--dry-run").stdout
    assert "The cost is unknown: the vendor states no price" in shown


@pytest.fixture
def client(redis_url: str, s3_server: S3Env, storage: Storage, bucket: str) -> FlaskClient:
    settings = Settings.model_validate(
        {
            "redis_url": redis_url,
            "s3_endpoint": s3_server.endpoint,
            "output": bucket,
            "secret": "s",
            "api_token": TOKEN,
            "wiro_api_key": "a-key",
        }
    )
    client = create_app(settings).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


def test_the_api_refuses_four_errors_with_their_lines(describe: Describe, client: FlaskClient) -> None:
    describe(PROMPT, IMAGE, SECONDS, RATIO)
    text = FOUR_ERRORS.replace("output: s3://bucket/out/\n", "")
    for path in ("/api/v1/batches", "/api/v1/estimate"):
        response = client.post(path, data=text)
        assert response.status_code == 422
        errors = (response.get_json() or {})["errors"]
        assert [error["line"] for error in errors] == [5, 6, 7, 8]
        assert "did you mean 'seconds'?" in errors[0]["message"]


def test_the_api_logs_that_the_schema_is_not_known(
    describe: Describe, client: FlaskClient, capfd: pytest.CaptureFixture[str]
) -> None:
    describe(fails=True)
    text = FOUR_ERRORS.replace("output: s3://bucket/out/\n", "")
    assert client.post("/api/v1/batches", data=text, headers={"Idempotency-Key": "b"}).status_code == 201
    assert capfd.readouterr().err.count('"event": "model_not_checked"') == 1


def test_a_batch_has_the_field_and_the_numbers_of_the_schema(
    describe: Describe, client: FlaskClient, ledger: Ledger
) -> None:
    describe(PROMPT, {**IMAGE, "type": "combinefileinput"}, SECONDS, prices=PRICES)
    item = "- {id: i, image: https://e.com/1.jpg, prompt: a, params: {seconds: '5'}}\n"
    text = HEAD.replace("output: s3://bucket/out/\n", "").replace(MODEL, "Acme/Animate") + item
    assert client.post("/api/v1/batches", data=text, headers={"Idempotency-Key": "b"}).status_code == 201
    config = ledger.batches.config("b")
    assert (config.model, config.image_field, config.image_kind) == (MODEL, "inputImage", "combinefileinput")
    assert ledger.items.spec("b", "i")["params"] == {"seconds": 5}
    again = client.post("/api/v1/batches", data=text, headers={"Idempotency-Key": "b"})
    assert again.status_code == 200


def with_key(settings: Settings) -> Settings:
    return settings.model_copy(update={"wiro_api_key": SecretStr("a-key")})


def test_a_schedule_does_not_start_a_batch_that_does_not_fit_its_model(
    describe: Describe, schedule_folder: ScheduleFolder
) -> None:
    describe(PROMPT, IMAGE, SECONDS, RATIO)
    schedule_folder.settings = with_key(schedule_folder.settings)
    schedule_folder.nightly()
    schedule_folder.write("m.yaml", FOUR_ERRORS)
    scheduler = schedule_folder.scheduler()
    scheduler.start_due(BEFORE)
    scheduler.start_due(MIDNIGHT)
    (record,) = schedule_folder.records()
    assert record.did == "failed" and "did you mean 'seconds'?" in (record.why or "")
    assert schedule_folder.batches() == []


def test_dropped_manifests_and_images_that_do_not_fit_the_model_are_rejected(describe: Describe, inbox: Inbox) -> None:
    describe(PROMPT, IMAGE, SECONDS, RATIO)
    own = Inbox(with_key(inbox.settings), inbox.storage, inbox.watch.removesuffix("inbox/"))
    text = FOUR_ERRORS.replace("output: s3://bucket/out/\n", "")
    assert own.handle(own.put("m.yaml", text.encode())) == "rejected"
    assert [error["line"] for error in own.status("m.yaml")["errors"]] == [5, 6, 7, 8]
    describe(PROMPT)
    assert own.handle(own.put("face.jpg", b"jpg"), own.images()) == "rejected"
    assert own.batches() == []


@pytest.mark.usefixtures("no_redis")
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_private_column_of_a_spreadsheet_is_refused_unless_it_is_ignored(
    describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    describe(PROMPT, IMAGE, SECONDS)
    monkeypatch.setenv("PIPELINE_OUTPUT", "s3://bucket/out/")
    rows = tmp_path / "rows.csv"
    rows.write_bytes(
        "ID;Image URL;Prompt ;Seconds;Notes;;\r\n1;https://e.com/1.jpg;lächelt;5;privat;;\r\n".encode(encoding)
    )
    result = dailies("submit", str(rows), "--model", MODEL, "--dry-run")
    assert result.exit_code == 2
    assert "rows.csv:1:30: the model acme/animate has no parameter 'Notes'" in result.stderr
    assert "--ignore-columns Notes" in result.stderr
    result = dailies("submit", str(rows), "--model", MODEL, "--dry-run", "--ignore-columns", "notes")
    assert result.exit_code == 0, result.output
    shown = dict(line.split("\t") for line in result.stdout.split("\n\n")[0].splitlines() if line.count("\t") == 1)
    assert (shown["ID"], shown["Image URL"], shown["Prompt"]) == ("id", "image", "prompt")
    assert (shown["Seconds"], shown["Notes"]) == ("parameter seconds", "ignored")
    printed = json.loads(
        dailies("submit", str(rows), "--model", MODEL, "--dry-run", "--json", "--ignore-columns", "notes").stdout
    )
    assert {"column": "Seconds", "means": "parameter seconds"} in printed["columns"]
    assert len(printed["notes"]) == (encoding == "cp1252")
