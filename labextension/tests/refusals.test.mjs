import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isRefusal } from '../lib/facts.js';

test('other errors are left as they are', () => {
  for (const text of [
    '',
    'Permission denied: x',
    'File not found',
    'the access policy of this site is fine'
  ]) {
    assert.equal(isRefusal(text), false, text);
  }
});

test('what the policy refuses is known by its sentence', () => {
  const said = [
    'secret is closed to you by rule 2 of the access policy (line 9, for *). Ask Ada for access.',
    'data may be read but not changed: rule 12 of the access policy (line 9, for *).',
    'No rule of the access policy allows x.'
  ];
  for (const text of said) {
    assert.equal(isRefusal(text), true, text);
  }
});
