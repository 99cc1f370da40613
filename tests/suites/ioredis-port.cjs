// Lets `new Redis()` connect to the port under test: ioredis's tests rely on the default port.

const path = require('node:path');

const { DEFAULT_REDIS_OPTIONS } = require(path.resolve('lib/redis/RedisOptions'));

DEFAULT_REDIS_OPTIONS.host = '127.0.0.1';
DEFAULT_REDIS_OPTIONS.port = Number(process.env.SLOTWAY_SUITE_PORT);
