// End-to-end checks with ioredis, in RESP2 and RESP3, through one address.

import { createRequire } from 'node:module';
import Redis from 'ioredis';
import { Checks, equal, parseAddress, rejects, sleep } from './checks.mjs';
import { Mixed } from './mixed.mjs';

const CONNECTIONS = 50;
const PIPELINE = 1000;
const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const { version } = createRequire(import.meta.url)('ioredis/package.json');
const address = parseAddress(process.argv[2]);

// The checks with one protocol version; every key starts with a prefix of this run.
class Suite {
  constructor(protocol) {
    this.protocol = protocol;
    this.prefix = `ioredis${protocol}:${process.pid}`;
  }

  // A client that does not hide a lost connection behind a retry.
  async connect(more = {}) {
    const client = new Redis({
      ...address,
      protocol: this.protocol,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      lazyConnect: true,
      ...more,
    });
    client.on('error', () => {}); // commands report it
    await client.connect();
    return client;
  }

  async open() {
    this.redis = await this.connect();
  }

  key(name) {
    return `${this.prefix}:${name}`;
  }

  async defaults() {
    const client = new Redis(address.port, address.host);
    equal(await client.set(this.key('default'), '1'), 'OK');
    equal(await client.get(this.key('default')), '1');
    equal(await client.del(this.key('default')), 1);
    client.disconnect();
  }

  async nativeTypes() {
    const resp3 = this.protocol === 3;
    const key = this.key('native');
    const fields = await this.redis.call('HELLO');
    const proto = Array.isArray(fields) ? fields[fields.indexOf('proto') + 1] : fields.proto;
    equal(proto, this.protocol, 'HELLO proto');
    equal(await this.redis.call('HSET', `${key}h`, 'a', '1'), 1);
    const all = await this.redis.call('HGETALL', `${key}h`);
    equal(Array.isArray(all) ? all : Object.entries(all).flat(), ['a', '1']);
    equal(await this.redis.call('ZADD', `${key}z`, '1.5', 'm'), 1);
    const score = await this.redis.call('ZSCORE', `${key}z`, 'm');
    equal(resp3 ? Number(score) : score, resp3 ? 1.5 : '1.5');
    equal(await this.redis.call('GET', key), null);
    equal(await this.redis.call('MGET', key, `${key}x`), [null, null]);
    equal(await this.redis.call('DEL', `${key}h`, `${key}z`), 2);
  }

  async strings() {
    const key = this.key('string');
    equal(await this.redis.set(key, 'value'), 'OK');
    equal(await this.redis.get(key), 'value');
    equal(await this.redis.get(this.key('missing')), null);
    equal(await this.redis.append(key, '+more'), 10);
    equal(await this.redis.getrange(key, 0, 4), 'value');
    equal(await this.redis.set(key, 'x', 'NX'), null);
    equal(await this.redis.set(key, 'y', 'XX', 'GET'), 'value+more');
    equal(await this.redis.getdel(key), 'y');
    equal(await this.redis.exists(key), 0);
  }

  async binary() {
    for (const text of [ALL_BYTES, '\r\n', '\0', '$-1\r\n', '']) {
      const value = Buffer.from(text);
      const key = Buffer.concat([Buffer.from(this.key('bin\0\r\n')), value.subarray(0, 8)]);
      equal(await this.redis.set(key, value), 'OK');
      equal(await this.redis.getBuffer(key), value);
      equal(await this.redis.strlen(key), value.length);
      equal(await this.redis.del(key), 1);
    }
    equal(await this.redis.echo(''), '');
  }

  async large() {
    const key = this.key('large');
    const value = Buffer.concat(Array(4096).fill(ALL_BYTES));
    equal(await this.redis.set(key, value), 'OK');
    equal(await this.redis.strlen(key), 1 << 20);
    equal((await this.redis.getBuffer(key)).equals(value), true, '1 MB value');
    equal(await this.redis.del(key), 1);
  }

  async mixedRounds(client, mixed, rounds) {
    for (let round = 0; round < rounds; round += 1) {
      const work = Array.from({ length: PIPELINE }, () => mixed.command());
      const replies = await client.pipeline(work.map(([command]) => ['call', ...command])).exec();
      equal(replies.length, PIPELINE, 'number of replies');
      work.forEach(([command, reply], number) => {
        equal(replies[number], [null, reply], `reply ${number}, ${command[0]}`);
      });
    }
    await client.unlink(mixed.keys());
  }

