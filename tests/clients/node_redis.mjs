// End-to-end checks with node-redis, in RESP2 and RESP3, through one address.

import { createRequire } from 'node:module';
import { createClient, RESP_TYPES } from 'redis';
import { Checks, equal, parseAddress, rejects, sleep } from './checks.mjs';
import { Mixed } from './mixed.mjs';

const CONNECTIONS = 50;
const PIPELINE = 1000;
const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const { version } = createRequire(import.meta.url)('redis/package.json');
const address = parseAddress(process.argv[2]);

// The checks with one protocol version; every key starts with a prefix of this run.
class Suite {
  constructor(RESP) {
    this.RESP = RESP;
    this.prefix = `node-redis${RESP}:${process.pid}`;
  }

  async connect() {
    const client = createClient({
      socket: { ...address, reconnectStrategy: false }, // a lost connection must not be hidden
      RESP: this.RESP,
    });
    client.on('error', () => {}); // commands report it
    return client.connect();
  }

  async open() {
    this.redis = await this.connect();
    // The same connection, with buffers instead of strings in replies.
    this.buffers = this.redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  }

  key(name) {
    return `${this.prefix}:${name}`;
  }

  async defaults() {
    const client = createClient({ url: `redis://${address.host}:${address.port}` });
    client.on('error', () => {});
    await client.connect();
    equal(await client.set(this.key('default'), '1'), 'OK');
    equal(await client.get(this.key('default')), '1');
    equal(await client.del(this.key('default')), 1);
    await client.close();
  }

  async nativeTypes() {
    const resp3 = this.RESP === 3;
    const key = this.key('native');
    const send = (...command) => this.redis.sendCommand(command);
    const plain = (value) => (value && !Array.isArray(value) ? { ...value } : value);
    equal(await send('HSET', `${key}h`, 'a', '1'), 1);
    equal(plain(await send('HGETALL', `${key}h`)), resp3 ? { a: '1' } : ['a', '1']);
    equal(await send('ZADD', `${key}z`, '1.5', 'm'), 1);
    equal(await send('ZSCORE', `${key}z`, 'm'), resp3 ? 1.5 : '1.5');
    equal(await send('GET', key), null);
    equal(await send('MGET', key, `${key}x`), [null, null]);
    equal(await send('DEL', `${key}h`, `${key}z`), 2);
    const hello = await this.redis.hello();
    equal(hello.proto, this.RESP, 'HELLO proto');
  }

  async strings() {
    const key = this.key('string');
    equal(await this.redis.set(key, 'value'), 'OK');
    equal(await this.redis.get(key), 'value');
    equal(await this.redis.get(this.key('missing')), null);
    equal(await this.redis.append(key, '+more'), 10);
    equal(await this.redis.getRange(key, 0, 4), 'value');
    equal(await this.redis.set(key, 'x', { condition: 'NX' }), null);
    equal(await this.redis.set(key, 'y', { condition: 'XX', GET: true }), 'value+more');
    equal(await this.redis.getDel(key), 'y');
    equal(await this.redis.exists(key), 0);
  }

  async binary() {
    for (const text of [ALL_BYTES, '\r\n', '\0', '$-1\r\n', '']) {
      const value = Buffer.from(text);
      const key = Buffer.concat([Buffer.from(this.key('bin\0\r\n')), value.subarray(0, 8)]);
      equal(await this.redis.set(key, value), 'OK');
      equal(await this.buffers.get(key), value);
      equal(await this.redis.strLen(key), value.length);
      equal(await this.redis.del(key), 1);
    }
    equal(await this.redis.echo(''), '');
  }

  async large() {
    const key = this.key('large');
    const value = Buffer.concat(Array(4096).fill(ALL_BYTES));
    equal(await this.redis.set(key, value), 'OK');
    equal(await this.redis.strLen(key), 1 << 20);
    equal((await this.buffers.get(key)).equals(value), true, '1 MB value');
    equal(await this.redis.del(key), 1);
  }

  async pipeline() {
    const mixed = new Mixed(this.key('mixed'), 100 * this.RESP);
    for (let round = 0; round < 5; round += 1) {
      const pipe = this.redis.multi();
      const expected = [];
      for (let number = 0; number < PIPELINE; number += 1) {
        const [command, reply] = mixed.command();
        pipe.addCommand(command);
        expected.push([command, reply]);
      }
      const replies = await pipe.execAsPipeline();
      equal(replies.length, PIPELINE, 'number of replies');
      expected.forEach(([command, reply], number) => {
        equal(replies[number], reply, `reply ${number}, ${command[0]}`);
      });
    }
    await this.redis.unlink(mixed.keys());
  }

  // Commands that are issued together share a write without any pipeline object.
  async together() {
    const mixed = new Mixed(this.key('together'), 7 * this.RESP);
    const work = [];
    for (let number = 0; number < PIPELINE; number += 1) {
      const [command, reply] = mixed.command();
      work.push(this.redis.sendCommand(command).then((got) => equal(got, reply, command[0])));
    }
    await Promise.all(work);
    await this.redis.unlink(mixed.keys());
  }

  async manyKeys() {
    const keys = Array.from({ length: 300 }, (_, number) => this.key(`many${number}`));
    const values = keys.map((_, number) => `value ${number}`);
    const pairs = keys.map((key, number) => [key, values[number]]);
    const missing = this.key('missing');
    equal(await this.redis.mSet(pairs), 'OK');
    equal(await this.redis.mGet(keys), values);
    equal(await this.redis.mGet([keys[5], missing, keys[5]]), ['value 5', null, 'value 5']);
    equal(await this.redis.exists([...keys, missing, keys[0]]), 301);
    equal(await this.redis.touch([...keys, missing]), 300);
    equal(await this.redis.del([...keys.slice(0, 100), missing]), 100);
    equal(await this.redis.unlink(keys.slice(50, 200)), 100);
    equal(await this.redis.mGet(keys), [...Array(200).fill(null), ...values.slice(200)]);
    equal(await this.redis.del(keys), 100);
  }

