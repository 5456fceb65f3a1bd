import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EVENT_LIMIT, EventReader, pauseBefore } from '../lib/events.js';

test('an event is told when it is complete, however it is cut', () => {
  const stream = 'event: panel\ndata: {"a":1}\n\nevent: panel\r\ndata: {"b":2}\r\n\r\n';
  for (const size of [1, 2, 7, stream.length]) {
    const reader = new EventReader();
    const found = [];
    for (let at = 0; at < stream.length; at += size) {
      found.push(...reader.take(stream.slice(at, at + size), 'panel'));
    }
    assert.deepEqual(found, ['{"a":1}', '{"b":2}'], `in pieces of ${size}`);
  }
});

test('other events, comments and events without data are none of ours', () => {
  const reader = new EventReader();
  const stream =
    ': hello\n\nevent: other\ndata: 1\n\ndata: 2\n\nevent: panel\n\nevent:panel\ndata:3\ndata: 4\n\n';
  assert.deepEqual(reader.take(stream, 'panel'), ['3\n4']);
});

test('an event without an end is refused', () => {
  const reader = new EventReader();
  assert.throws(() => reader.take('x'.repeat(EVENT_LIMIT + 1), 'panel'), RangeError);
});

test('each try waits for longer, up to a minute, and never not at all', () => {
  const pauses = [0, 1, 2, 3, 10, 9999].map(failures => pauseBefore(failures, 1));
  assert.deepEqual(pauses, [1, 2, 4, 8, 60, 60]);
  assert.equal(pauseBefore(0, 0), 0.5);
});
