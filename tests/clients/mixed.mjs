// A stream of random commands over many keys, each with the reply it must get.

const KEYS_PER_TYPE = 120;

// A small generator with a seed, so that a failure can be repeated.
function generator(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) % below;
  };
}

// Keeps a model of every key, so that the reply to each command is known beforehand.
export class Mixed {
  constructor(prefix, seed) {
    this.below = generator(seed);
    this.prefix = prefix;
    this.strings = new Map();
    this.counters = new Map();
    this.lists = new Map();
    this.hashes = new Map();
    this.sets = new Map();
  }

  // The next command as an array of strings, with its expected reply.
  command() {
    const kinds = ['string', 'counter', 'list', 'hash', 'set', 'many'];
    return this[kinds[this.below(kinds.length)]]();
  }

  // All keys the commands may have made.
  keys() {
    return [this.strings, this.counters, this.lists, this.hashes, this.sets]
      .flatMap((table) => [...table.keys()]);
  }

  key(kind) {
    return `${this.prefix}:${kind}:${this.below(KEYS_PER_TYPE)}`;
  }

  value() {
    const length = [0, 1, 5, 40, 400][this.below(5)];
    return Array.from({ length }, () => String.fromCharCode(32 + this.below(95))).join('');
  }

  entry(table, key, empty) {
    if (!table.has(key)) table.set(key, empty);
    return table.get(key);
  }

  string() {
    const key = this.key('s');
    const value = this.value();
    const old = this.strings.get(key);
    switch (this.below(6)) {
      case 0:
        this.strings.set(key, value);
        return [['SET', key, value], 'OK'];
      case 1:
        this.strings.set(key, (old ?? '') + value);
        return [['APPEND', key, value], (old ?? '').length + value.length];
      case 2:
        return [['STRLEN', key], (old ?? '').length];
      case 3:
        return [['EXISTS', key], old === undefined ? 0 : 1];
      case 4:
        return [['DEL', key], this.strings.delete(key) ? 1 : 0];
      default:
        return [['GET', key], old ?? null];
    }
  }

  counter() {
    const key = this.key('c');
    const step = this.below(100) - 50;
    if (this.below(5) === 0) {
      const value = this.counters.get(key);
      return [['GET', key], value === undefined ? null : String(value)];
    }
    this.counters.set(key, (this.counters.get(key) ?? 0) + step);
    return [['INCRBY', key, String(step)], this.counters.get(key)];
  }

  list() {
    const key = this.key('l');
    const value = this.value();
    const items = this.entry(this.lists, key, []);
    switch (this.below(6)) {
      case 0:
      case 1:
        return [['RPUSH', key, value], items.push(value)];
      case 2:
        return [['LPUSH', key, value], items.unshift(value)];
      case 3:
        return [['LPOP', key], items.shift() ?? null];
      case 4:
        return [['LLEN', key], items.length];
      default:
        return [['LRANGE', key, '0', '-1'], [...items]];
    }
  }

  hash() {
    const key = this.key('h');
    const field = `f${this.below(5)}`;
    const value = this.value();
    const fields = this.entry(this.hashes, key, new Map());
    const had = fields.has(field);
    switch (this.below(5)) {
      case 0:
      case 1:
        fields.set(field, value);
        return [['HSET', key, field, value], had ? 0 : 1];
      case 2:
        return [['HGET', key, field], fields.get(field) ?? null];
      case 3:
        fields.delete(field);
        return [['HDEL', key, field], had ? 1 : 0];
      default:
        return [['HLEN', key], fields.size];
    }
  }

  set() {
    const key = this.key('t');
    const member = `m${this.below(6)}`;
    const members = this.entry(this.sets, key, new Set());
    const had = members.has(member) ? 1 : 0;
    switch (this.below(4)) {
      case 0:
        members.add(member);
        return [['SADD', key, member], 1 - had];
      case 1:
        members.delete(member);
        return [['SREM', key, member], had];
      case 2:
        return [['SCARD', key], members.size];
      default:
        return [['SISMEMBER', key, member], had];
    }
  }

  many() {
    const keys = Array.from({ length: 1 + this.below(8) }, () => this.key('s'));
    switch (this.below(4)) {
      case 0: {
        const pairs = new Map(keys.map((key) => [key, this.value()]));
        for (const [key, value] of pairs) this.strings.set(key, value);
        return [['MSET', ...[...pairs].flat()], 'OK'];
      }
      case 1:
        return [['MGET', ...keys], keys.map((key) => this.strings.get(key) ?? null)];
      case 2:
        return [['EXISTS', ...keys], keys.filter((key) => this.strings.has(key)).length];
      default: {
        const gone = [...new Set(keys)].filter((key) => this.strings.delete(key)).length;
        return [[this.below(2) ? 'DEL' : 'UNLINK', ...keys], gone];
      }
    }
  }
}
