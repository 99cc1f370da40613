// BullMQ with workers in this process: with its keys in one slot, and without.

import { FlowProducer, Queue, QueueEvents, Worker } from 'bullmq';
import Redis from 'ioredis';
import { Checks, equal, parseAddress, rejects, sleep } from './checks.mjs';

const address = parseAddress(process.argv[2]);
const run = `bullmq-${process.pid}`;
const WAIT_MS = 15_000;

// One queue with its worker, all of which keep their keys under one prefix.
class Suite {
  constructor(prefix) {
    this.options = { connection: { ...address, maxRetriesPerRequest: null }, prefix };
    this.done = [];
    this.failures = 0;
  }

  async open() {
    this.queue = new Queue('jobs', this.options);
    this.events = new QueueEvents('jobs', this.options);
    this.events.setMaxListeners(0);
    this.queue.setMaxListeners(0);
    this.flows = new FlowProducer(this.options);
    this.worker = new Worker('jobs', (job) => this.work(job), { ...this.options, concurrency: 5 });
    for (const part of [this.queue, this.events, this.flows, this.worker]) {
      part.on('error', (error) => { this.lastError = error; });
    }
    await this.events.waitUntilReady();
  }

  async work(job) {
    if (job.name === 'fail') throw new Error('as asked');
    if (job.name === 'third' && job.attemptsMade < 2) throw new Error('not yet');
    if (job.name === 'sum') {
      return Object.values(await job.getChildrenValues()).reduce((sum, value) => sum + value, 0);
    }
    this.done.push(job.data.number);
    return job.data.number + 1;
  }

  async close() {
    await this.worker.close(true);
    await this.events.close();
    await this.flows.close();
    await this.queue.close();
  }

  finished(job) {
    return job.waitUntilFinished(this.events, WAIT_MS);
  }

  async many() {
    const jobs = await Promise.all(
      Array.from({ length: 50 }, (_, number) => this.queue.add('one', { number })),
    );
    const values = await Promise.all(jobs.map((job) => this.finished(job)));
    equal(values, jobs.map((_, number) => number + 1));
  }

  async bulk() {
    const jobs = await this.queue.addBulk(
      Array.from({ length: 40 }, (_, number) => ({ name: 'one', data: { number } })),
    );
    const values = await Promise.all(jobs.map((job) => this.finished(job)));
    equal(values, jobs.map((_, number) => number + 1));
  }

  async delayed() {
    const started = performance.now();
    const job = await this.queue.add('one', { number: 1 }, { delay: 1000 });
    equal(await job.waitUntilFinished(this.events, WAIT_MS), 2);
    equal(performance.now() - started >= 1000, true, 'delayed by a second');
  }

  // An empty queue blocks its worker; a job must wake it long before the block ends.
  async wakes() {
    await sleep(500);
    const started = performance.now();
    const job = await this.queue.add('one', { number: 1 });
    await job.waitUntilFinished(this.events, WAIT_MS);
    equal(performance.now() - started < 2000, true, 'done at once');
  }

  async retried() {
    const job = await this.queue.add('third', { number: 3 }, { attempts: 3, backoff: 100 });
    equal(await job.waitUntilFinished(this.events, WAIT_MS), 4);
    equal((await this.queue.getJob(job.id)).attemptsMade, 3, 'attempts');
  }

  async failed() {
    const job = await this.queue.add('fail', {});
    await rejects(job.waitUntilFinished(this.events, WAIT_MS), 'as asked');
    equal(await this.queue.getFailedCount(), 1);
  }

  async priorities() {
    await this.worker.pause();
    this.done = [];
    const jobs = [];
    for (const priority of [9, 1, 5]) {
      jobs.push(await this.queue.add('one', { number: priority }, { priority }));
    }
    const finished = jobs.map((job) => job.waitUntilFinished(this.events, WAIT_MS));
    this.worker.concurrency = 1;
    this.worker.resume();
    await Promise.all(finished);
    equal(this.done, [1, 5, 9]);
  }

  async flow() {
    const children = [1, 2, 3].map((number) => ({
      name: 'one', queueName: 'jobs', data: { number },
    }));
    const tree = await this.flows.add({ name: 'sum', queueName: 'jobs', children });
    equal(await tree.job.waitUntilFinished(this.events, WAIT_MS), 9);
  }

  async counts() {
    const counts = await this.queue.getJobCounts('wait', 'active', 'delayed', 'failed');
    equal(counts, { wait: 0, active: 0, delayed: 0, failed: 1 });
    await this.queue.obliterate({ force: true });
    equal(await this.queue.getJobCountByTypes('completed', 'failed'), 0);
  }
}

async function oneSlot(checks) {
  const suite = new Suite(`{${run}}`);
  await checks.run('opening', () => suite.open());
  for (const name of ['many', 'bulk', 'delayed', 'wakes', 'retried', 'failed', 'priorities', 'flow',
    'counts']) {
    await checks.run(name, () => suite[name]());
  }
  if (suite.lastError) console.log(`the last error event: ${suite.lastError}`);
  await checks.run('closing', () => suite.close());
}

// BullMQ's scripts take several keys, which need one slot.
async function anySlot(isProxy) {
  const connection = { ...address, maxRetriesPerRequest: 1 };
  const queue = new Queue('jobs', { connection, prefix: run });
  queue.on('error', () => {});
  try {
    if (isProxy) await rejects(queue.add('one', { number: 1 }), 'CROSSSLOT');
    else equal((await queue.add('one', { number: 1 })).id, '1');
  } finally {
    await queue.close();
  }
}

async function remove(redis) {
  for await (const keys of redis.scanStream({ match: `*${run}*`, count: 1000 })) {
    for (const key of keys) await redis.unlink(key);
  }
}

const checks = new Checks('bullmq');
const redis = new Redis(address.port, address.host);
const isProxy = (await redis.info('server')).includes('slotway_version');
await oneSlot(checks);
await checks.run('without a hash tag', () => anySlot(isProxy));
await checks.run('keys removed', () => remove(redis));
checks.finish();
