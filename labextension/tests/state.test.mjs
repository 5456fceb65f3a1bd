import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isAway, linkOf, pauseAfter } from '../lib/state.js';

const answer = (status, isObject = true) => ({ status, isObject });

test('no answer, and what a proxy says without one behind it, is an interruption', () => {
  for (const status of [null, 502, 503, 504]) {
    assert.equal(linkOf(answer(status), 'connected'), 'reconnecting');
    assert.equal(linkOf(answer(status), 'unknown'), 'reconnecting');
  }
});

test('a refusal, or a login page in place of an object, means that the login has ended', () => {
  assert.equal(linkOf(answer(401), 'connected'), 'signed-out');
  assert.equal(linkOf(answer(403), 'connected'), 'signed-out');
  assert.equal(linkOf(answer(200, false), 'connected'), 'signed-out');
});

test('a hub that has no such server running says so', () => {
  assert.equal(linkOf(answer(424), 'connected'), 'stopped');
});

test('who never was in a session is not told of one, who was is told of an interruption', () => {
  assert.equal(linkOf(answer(404), 'unknown'), 'absent');
  assert.equal(linkOf(answer(404), 'absent'), 'absent');
  for (const before of ['connected', 'reconnecting', 'signed-out', 'stopped']) {
    assert.equal(linkOf(answer(404), before), 'reconnecting');
  }
});

test('a server that answers is there, whatever it answers', () => {
  assert.equal(linkOf(answer(200), 'reconnecting'), 'connected');
  assert.equal(linkOf(answer(500), 'unknown'), 'connected');
});

test('an interruption is looked at more often', () => {
  assert.ok(pauseAfter('reconnecting') < pauseAfter('connected'));
});

test('JupyterLab is kept from asking while nothing can be reached, and then alone', () => {
  assert.deepEqual(
    ['unknown', 'connected', 'reconnecting', 'signed-out', 'stopped', 'absent'].filter(isAway),
    ['reconnecting', 'stopped']
  );
});
