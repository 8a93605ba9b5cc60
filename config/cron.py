"""What RQ's cron scheduler has done by the clock. Any number of schedulers may run: both jobs bear being run twice."""

from __future__ import annotations

import rq.serializers
from rq.cron import register

from jobs.run_schedules import run_schedules
from jobs.sweep import sweep
from pipeline.batches.job_queue import QUEUE
from pipeline.settings import load

# RQ 3.0 lets no serializer be chosen for cron's jobs and pickles them (rq/cron.py, CronJob.enqueue). Ours are JSON:
# a worker never unpickles what lies in Redis.
rq.serializers.PickleSerializer = rq.serializers.JSONSerializer  # type: ignore[assignment]

_EVERY_S = load().sweep_every_s
# With nobody there to run them jobs do not pile up; where all are busy, one is still there when somebody has time.
_WAITS_S = 120

register(sweep, queue_name=QUEUE, interval=_EVERY_S, ttl=max(_WAITS_S, 2 * _EVERY_S), result_ttl=0)
register(run_schedules, queue_name=QUEUE, cron="* * * * *", ttl=_WAITS_S, result_ttl=0)
