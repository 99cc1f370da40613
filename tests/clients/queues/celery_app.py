"""The Celery application that the checks and their worker process share."""

import os

from celery import Celery

URL = os.environ["QUEUE_URL"]
PREFIX = os.environ["QUEUE_PREFIX"]

app = Celery("checks", broker=URL, backend=URL)
app.conf.update(
    broker_transport_options={
        "global_keyprefix": PREFIX,
        "queue_order_strategy": "priority",
        "priority_steps": [0, 3, 6, 9],
    },
    result_backend_transport_options={"global_keyprefix": PREFIX},
    worker_prefetch_multiplier=1,
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
)


@app.task
def add(left, right):
    return left + right


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True)
def third_time(self):
    """Succeeds when it is tried for the third time."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.2, max_retries=5)
    return self.request.retries


@app.task
def note(key, text):
    """Leaves a trace of the order in which tasks were done."""
    app.backend.client.rpush(key, text)