  async collections() {
    const { redis } = this;
    const [hash, list, set, zset] = ['hash', 'list', 'set', 'zset'].map((name) => this.key(name));
    equal(await redis.hSet(hash, { a: '1', b: '2', c: '' }), 3);
    equal({ ...(await redis.hGetAll(hash)) }, { a: '1', b: '2', c: '' });
    equal(await redis.hmGet(hash, ['a', 'z']), ['1', null]);
    equal(await redis.hIncrBy(hash, 'a', 41), 42);
    equal(await redis.hDel(hash, ['a', 'z']), 1);
    equal(await redis.rPush(list, ['b', 'c', 'd']), 3);
    equal(await redis.lPush(list, 'a'), 4);
    equal(await redis.lRange(list, 0, -1), ['a', 'b', 'c', 'd']);
    equal(await redis.lPop(list), 'a');
    equal(await redis.rPopCount(list, 2), ['d', 'c']);
    equal(await redis.sAdd(set, ['x', 'y', 'x']), 2);
    equal([...(await redis.sMembers(set))].sort(), ['x', 'y']);
    equal(Boolean(await redis.sIsMember(set, 'y')), true);
    equal(await redis.sRem(set, ['y', 'z']), 1);
    equal(await redis.zAdd(zset, [{ score: 1, value: 'a' }, { score: Infinity, value: 'b' }]), 2);
    equal(await redis.zScore(zset, 'b'), Infinity);
    equal(
      (await redis.zRangeWithScores(zset, 0, 0)).map((entry) => ({ ...entry })),
      [{ value: 'a', score: 1 }],
    );
    equal(await redis.zIncrBy(zset, 1.5, 'a'), 2.5);
    equal(await redis.zScore(zset, 'none'), null);
    equal(await redis.del([hash, list, set, zset]), 4);
  }

  async expiry() {
    const key = this.key('expiry');
    equal(await this.redis.set(key, 'v', { expiration: { type: 'EX', value: 100 } }), 'OK');
    equal(await this.redis.ttl(key), 100);
    equal(await this.redis.persist(key), 1);
    equal(await this.redis.ttl(key), -1);
    equal(await this.redis.ttl(this.key('missing')), -2);
    equal(await this.redis.pExpire(key, 80), 1);
    await sleep(200);
    equal(await this.redis.get(key), null, 'after expiry');
  }

  async errors() {
    const key = this.key('errors');
    await this.redis.set(key, 'text');
    await rejects(this.redis.lPush(key, 'x'), 'WRONGTYPE');
    await rejects(this.redis.hGetAll(key), 'WRONGTYPE');
    await rejects(this.redis.incr(key), 'not an integer');
    await rejects(this.redis.sendCommand(['GET']), "arguments for 'get' command");
    await rejects(this.redis.sendCommand(['NOSUCH', key]), "unknown command 'NOSUCH'");
    equal(await this.redis.get(key), 'text', 'after errors');
    equal(await this.redis.del(key), 1);
  }

  async counters() {
    const key = this.key('counter');
    for (let number = 1; number <= 100; number += 1) equal(await this.redis.incr(key), number);
    const together = Array.from({ length: 100 }, () => this.redis.incr(key));
    equal(await Promise.all(together), Array.from({ length: 100 }, (_, index) => 101 + index));
    equal(await this.redis.decrBy(key, 199), 1);
    equal(await this.redis.incrByFloat(key, 0.5), '1.5');
    equal(await this.redis.del(key), 1);
  }

  async connectionCommands() {
    const client = await this.connect();
    equal(await client.clientGetName(), null);
    equal(await client.clientSetName(`checks-${this.RESP}`), 'OK');
    equal(await client.clientGetName(), `checks-${this.RESP}`);
    const id = await client.clientId();
    equal(id > 0 && id === (await client.clientId()), true, 'CLIENT ID');
    equal(await client.sendCommand(['SELECT', '0']), 'OK');
    equal(await client.ping(), 'PONG');
    equal(await client.ping('text'), 'text');
    equal(await client.echo('hello'), 'hello');
    await client.close();
  }

  async quit() {
    const client = await this.connect();
    equal(await client.sendCommand(['QUIT']), 'OK');
    await sleep(100);
    equal(client.isReady, false, 'ready after QUIT');
    const next = await this.connect();
    equal(await next.ping(), 'PONG');
    await next.close();
  }

  async concurrent() {
    const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => this.connect()));
    await Promise.all(clients.map((client, number) => this.own(client, number)));
  }

  async own(client, number) {
    const keys = Array.from({ length: 20 }, (_, index) => this.key(`own${number}:${index}`));
    for (const key of keys) equal(await client.set(key, `${number} ${key}`), 'OK');
    for (const key of keys) equal(await client.get(key), `${number} ${key}`);
    equal(await client.mGet(keys), keys.map((key) => `${number} ${key}`));
    equal(await client.echo(`me ${number}`), `me ${number}`);
    equal(await client.del(keys), keys.length);
    await client.close();
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
  ['1,000 mixed commands at once', 'together'],
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
for (const RESP of [2, 3]) {
  checks.title = `node-redis ${version} RESP${RESP}`;
  const suite = new Suite(RESP);
  for (const [name, method] of CHECKS) await checks.run(name, () => suite[method]());
  await checks.run('close', () => suite.redis.close());
}
checks.finish();
