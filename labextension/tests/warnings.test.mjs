import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Warnings } from '../lib/warnings.js';

const MINUTES = [30, 10, 2];

/** What is said at these numbers of seconds before the end. */
function said(seconds, warnings = new Warnings()) {
  return seconds.map(left => warnings.next(left, MINUTES));
}

test('nothing is said while there is time, and nothing when it is over', () => {
  assert.deepEqual(said([7200, 1801, 0, -5]), [null, null, null, null]);
});

test('each warning comes once', () => {
  assert.deepEqual(said([1800, 1790, 601, 600, 590, 120, 60, 1]), [
    30,
    null,
    null,
    10,
    null,
    2,
    null,
    null
  ]);
});

test('who comes late gets the nearest warning alone', () => {
  assert.deepEqual(said([500, 490, 119]), [10, null, 2]);
});

test('a clock that wavers repeats nothing, and more time lets it begin again', () => {
  assert.deepEqual(said([1799, 1830, 1799]), [30, null, null]);
  assert.deepEqual(said([1799, 7200, 1800]), [30, null, 30]);
});

test('no warnings wanted, none given', () => {
  assert.equal(new Warnings().next(10, []), null);
});
