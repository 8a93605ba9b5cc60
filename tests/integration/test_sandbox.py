"""The sandbox over HTTP: real videos, and every fault on request."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import pytest
import urllib3

from pipeline.sandbox.process_handle import Sandbox, running_sandbox
from pipeline.wiro.client import FileSource, ImageField, Run, RunImage, Task, Wiro
from pipeline.wiro.errors import TaskNotFound

MODEL = "minimax/image-to-video-hailuo-01-subject"
SAMPLES = Path(__file__).parents[2] / "config" / "samples"
http = urllib3.PoolManager(retries=False, timeout=30)


@pytest.fixture
def wiro(sandbox: Sandbox) -> Iterator[Wiro]:
    client = Wiro(sandbox.url, sandbox.key, sandbox.secret)
    yield client
    client.close()


class Receiver:
    """Receives callbacks and responds with `status`."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/here"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def a_run(wiro: Wiro, *, image_url: str | None = None, **options: Any) -> Run:
    image = SAMPLES / "portrait.jpg"
    file = FileSource(image.name, "image/jpeg", image.stat().st_size, lambda: image.open("rb"))
    file = options.pop("image_file", file)
    run_image = RunImage(ImageField("inputImageFirst", "fileinput"), image_url, file)
    return wiro.run(MODEL, {"prompt": "A woman smiles in the rain"}, image=run_image, **options)


def an_output(wiro: Wiro, wait_for: Any, **options: Any) -> Task:
    run = a_run(wiro, **options)
    wait_for(lambda: wiro.task(token=run.token).ended, "the task's end")
    return wiro.task(token=run.token)


def download(task: Task) -> bytes:
    response = http.request("GET", task.outputs[0].url)
    assert response.status == 200
    return response.data


def test_an_image_becomes_a_playable_video_of_six_seconds(wiro: Wiro, wait_for: Any) -> None:
    task = an_output(wiro, wait_for)
    data = download(task)
    assert len(data) == task.outputs[0].size
    with av.open(io.BytesIO(data), "r") as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.duration is not None and stream.time_base is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(6.0, abs=0.05)
        assert len(list(video.decode(stream))) == 144
    assert data.index(b"moov") < data.index(b"mdat"), "players can start before all of it is there"


def test_the_same_image_and_prompt_give_the_same_bytes(wiro: Wiro, wait_for: Any) -> None:
    assert download(an_output(wiro, wait_for)) == download(an_output(wiro, wait_for))


def test_sample_images_are_served(wiro: Wiro, sandbox: Sandbox, wait_for: Any) -> None:
    url = f"http://{sandbox.address}/samples/astronaut.jpg"
    assert http.request("GET", url).headers["Content-Type"] == "image/jpeg"
    assert an_output(wiro, wait_for, image_file=None, image_url=url).succeeded


def test_an_invalid_image_fails_and_is_not_billed(wiro: Wiro, sandbox: Sandbox, wait_for: Any) -> None:
    file = FileSource("x.jpg", "image/jpeg", 4, lambda: io.BytesIO(b"oops"))
    assert "cannot identify image" in an_output(wiro, wait_for, image_file=file).failure_reason
    gone = an_output(wiro, wait_for, image_file=None, image_url=f"http://{sandbox.address}/samples/missing.jpg")
    assert "404" in gone.failure_reason
    assert sandbox.stats()["billed_tasks"] == 0


@pytest.mark.parametrize("output_bytes", [0, 500_000])
def test_a_truncated_download_ends_early(wiro: Wiro, sandbox: Sandbox, wait_for: Any, output_bytes: int) -> None:
    sandbox.change(truncate=1, output_bytes=output_bytes)
    task = an_output(wiro, wait_for)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        download(task)


def test_a_download_can_hang_in_the_middle(wiro: Wiro, sandbox: Sandbox, wait_for: Any) -> None:
    sandbox.change(cdn_hang=1, output_bytes=500_000)
    task = an_output(wiro, wait_for)
    response = http.request("GET", task.outputs[0].url, preload_content=False, timeout=0.3)
    assert len(response.read(250_000)) == 250_000
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        response.read(1)
    response.close()


def test_a_slow_download_keeps_its_rate(wiro: Wiro, sandbox: Sandbox, wait_for: Any) -> None:
    sandbox.change(slow_download=100, output_bytes=500_000)
    task = an_output(wiro, wait_for)
    response = http.request("GET", task.outputs[0].url, preload_content=False)
    assert [len(response.read1(1000)) for _ in range(3)] == [10, 10, 10]
    response.close()


def test_an_overlong_output_is_larger_than_task_detail_states(wiro: Wiro, sandbox: Sandbox, wait_for: Any) -> None:
    sandbox.change(overlong=1, output_bytes=300_000)
    task = an_output(wiro, wait_for)
    assert task.outputs[0].size == 200_000
    assert len(download(task)) == 300_000


