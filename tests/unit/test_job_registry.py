"""The table of jobs: what RQ stores, and the function that a worker calls for it."""

from __future__ import annotations

import pytest

from jobs.registry import FUNCTIONS
from pipeline.batches.job_queue import Job


@pytest.mark.parametrize("job", Job)
def test_a_job_is_the_path_of_its_function(job: Job) -> None:
    function = FUNCTIONS[job]
    assert f"{function.__module__}.{function.__qualname__}" == job.value


def test_only_one_function_has_a_second_name() -> None:
    assert set(FUNCTIONS) - set(Job) == {"jobs.report.report"}
    assert FUNCTIONS["jobs.report.report"] is FUNCTIONS[Job.WRITE_STATUS_FILES]
