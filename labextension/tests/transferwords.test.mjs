import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import {
  bytes,
  meaning,
  pauseMs,
  pieceSize,
  progressWords,
  Rate,
  readDigest,
  reprDigest
} from '../lib/transferwords.js';
import { words } from './stub.mjs';

const hex = data => createHash('sha256').update(data).digest('hex');

test('what answers mean', () => {
  const expected = [
    [null, 'wait'],
    [204, 'go-on'],
    [400, 'fail'],
    [403, 'stop'],
    [409, 'look'],
    [412, 'exists'],
    [422, 'fail'],
    [423, 'wait'],
    [460, 'again'],
    [502, 'wait'],
    [507, 'stop']
  ];
  assert.deepEqual(
    expected.map(([status]) => meaning(status)),
    expected.map(([, next]) => next)
  );
});

test('waits grow to a limit, pieces by how quick they are', () => {
  assert.ok(pauseMs(0, 1) < pauseMs(3, 0) && pauseMs(99, 1) === 30_000);
  let size = pieceSize(null, null);
  for (let count = 0; count < 20; count += 1) {
    size = pieceSize(size, 10);
  }
  assert.equal(size, 16 * 2 ** 20);
  for (let count = 0; count < 20; count += 1) {
    size = pieceSize(size, null);
  }
  assert.equal(size, 2 ** 18);
});

test('words and digests', () => {
  assert.equal(bytes(0, words), '0 B');
  assert.equal(bytes(1536, words), '1.5 KiB');
  assert.equal(bytes(20 * 2 ** 30, words), '20.0 GiB');
  const rate = new Rate();
  assert.equal(rate.perSecond, null);
  rate.add(0, 0);
  rate.add(2 ** 20, 1000);
  assert.equal(
    progressWords(2 ** 20, 2 ** 22, rate.perSecond, words),
    '1.0 MiB of 4.0 MiB, 1.0 MiB/s, 3 s left'
  );
  assert.equal(readDigest(reprDigest(hex('x'))), hex('x'));
  assert.equal(readDigest('sha-256=:nonsense:'), '');
  assert.equal(readDigest(null), '');
});