def test_the_second_task_detail_replaces_an_expired_url(wiro: Wiro, sandbox: Sandbox, wait_for: Any) -> None:
    sandbox.change(expire_urls=1, output_bytes=1000)
    run = a_run(wiro)
    wait_for(lambda: sandbox.tasks()[0]["status"] == "task_postprocess_end", "the task's end")
    assert http.request("GET", wiro.task(token=run.token).outputs[0].url).status in (403, 404)
    assert len(download(wiro.task(token=run.token))) == 1000


def test_a_faulty_cdn_returns_404_or_503(wiro: Wiro, sandbox: Sandbox, wait_for: Any) -> None:
    sandbox.change(output_bytes=1000)
    task = an_output(wiro, wait_for)
    sandbox.change(cdn_error=1)
    assert {http.request("GET", task.outputs[0].url).status for _ in range(20)} == {404, 503}


def test_a_taken_task_can_vanish(wiro: Wiro, sandbox: Sandbox) -> None:
    sandbox.change(vanish=1)
    with pytest.raises(TaskNotFound):
        wiro.task(token=a_run(wiro).token)
    assert sandbox.stats()["active"] == 0


def test_a_stuck_task_never_ends_and_can_be_killed(wiro: Wiro, sandbox: Sandbox, wait_for: Any) -> None:
    sandbox.change(stuck=1, task_s=0)
    run = a_run(wiro)
    assert wiro.task(token=run.token).status == "task_postprocess_start"
    wiro.kill(run.task_id, run.token)
    assert wiro.task(token=run.token).cancelled


def test_a_callback_contains_the_task(wiro: Wiro, receiver: Receiver, wait_for: Any) -> None:
    run = a_run(wiro, callback_url=receiver.url)
    wait_for(lambda: receiver.bodies, "the callback")
    document = json.loads(receiver.bodies[0])
    assert (document["id"], document["socketaccesstoken"]) == (run.task_id, run.token)


def test_a_callback_can_be_sent_twice(wiro: Wiro, sandbox: Sandbox, receiver: Receiver, wait_for: Any) -> None:
    sandbox.change(double_callbacks=1)
    a_run(wiro, callback_url=receiver.url)
    wait_for(lambda: len(receiver.bodies) == 2, "both callbacks")


def test_a_callback_can_be_lost(wiro: Wiro, sandbox: Sandbox, receiver: Receiver, wait_for: Any) -> None:
    sandbox.change(lose_callbacks=1)
    an_output(wiro, wait_for, callback_url=receiver.url)
    assert sandbox.stats()["callbacks"]["sent"] == 0


def test_a_callback_can_arrive_before_the_response_to_the_run(wiro: Wiro, sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.change(early_callbacks=1, output_bytes=1000)
    a_run(wiro, callback_url=receiver.url)
    assert len(receiver.bodies) == 1


def test_a_callback_can_be_delayed(wiro: Wiro, sandbox: Sandbox, receiver: Receiver, wait_for: Any) -> None:
    sandbox.change(callback_delay_s=600, output_bytes=1000, task_s=0)
    an_output(wiro, wait_for, callback_url=receiver.url)
    assert receiver.bodies == []


def test_odd_callbacks_have_different_bodies(wiro: Wiro, sandbox: Sandbox, receiver: Receiver, wait_for: Any) -> None:
    sandbox.change(wrong_shape=1, output_bytes=1000, task_s=0)
    for _ in range(20):
        a_run(wiro, callback_url=receiver.url)
    wait_for(lambda: len(receiver.bodies) == 20, "the callbacks")
    assert len(set(receiver.bodies)) > 5


def test_a_failing_receiver_gets_three_attempts(
    wiro: Wiro, sandbox: Sandbox, receiver: Receiver, wait_for: Any
) -> None:
    receiver.status = 202
    sandbox.change(output_bytes=1000, task_s=0)
    a_run(wiro, callback_url=receiver.url)
    wait_for(lambda: sandbox.stats()["callbacks"]["failed"] == 1, "the last attempt")
    assert sandbox.stats()["callbacks"] == {"sent": 3, "delivered": 0, "failed": 1}


def test_invalid_options_are_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="fail"):
        sandbox.change(fail=2)


def test_a_sandbox_with_a_state_folder_survives_a_restart(tmp_path: Path, wait_for: Any) -> None:
    options: dict[str, Any] = {"state": tmp_path / "sandbox", "balance": 100}
    with running_sandbox(**options, task_s=0) as sandbox:
        wiro = Wiro(sandbox.url, sandbox.key, sandbox.secret)
        ended = an_output(wiro, wait_for)
        digest = hashlib.sha256(download(ended)).hexdigest()
        sandbox.change(task_s=1)
        unfinished = a_run(wiro)
        wiro.close()
    with (tmp_path / "sandbox" / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"kind": "task", "id": "9')
    with running_sandbox(**options) as sandbox:
        wiro = Wiro(sandbox.url, sandbox.key, sandbox.secret)
        again = wiro.task(token=ended.token)
        assert again.succeeded
        assert hashlib.sha256(download(again)).hexdigest() == digest
        wait_for(lambda: wiro.task(token=unfinished.token).succeeded, "the other task's end")
        assert int(a_run(wiro).task_id) == int(unfinished.task_id) + 1
        assert sandbox.stats()["billed_tasks"] == 2
        wiro.close()
