// Checks with ioredis' Cluster against a proxy with cluster_emulation.

import { createRequire } from 'node:module';
import Redis from 'ioredis';
import { Checks, equal, parseAddress } from './checks.mjs';

const KEYS = 300;
const { version } = createRequire(import.meta.url)('ioredis/package.json');
const address = parseAddress(process.argv[2]);
const prefix = `ioredis-cluster:${process.pid}`;
const numbers = Array.from({ length: KEYS }, (_, number) => number);
const keyOf = (number) => `${prefix}:${number}`;
const cluster = new Redis.Cluster([address], {
  lazyConnect: true,
  clusterRetryStrategy: () => null,
});

const CHECKS = [
  ['connect', () => cluster.connect()],
  ['one node has all slots', async () => {
    const nodes = cluster.nodes('master').map(({ options }) => options.port);
    equal(nodes, [address.port], 'nodes');
    equal(cluster.nodes('slave').length, 0, 'replicas');
    const slots = await cluster.cluster('SLOTS');
    equal(slots[0].slice(0, 2), [0, 16383], 'slots');
  }],
  ['keys of all shards', async () => {
    for (const number of numbers) equal(await cluster.set(keyOf(number), number), 'OK');
    const got = await Promise.all(numbers.map((number) => cluster.get(keyOf(number))));
    equal(got, numbers.map(String));
  }],
  ['pipeline in one slot', async () => {
    const replies = await cluster.pipeline().set(`{${prefix}}a`, 1).incr(`{${prefix}}a`)
      .del(`{${prefix}}a`).exec();
    equal(replies, [[null, 'OK'], [null, 2], [null, 1]]);
  }],
  ['keys in a slot', async () => {
    const slot = await cluster.cluster('KEYSLOT', keyOf(0));
    const keys = await cluster.cluster('GETKEYSINSLOT', slot, 100);
    equal(keys.includes(keyOf(0)), true, 'listed');
  }],
  ['clean up', async () => {
    const gone = await Promise.all(numbers.map((number) => cluster.del(keyOf(number))));
    equal(gone, numbers.map(() => 1));
    await cluster.quit();
  }],
];

const checks = new Checks(`ioredis Cluster ${version}`);
for (const [name, check] of CHECKS) await checks.run(name, check);
checks.finish();
