import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { Download } from '../lib/download.js';
import { base64, pauseMs, reprDigest } from '../lib/transferwords.js';
import { Upload } from '../lib/upload.js';

const hex = data => createHash('sha256').update(data).digest('hex');
const DATA = new Uint8Array(3_000_000).map((_, at) => (at * 7919) >> 3);

/** What hashes; where `fails()` it never works again. */
function hash(fails = () => false) {
  const state = createHash('sha256');
  let isBroken = false;
  const check = () => {
    isBroken ||= fails();
    if (isBroken) {
      throw new Error('the worker is gone');
    }
  };
  return {
    update: async data => void (check(), state.update(data)),
    digest: async () => (check(), state.digest('hex')),
    dispose: () => undefined
  };
}

function given(status, headers = {}, body = null, parts = []) {
  const named = new Map(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
  );
  return {
    status,
    header: name => named.get(name.toLowerCase()) ?? null,
    json: async () => body,
    stream: async function* () {
      for (const part of parts) {
        if (part instanceof Error) {
          throw part;
        }
        yield part;
      }
    }
  };
}

/** A server by the protocol; `trouble` may answer or throw instead of it, `lose` loses an answer. */
class Server {
  constructor({ trouble = () => null, lose = () => false, spoil = false } = {}) {
    Object.assign(this, { trouble, lose, spoil, files: new Map(), at: null, length: 0, log: [] });
    Object.assign(this, { now: 0, waits: [], deadline: new AbortController(), isDown: false });
  }

  world() {
    return {
      request: async (...asked) => {
        const [method, what] = asked;
        this.log.push(`${method} ${what.split('?')[0]}`);
        const instead = this.trouble(this.log.length, method, what);
        if (instead) {
          return instead;
        }
        const answer = this.answer(...asked);
        if (this.lose(this.log.length, method, answer)) {
          throw new TypeError('Failed to fetch');
        }
        return answer;
      },
      hash,
      nowMs: () => (this.now += 100),
      deadline: ms => {
        this.patience = ms;
        return this.deadline.signal;
      },
      isDown: () => this.isDown,
      chance: () => 0,
      sleep: async ms => void this.waits.push(ms)
    };
  }

  answer(method, what, headers, body) {
    const path = what.split('?')[0].split('/').slice(2).join('/');
    if (what === 'transfers/uploads') {
      const line = { path: 'd/f', upload: 'a'.repeat(32), length: this.length, offset: 0 };
      return given(200, {}, this.at === null ? [] : [line]);
    }
    if (method === 'POST') {
      const old = this.files.get(path);
      if (old && headers['If-Match'] !== '"old"') {
        return given(412, { ETag: '"old"' }, { message: 'is there already' });
      }
      this.at = new Uint8Array(0);
      this.length = Number(headers['Upload-Length']);
      return given(201, { Location: `/x/${what}?upload=${'a'.repeat(32)}` });
    }
    if (what.startsWith('transfers/digests/')) {
      return given(200, {}, { sha256: hex(this.files.get(path)), etag: '"1"' });
    }
    if (this.at === null) {
      return given(404, {}, { message: 'There is no such upload' });
    }
    if (method === 'DELETE') {
      this.at = null;
      return given(204);
    }
    if (method === 'PATCH') {
      assert.equal(headers['Upload-Checksum'], `sha256 ${base64(hex(body))}`);
      if (Number(headers['Upload-Offset']) !== this.at.length) {
        return given(409, { 'Upload-Offset': String(this.at.length) });
      }
      this.at = new Uint8Array(Buffer.concat([this.at, body]));
      if (headers['Repr-Digest']) {
        const whole = this.spoil ? this.at.fill(0, 0, 9) : this.at;
        this.at = null;
        if (reprDigest(hex(whole)) !== headers['Repr-Digest']) {
          return given(422, {}, { message: 'SHA-256 differs' });
        }
        this.files.set(path, whole);
        return given(204, { 'Repr-Digest': headers['Repr-Digest'] });
      }
    }
    return given(204, { 'Upload-Offset': String(this.at.length) });
  }
}

