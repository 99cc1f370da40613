"""The jobs that the RQ worker process does."""

import os

import redis


def add(left, right):
    return left + right


def fail(text):
    raise ValueError(text)


def third_time(key):
    """Fails twice, then returns how often it was called."""
    calls = redis.Redis.from_url(os.environ["QUEUE_URL"]).incr(key)
    if calls < 3:
        raise ValueError(f"call {calls}")
    return calls
