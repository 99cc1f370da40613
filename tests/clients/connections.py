"""Counts the connections that redis-py makes; its pool reopens a closed one silently."""

import redis


def counted_connection() -> type[redis.Connection]:
    """A connection class of its own, whose attribute `made` is the count."""

    class Counted(redis.Connection):
        made = 0

        def _connect(self):
            Counted.made += 1
            return super()._connect()

    return Counted