async function upload(server, { data = DATA, mayReplace = async () => false, ...others } = {}) {
  const sha256 = async piece => hex(piece);
  const world = { ...server.world(), ...others };
  const made = new Upload('f', 'd/f', new Blob([data]), world, sha256, mayReplace);
  await made.run();
  return made;
}

test('an upload ends with one hash at both ends', async () => {
  for (const data of [DATA, new Uint8Array(0), DATA.slice(0, 1)]) {
    const server = new Server();
    const made = await upload(server, { data });
    assert.equal(made.stage, 'done');
    assert.deepEqual([made.localHash, made.remoteHash], [hex(data), hex(data)]);
    assert.deepEqual(server.files.get('d/f'), data);
  }
});

test('whatever answer is lost or replaced by trouble, it goes on to its end', async () => {
  const calm = new Server();
  await upload(calm);
  for (let at = 1; at <= calm.log.length; at += 1) {
    for (const how of ['lost', 'cut', 423, 460, 502, 503]) {
      const server = new Server({
        trouble: (number, method) => {
          if (number !== at || how === 'lost') {
            return null;
          }
          if (how === 'cut') {
            throw new TypeError('Failed to fetch');
          }
          return method === 'POST' && how === 460 ? null : given(how, {}, { message: 'trouble' });
        },
        lose: number => number === at && how === 'lost'
      });
      const made = await upload(server);
      assert.equal(made.stage, 'done', `${how} at ${at}: ${made.sentence}`);
      assert.equal(made.remoteHash, hex(DATA));
      assert.deepEqual(server.files.get('d/f'), DATA);
      const posts = server.log.filter(line => line.startsWith('POST'));
      assert.ok(posts.length === 1 || how !== 'lost', 'what was begun is found again');
    }
  }
});

test('what hashes and fails is replaced, whenever that is', async () => {
  for (let at = 0; at < 6; at += 1) {
    let left = at;
    const server = new Server();
    const made = await upload(server, { hash: () => hash(() => left-- === 0) });
    assert.deepEqual([made.stage, made.remoteHash], ['done', hex(DATA)]);
    assert.equal(server.waits.length, left < 0 ? 1 : 0, `it failed at ${at}`);
  }
});

test('an answer whose body never comes is let go', async () => {
  let isFirst = true;
  const server = new Server({
    trouble: () => {
      if (!isFirst) {
        return null;
      }
      isFirst = false;
      setImmediate(() => made.interrupted());
      return { ...given(200), json: () => new Promise(() => undefined) };
    }
  });
  const sha256 = async piece => hex(piece);
  const made = new Upload('f', 'd/f', new Blob([DATA]), server.world(), sha256, async () => false);
  await made.run();
  assert.deepEqual([made.stage, made.remoteHash], ['done', hex(DATA)]);
});

test('what was begun before goes on, and is hashed from its beginning', async () => {
  const server = new Server();
  Object.assign(server, { at: DATA.slice(0, 1_234_567), length: DATA.length });
  const made = await upload(server);
  assert.equal(made.stage, 'done');
  assert.equal(made.remoteHash, hex(DATA));
  assert.ok(!server.log.some(line => line.startsWith('POST')));
});

test('a difference is a failure', async () => {
  const made = await upload(new Server({ spoil: true }));
  assert.deepEqual([made.stage, made.sentence], ['failed', 'SHA-256 differs']);
  const server = new Server();
  Object.assign(server, { at: new Uint8Array(10), length: DATA.length }); // not what this file begins with
  const other = await upload(server);
  assert.equal(other.stage, 'failed');
  assert.equal(server.files.size, 0);
});

test('nothing is replaced without a yes', async () => {
  for (const yes of [false, true]) {
    const server = new Server();
    server.files.set('d/f', DATA.slice(0, 3));
    const made = await upload(server, { mayReplace: async () => yes });
    assert.equal(made.stage, yes ? 'done' : 'cancelled');
    assert.equal(server.files.get('d/f').length, yes ? DATA.length : 3);
  }
});

