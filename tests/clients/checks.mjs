// Runs named checks, prints one line for each and a summary at the end.

import { isDeepStrictEqual, inspect } from 'node:util';

const LIMIT_MS = 20_000;

export class Checks {
  constructor(title) {
    this.title = title;
    this.passed = 0;
    this.failed = 0;
  }

  // Call the function; a rejection, an exception or too long a wait is a failure.
  async run(name, check) {
    const started = performance.now();
    let timer;
    const limit = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no result after ${LIMIT_MS} ms`)), LIMIT_MS);
    });
    try {
      await Promise.race([check(), limit]);
      this.passed += 1;
      const spent = ((performance.now() - started) / 1000).toFixed(2);
      console.log(`ok      ${this.title}: ${name} (${spent} s)`);
    } catch (error) {
      this.failed += 1;
      const at = /\(?([^/ ]+\.mjs:\d+)/.exec(
        (error.stack ?? '').split('\n').filter((line) => !line.includes('checks.mjs')).join('\n'),
      );
      const text = String(error).replaceAll('\n', ' ').slice(0, 400);
      console.log(`FAILED  ${this.title}: ${name}: ${text}${at ? ` (${at[1]})` : ''}`);
    } finally {
      clearTimeout(timer);
    }
  }

  // Print the summary and leave with the matching status.
  finish() {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    process.exit(this.failed > 0 || this.passed === 0 ? 1 : 0);
  }
}

export function equal(got, expected, what = 'reply') {
  if (!isDeepStrictEqual(got, expected)) {
    throw new Error(`${what}: got ${short(got)}, expected ${short(expected)}`);
  }
}

// Await a promise that must be rejected with a text that has the given part.
export async function rejects(promise, part) {
  let reply;
  try {
    reply = await promise;
  } catch (error) {
    if (!error.message.includes(part)) {
      throw new Error(`error ${short(error.message)}, expected ${part}`);
    }
    return;
  }
  throw new Error(`got ${short(reply)}, expected the error ${part}`);
}

export function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function short(value) {
  const text = inspect(value, { depth: 4, maxArrayLength: 8, maxStringLength: 80 });
  return text.replace(/\s+/g, ' ').slice(0, 200);
}

export function parseAddress(text) {
  const at = text?.lastIndexOf(':') ?? -1;
  if (at < 0) {
    console.error('usage: node SCRIPT HOST:PORT');
    process.exit(2);
  }
  return { host: text.slice(0, at) || '127.0.0.1', port: Number(text.slice(at + 1)) };
}