  async pipeline() {
    await this.mixedRounds(this.redis, new Mixed(this.key('mixed'), 100 * this.protocol), 5);
  }

  async autoPipelining() {
    const client = await this.connect({ enableAutoPipelining: true });
    const mixed = new Mixed(this.key('auto'), 7 * this.protocol);
    const work = Array.from({ length: PIPELINE }, () => mixed.command());
    await Promise.all(work.map(async ([[name, ...rest], reply]) => {
      equal(await client[name.toLowerCase()](...rest), reply, name);
    }));
    await client.unlink(mixed.keys());
    client.disconnect();
  }

  async pipelineErrors() {
    const pipe = this.redis.pipeline();
    const keys = Array.from({ length: 50 }, (_, number) => this.key(`pe${number}`));
    for (const key of keys) pipe.set(key, key).lpush(key, 'x').get(key);
    const replies = await pipe.exec();
    keys.forEach((key, number) => {
      const [set, push, get] = replies.slice(number * 3, number * 3 + 3);
      equal([set, get], [[null, 'OK'], [null, key]]);
      equal(push[0]?.message.startsWith('WRONGTYPE'), true, 'LPUSH in a pipeline');
    });
    equal(await this.redis.del(keys), 50);
  }

  async manyKeys() {
    const keys = Array.from({ length: 300 }, (_, number) => this.key(`many${number}`));
    const values = keys.map((_, number) => `value ${number}`);
    const missing = this.key('missing');
    equal(await this.redis.mset(keys.flatMap((key, number) => [key, values[number]])), 'OK');
    equal(await this.redis.mget(keys), values);
    equal(await this.redis.mget(keys[5], missing, keys[5]), ['value 5', null, 'value 5']);
    equal(await this.redis.exists(...keys, missing, keys[0]), 301);
    equal(await this.redis.touch(...keys, missing), 300);
    equal(await this.redis.del(...keys.slice(0, 100), missing), 100);
    equal(await this.redis.unlink(...keys.slice(50, 200)), 100);
    equal(await this.redis.mget(keys), [...Array(200).fill(null), ...values.slice(200)]);
    equal(await this.redis.del(keys), 100);
  }

  async collections() {
    const { redis } = this;
    const [hash, list, set, zset] = ['hash', 'list', 'set', 'zset'].map((name) => this.key(name));
    equal(await redis.hset(hash, { a: '1', b: '2', c: '' }), 3);
    equal({ ...(await redis.hgetall(hash)) }, { a: '1', b: '2', c: '' });
    equal(await redis.hmget(hash, 'a', 'z'), ['1', null]);
    equal(await redis.hincrby(hash, 'a', 41), 42);
    equal(await redis.hdel(hash, 'a', 'z'), 1);
    equal(await redis.rpush(list, 'b', 'c', 'd'), 3);
    equal(await redis.lpush(list, 'a'), 4);
    equal(await redis.lrange(list, 0, -1), ['a', 'b', 'c', 'd']);
    equal(await redis.lpop(list), 'a');
    equal(await redis.rpop(list, 2), ['d', 'c']);
    equal(await redis.sadd(set, 'x', 'y', 'x'), 2);
    equal([...(await redis.smembers(set))].sort(), ['x', 'y']);
    equal(await redis.sismember(set, 'y'), 1);
    equal(await redis.srem(set, 'y', 'z'), 1);
    equal(await redis.zadd(zset, 1, 'a', 'inf', 'b'), 2);
    equal(Number(await redis.zscore(zset, 'a')), 1);
    equal(await redis.zrange(zset, 0, -1), ['a', 'b']);
    equal(Number(await redis.zincrby(zset, 1.5, 'a')), 2.5);
    equal(await redis.zscore(zset, 'none'), null);
    equal(await redis.del(hash, list, set, zset), 4);
  }