test('a refusal says why and waits for the person; a cancel leaves nothing', async () => {
  const server = new Server({
    trouble: (_, method) => (method === 'PATCH' ? given(403, {}, { message: 'by rule 2' }) : null)
  });
  const sha256 = async piece => hex(piece);
  const made = new Upload('f', 'd/f', new Blob([DATA]), server.world(), sha256, async () => false);
  const stopped = new Promise(resolve => {
    made.changed = () => made.stage === 'stopped' && resolve();
  });
  const over = made.run();
  await stopped;
  assert.equal(made.sentence, 'by rule 2');
  made.cancel();
  await over;
  assert.deepEqual([made.stage, server.at], ['cancelled', null]);
});

test('a pause lasts until it is over', async () => {
  const server = new Server();
  const sha256 = async piece => hex(piece);
  const made = new Upload('f', 'd/f', new Blob([DATA]), server.world(), sha256, async () => false);
  const stages = [];
  made.changed = () => {
    if (made.done > 0 && !stages.includes('paused')) {
      stages.push('paused');
      made.pause();
      setImmediate(() =>
        setImmediate(() => setImmediate(() => stages.push(made.stage) && made.resume()))
      );
    }
  };
  await made.run();
  assert.deepEqual([made.stage, stages], ['done', ['paused', 'paused']]);
});

/** An upload to a server that takes a piece of which `isIt` and does not answer; `hung` is called each time. */
function hanging(hung, isIt = headers => headers['Upload-Checksum']) {
  const server = new Server();
  const world = server.world();
  let left = 3;
  const made = new Upload(
    'f',
    'd/f',
    new Blob([DATA]),
    {
      ...world,
      request: (...asked) => {
        const signal = asked.at(-1);
        if (!isIt(asked[2]) || left === 0) {
          return world.request(...asked);
        }
        left -= 1;
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
          setImmediate(() => hung(made, server));
        });
      }
    },
    async piece => hex(piece),
    async () => false
  );
  return { made, server };
}

test('what is not answered in time is let go, asked about, and sent again after a while', async () => {
  const { made, server } = hanging((_, { deadline }) => {
    server.deadline = new AbortController();
    deadline.abort();
  });
  await made.run();
  assert.deepEqual([made.stage, made.remoteHash], ['done', hex(DATA)]);
  assert.equal(server.log.filter(line => line.startsWith('HEAD')).length, 4);
  assert.deepEqual(server.waits, [pauseMs(0, 0), pauseMs(1, 0), pauseMs(2, 0)]);
});

test('the end is waited for as long as a file of that size is read, and no longer', async () => {
  const { made, server } = hanging(
    (_, each) => {
      assert.equal(each.patience, 20_000 + DATA.length / 100_000);
      each.deadline.abort();
      each.deadline = new AbortController();
    },
    headers => headers['Repr-Digest']
  );
  await made.run();
  assert.deepEqual([made.stage, made.remoteHash, server.waits.length], ['done', hex(DATA), 3]);
});

test('an interruption that is known of is not waited for by asking, and its end is used', async () => {
  const { made, server } = hanging(() => {
    server.isDown = true;
    made.interrupted();
  });
  const stages = [];
  made.changed = () => stages.at(-1) !== made.stage && stages.push(made.stage);
  made.world.sleep = (ms, signal) =>
    new Promise(resolve => {
      server.waits.push(ms);
      signal.addEventListener('abort', resolve);
      server.isDown = false;
      made.hurry();
    });
  await made.run();
  assert.deepEqual([made.stage, made.remoteHash], ['done', hex(DATA)]);
  assert.deepEqual(server.waits, [30_000, 30_000, 30_000]);
  assert.equal(stages.filter(stage => stage === 'waiting').length, 3);
});

test('a cancel ends what hangs, over a cut, too, and is no failure', async () => {
  const { made, server } = hanging(() => made.cancel());
  let cuts = 3;
  server.trouble = (_, method) => {
    if (method === 'DELETE' && cuts-- > 0) {
      throw new TypeError('Failed to fetch');
    }
    return null;
  };
  await made.run();
  assert.deepEqual([made.stage, made.sentence, server.at], ['cancelled', '', null]);
});

