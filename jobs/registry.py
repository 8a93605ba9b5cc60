"""The jobs that workers run. A worker refuses every other job in the queue: it neither imports nor calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog
from rq.job import Job as RqJob

from jobs.collect import collect
from jobs.deliver_notifications import deliver_notifications
from jobs.find_lost_runs import find_lost_runs
from jobs.finish import finish
from jobs.run_schedules import run_schedules
from jobs.start import start
from jobs.submit import submit
from jobs.sweep import sweep
from jobs.write_status_files import write_status_files
from pipeline.batches.job_queue import Job
from pipeline.errors import DailiesError

log = structlog.get_logger()

FUNCTIONS: Mapping[str, Callable[..., None]] = {
    Job.START: start,
    Job.SUBMIT: submit,
    Job.COLLECT: collect,
    Job.FIND_LOST_RUNS: find_lost_runs,
    Job.FINISH: finish,
    Job.SWEEP: sweep,
    Job.DELIVER_NOTIFICATIONS: deliver_notifications,
    Job.RUN_SCHEDULES: run_schedules,
    Job.WRITE_STATUS_FILES: write_status_files,
    # The release before names three jobs differently, and a rolling upgrade can find them in the queue.
    # `jobs.tick.tick` and `jobs.notify.notify` are refused: cron and the sweep enqueue their work again.
    # Nothing enqueues a status report again, so its old name stays valid.
    "jobs.report.report": write_status_files,
}
"""Path of the function, as RQ stores it → the function."""


class JobRefused(DailiesError):
    """The job is not in FUNCTIONS: it was not run."""


class ListedJob(RqJob):
    """A job that runs only the functions in FUNCTIONS: a name that Redis holds is never imported."""

    @property
    def func(self) -> Callable[..., None]:
        """Return the function of this job. Raises JobRefused, and RQ moves the job to its failed jobs."""
        name = str(self.func_name)
        if name not in FUNCTIONS:
            log.error("job_refused", job=self.id, function=name)
            raise JobRefused(f"Job {self.id} names {name!r}, which is not in jobs.registry: it was not run. Delete it.")
        return FUNCTIONS[name]

    # RQ imports callbacks by the names that the job's hash holds. No job of this service has callbacks.
    success_callback = failure_callback = stopped_callback = None