  async expiry() {
    const key = this.key('expiry');
    equal(await this.redis.set(key, 'v', 'EX', 100), 'OK');
    equal(await this.redis.ttl(key), 100);
    equal(await this.redis.persist(key), 1);
    equal(await this.redis.ttl(key), -1);
    equal(await this.redis.ttl(this.key('missing')), -2);
    equal(await this.redis.pexpire(key, 80), 1);
    await sleep(200);
    equal(await this.redis.get(key), null, 'after expiry');
  }

  async errors() {
    const key = this.key('errors');
    await this.redis.set(key, 'text');
    await rejects(this.redis.lpush(key, 'x'), 'WRONGTYPE');
    await rejects(this.redis.hgetall(key), 'WRONGTYPE');
    await rejects(this.redis.incr(key), 'not an integer');
    await rejects(this.redis.call('GET'), "arguments for 'get' command");
    await rejects(this.redis.call('NOSUCH', key), "unknown command 'NOSUCH'");
    equal(await this.redis.get(key), 'text', 'after errors');
    equal(await this.redis.del(key), 1);
  }

  async counters() {
    const key = this.key('counter');
    for (let number = 1; number <= 100; number += 1) equal(await this.redis.incr(key), number);
    const together = Array.from({ length: 100 }, () => this.redis.incr(key));
    equal(await Promise.all(together), Array.from({ length: 100 }, (_, index) => 101 + index));
    equal(await this.redis.decrby(key, 199), 1);
    equal(await this.redis.incrbyfloat(key, 0.5), '1.5');
    equal(await this.redis.del(key), 1);
  }

  async connectionCommands() {
    const client = await this.connect();
    equal(await client.client('GETNAME'), null);
    equal(await client.client('SETNAME', `checks-${this.protocol}`), 'OK');
    equal(await client.client('GETNAME'), `checks-${this.protocol}`);
    const id = await client.client('ID');
    equal(id > 0 && id === (await client.client('ID')), true, 'CLIENT ID');
    equal(await client.select(0), 'OK');
    equal(await client.ping(), 'PONG');
    equal(await client.ping('text'), 'text');
    equal(await client.echo('hello'), 'hello');
    client.disconnect();
  }

  async quit() {
    const client = await this.connect();
    const ended = new Promise((resolve) => client.once('end', resolve));
    equal(await client.quit(), 'OK');
    await ended;
    const next = await this.connect();
    equal(await next.ping(), 'PONG');
    next.disconnect();
  }

  async concurrent() {
    const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => this.connect()));
    await Promise.all(clients.map((client, number) => this.own(client, number)));
  }

  async own(client, number) {
    const keys = Array.from({ length: 20 }, (_, index) => this.key(`own${number}:${index}`));
    for (const key of keys) equal(await client.set(key, `${number} ${key}`), 'OK');
    for (const key of keys) equal(await client.get(key), `${number} ${key}`);
    equal(await client.mget(keys), keys.map((key) => `${number} ${key}`));
    equal(await client.echo(`me ${number}`), `me ${number}`);
    equal(await client.del(keys), keys.length);
    await client.quit();
  }
}

const CHECKS = [
  ['connect', 'open'],
  ['connect with defaults', 'defaults'],
  ['native reply types', 'nativeTypes'],
  ['strings', 'strings'],
  ['binary and empty keys and values', 'binary'],
  ['1 MB value', 'large'],
  ['pipelines of 1,000 mixed commands', 'pipeline'],
  ['1,000 mixed commands, auto-pipelined', 'autoPipelining'],
  ['errors in a pipeline', 'pipelineErrors'],
  ['MSET MGET EXISTS TOUCH DEL UNLINK', 'manyKeys'],
  ['hashes lists sets sorted sets', 'collections'],
  ['expiry', 'expiry'],
  ['error replies', 'errors'],
  ['counters', 'counters'],
  ['CLIENT SELECT PING ECHO', 'connectionCommands'],
  ['QUIT', 'quit'],
  ['50 connections', 'concurrent'],
];

const checks = new Checks('');
for (const protocol of [2, 3]) {
  checks.title = `ioredis ${version} RESP${protocol}`;
  const suite = new Suite(protocol);
  for (const [name, method] of CHECKS) await checks.run(name, () => suite[method]());
  await checks.run('close', () => suite.redis.quit());
}
checks.finish();