/** A creating request whose answer is on its way until `come()`; `under` resolves when it has been sent. */
function slowToCreate() {
  const server = new Server();
  const world = server.world();
  const ask = world.request;
  let sent, come;
  const under = new Promise(resolve => (sent = resolve));
  const comes = new Promise(resolve => (come = resolve));
  world.request = (method, what, headers, body, signal) => {
    const answer = ask(method, what, headers, body, signal);
    if (method !== 'POST') {
      return signal.aborted ? Promise.reject(new Error('aborted')) : answer;
    }
    sent();
    const cut = new Promise((_, reject) => signal.addEventListener('abort', reject));
    return Promise.race([cut, comes.then(() => answer)]);
  };
  const sha256 = async piece => hex(piece);
  const made = new Upload('f', 'd/f', new Blob([DATA]), world, sha256, async () => false);
  return { made, server, under, come };
}

test('a cancel before the first answer reaches what that answer names', async () => {
  const { made, server, under, come } = slowToCreate();
  const over = made.run();
  await under;
  made.cancel();
  assert.equal(made.stage, 'cancelled'); // at once, for people
  come();
  await over;
  assert.deepEqual([made.stage, made.sentence, server.at], ['cancelled', '', null]);
  assert.equal(server.log.at(-1), 'DELETE transfers/uploads/d/f');
});

test('a pause before the first answer makes no second upload', async () => {
  const { made, server, under, come } = slowToCreate();
  const over = made.run();
  await under;
  made.pause();
  come();
  made.resume();
  await over;
  assert.deepEqual([made.stage, made.remoteHash], ['done', hex(DATA)]);
  assert.equal(server.log.filter(line => line.startsWith('POST')).length, 1);
});

/** A server of one file, whose answers break after so many bytes. */
function source(data, { breaks = [], etags = [], sha256 = hex(data), ...others } = {}) {
  const sink = { kept: [], end: '' };
  sink.write = async part => void sink.kept.push(part);
  sink.close = async () => void (sink.end = 'closed');
  sink.abort = async () => void (sink.end = 'aborted');
  const world = { ...new Server().world(), ...others };
  world.request = async (_method, what, headers) => {
    if (what.startsWith('transfers/digests/')) {
      return given(200, {}, { sha256, etag: '"1"' });
    }
    const first = Number(/bytes=(\d+)-/.exec(headers.Range ?? 'bytes=0-')[1]);
    const stop = breaks.shift();
    const rest = data.slice(first);
    const parts = stop === undefined ? [rest] : [rest.slice(0, stop), new TypeError('cut')];
    const etag = etags.shift() ?? '"1"';
    const isPart = headers['If-Range'] === etag && first > 0;
    const lengths = { ETag: etag, 'Content-Length': String(data.length - first) };
    return given(isPart ? 206 : 200, lengths, null, parts);
  };
  return { sink, made: new Download('f', 'd/f', data.length, sink, world) };
}

test('a download goes on after each cut, and is kept only when it is right', async () => {
  for (const breaks of [[], [0], [10, 0, 1000, 999_999]]) {
    const { sink, made } = source(DATA, { breaks });
    await made.run();
    assert.deepEqual([made.stage, sink.end], ['done', 'closed']);
    assert.deepEqual([made.localHash, made.remoteHash], [hex(DATA), hex(DATA)]);
    assert.equal(hex(Buffer.concat(sink.kept)), hex(DATA));
  }
  let count = 0;
  const { made: late } = source(DATA, { hash: () => hash(() => count++ === 0) });
  await late.run();
  assert.equal(late.stage, 'done');
  count = 0;
  for (const wrong of [
    { sha256: hex('else') },
    { breaks: [10], etags: ['"1"', '"2"'] },
    { etags: ['"2"'] },
    { hash: () => hash(() => ++count === 2) } // what was written can't be read again
  ]) {
    const { sink, made } = source(DATA, wrong);
    await made.run();
    assert.deepEqual([made.stage, sink.end], ['failed', 'aborted']);
  }
});
