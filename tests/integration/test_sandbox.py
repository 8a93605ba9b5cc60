"""The stand-in for Wiro over HTTP: real videos, and every fault on request."""

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

from pipeline.sandbox.process_handle import SandboxHandle, running_sandbox
from pipeline.wiro.client import FileSource, Run, Task, Wiro
from pipeline.wiro.errors import TaskNotFound

MODEL = "minimax/image-to-video-hailuo-01-subject"
SAMPLES = Path(__file__).parents[2] / "config" / "samples"
http = urllib3.PoolManager(retries=False, timeout=5)


@pytest.fixture
def wiro(sandbox: SandboxHandle) -> Iterator[Wiro]:
    client = Wiro(sandbox.url, sandbox.key, sandbox.secret)
    yield client
    client.close()


class Receiver:
    """Takes callbacks; answers with `status`."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *given: object) -> None:
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


def a_run(wiro: Wiro, **options: Any) -> Run:
    image = SAMPLES / "portrait.jpg"
    file = FileSource(image.name, "image/jpeg", image.stat().st_size, lambda: image.open("rb"))
    options = {"image_file": file, **options}
    return wiro.run(MODEL, {"prompt": "A woman smiles in the rain"}, image_field="inputImageFirst", **options)


def an_output(wiro: Wiro, wait_for: Any, **options: Any) -> Task:
    run = a_run(wiro, **options)
    wait_for(lambda: wiro.task(token=run.token).ended, "the task's end")
    return wiro.task(token=run.token)


def fetched(task: Task) -> bytes:
    answer = http.request("GET", task.outputs[0].url)
    assert answer.status == 200
    return answer.data


def test_a_picture_becomes_a_playable_video_of_six_seconds(wiro: Wiro, wait_for: Any) -> None:
    task = an_output(wiro, wait_for)
    data = fetched(task)
    assert len(data) == task.outputs[0].size
    with av.open(io.BytesIO(data), "r") as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.duration is not None and stream.time_base is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(6.0, abs=0.05)
        assert len(list(video.decode(stream))) == 144
    assert data.index(b"moov") < data.index(b"mdat"), "players can start before all of it is there"


def test_the_same_picture_and_prompt_give_the_same_bytes(wiro: Wiro, wait_for: Any) -> None:
    assert fetched(an_output(wiro, wait_for)) == fetched(an_output(wiro, wait_for))


def test_sample_pictures_are_served(wiro: Wiro, sandbox: SandboxHandle, wait_for: Any) -> None:
    url = f"http://{sandbox.place}/samples/astronaut.jpg"
    assert http.request("GET", url).headers["Content-Type"] == "image/jpeg"
    assert an_output(wiro, wait_for, image_file=None, image_url=url).succeeded


def test_a_picture_that_is_none_fails_and_is_not_billed(wiro: Wiro, sandbox: SandboxHandle, wait_for: Any) -> None:
    file = FileSource("x.jpg", "image/jpeg", 4, lambda: io.BytesIO(b"oops"))
    assert "cannot identify image" in an_output(wiro, wait_for, image_file=file).failure_reason
    gone = an_output(wiro, wait_for, image_file=None, image_url=f"http://{sandbox.place}/samples/nobody.jpg")
    assert "404" in gone.failure_reason
    assert sandbox.stats()["billed_tasks"] == 0


@pytest.mark.parametrize("output_bytes", [0, 500_000])
def test_a_truncated_download_breaks_off(wiro: Wiro, sandbox: SandboxHandle, wait_for: Any, output_bytes: int) -> None:
    sandbox.set(truncate=1, output_bytes=output_bytes)
    task = an_output(wiro, wait_for)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        fetched(task)


def test_a_download_may_hang_in_the_middle(wiro: Wiro, sandbox: SandboxHandle, wait_for: Any) -> None:
    sandbox.set(cdn_hang=1, output_bytes=500_000)
    task = an_output(wiro, wait_for)
    answer = http.request("GET", task.outputs[0].url, preload_content=False, timeout=0.3)
    assert len(answer.read(250_000)) == 250_000
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        answer.read(1)
    answer.close()


def test_a_slow_download_trickles(wiro: Wiro, sandbox: SandboxHandle, wait_for: Any) -> None:
    sandbox.set(slow_download=100, output_bytes=500_000)
    task = an_output(wiro, wait_for)
    answer = http.request("GET", task.outputs[0].url, preload_content=False)
    assert [len(answer.read1(1000)) for _ in range(3)] == [10, 10, 10]
    answer.close()


def test_an_overlong_output_is_larger_than_announced(wiro: Wiro, sandbox: SandboxHandle, wait_for: Any) -> None:
    sandbox.set(overlong=1, output_bytes=300_000)
    task = an_output(wiro, wait_for)
    assert task.outputs[0].size == 200_000
    assert len(fetched(task)) == 300_000


def test_an_expired_address_is_replaced_when_asked_again(wiro: Wiro, sandbox: SandboxHandle, wait_for: Any) -> None:
    sandbox.set(expire_urls=1, output_bytes=1000)
    run = a_run(wiro)
    wait_for(lambda: sandbox.tasks()[0]["status"] == "task_postprocess_end", "the task's end")
    assert http.request("GET", wiro.task(token=run.token).outputs[0].url).status in (403, 404)
    assert len(fetched(wiro.task(token=run.token))) == 1000


def test_a_broken_cdn_answers_404_or_503(wiro: Wiro, sandbox: SandboxHandle, wait_for: Any) -> None:
    sandbox.set(output_bytes=1000)
    task = an_output(wiro, wait_for)
    sandbox.set(cdn_error=1)
    assert {http.request("GET", task.outputs[0].url).status for _ in range(20)} == {404, 503}


def test_a_task_may_vanish(wiro: Wiro, sandbox: SandboxHandle) -> None:
    sandbox.set(vanish=1)
    with pytest.raises(TaskNotFound):
        wiro.task(token=a_run(wiro).token)
    assert sandbox.stats()["active"] == 0


def test_a_task_may_never_end_and_can_be_killed(wiro: Wiro, sandbox: SandboxHandle, wait_for: Any) -> None:
    sandbox.set(stuck=1, task_s=0)
    run = a_run(wiro)
    assert wiro.task(token=run.token).status == "task_postprocess_start"
    wiro.kill(run.task_id, run.token)
    assert wiro.task(token=run.token).cancelled


def test_a_callback_tells_of_the_task(wiro: Wiro, receiver: Receiver, wait_for: Any) -> None:
    run = a_run(wiro, callback_url=receiver.url)
    wait_for(lambda: receiver.bodies, "the callback")
    document = json.loads(receiver.bodies[0])
    assert (document["id"], document["socketaccesstoken"]) == (run.task_id, run.token)


def test_a_callback_may_come_twice(wiro: Wiro, sandbox: SandboxHandle, receiver: Receiver, wait_for: Any) -> None:
    sandbox.set(double_callbacks=1)
    a_run(wiro, callback_url=receiver.url)
    wait_for(lambda: len(receiver.bodies) == 2, "both callbacks")


def test_a_callback_may_be_lost(wiro: Wiro, sandbox: SandboxHandle, receiver: Receiver, wait_for: Any) -> None:
    sandbox.set(lose_callbacks=1)
    an_output(wiro, wait_for, callback_url=receiver.url)
    assert sandbox.stats()["callbacks"]["sent"] == 0


def test_a_callback_may_come_before_the_answer_to_the_run(
    wiro: Wiro, sandbox: SandboxHandle, receiver: Receiver
) -> None:
    sandbox.set(early_callbacks=1, output_bytes=1000)
    a_run(wiro, callback_url=receiver.url)
    assert len(receiver.bodies) == 1


def test_a_callback_may_come_late(wiro: Wiro, sandbox: SandboxHandle, receiver: Receiver, wait_for: Any) -> None:
    sandbox.set(callback_delay_s=600, output_bytes=1000, task_s=0)
    an_output(wiro, wait_for, callback_url=receiver.url)
    assert receiver.bodies == []


def test_an_odd_callback_has_another_body_each_time(
    wiro: Wiro, sandbox: SandboxHandle, receiver: Receiver, wait_for: Any
) -> None:
    sandbox.set(wrong_shape=1, output_bytes=1000, task_s=0)
    for _ in range(20):
        a_run(wiro, callback_url=receiver.url)
    wait_for(lambda: len(receiver.bodies) == 20, "the callbacks")
    assert len(set(receiver.bodies)) > 5


def test_a_receiver_that_fails_is_called_three_times(
    wiro: Wiro, sandbox: SandboxHandle, receiver: Receiver, wait_for: Any
) -> None:
    receiver.status = 202
    sandbox.set(output_bytes=1000, task_s=0)
    a_run(wiro, callback_url=receiver.url)
    wait_for(lambda: sandbox.stats()["callbacks"]["given_up"] == 1, "the vendor's patience to end")
    assert sandbox.stats()["callbacks"] == {"sent": 3, "delivered": 0, "given_up": 1}


def test_wrong_options_are_refused(sandbox: SandboxHandle) -> None:
    with pytest.raises(ValueError, match="fail"):
        sandbox.set(fail=2)


def test_a_sandbox_with_a_folder_remembers_over_a_restart(tmp_path: Path, wait_for: Any) -> None:
    flags = ("--state", str(tmp_path / "sandbox"), "--balance", "100")
    with running_sandbox(*flags, "--task-s", "0") as env:
        wiro = Wiro(env.url, env.key, env.secret)
        done = an_output(wiro, wait_for)
        digest = hashlib.sha256(fetched(done)).hexdigest()
        env.set(task_s=1)
        on_its_way = a_run(wiro)
        wiro.close()
    with (tmp_path / "sandbox" / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"kind": "task", "id": "9')
    with running_sandbox(*flags) as env:
        wiro = Wiro(env.url, env.key, env.secret)
        again = wiro.task(token=done.token)
        assert again.succeeded
        assert hashlib.sha256(fetched(again)).hexdigest() == digest
        wait_for(lambda: wiro.task(token=on_its_way.token).succeeded, "the other task's end")
        assert int(a_run(wiro).task_id) == int(on_its_way.task_id) + 1
        assert env.stats()["billed_tasks"] == 2
        wiro.close()
