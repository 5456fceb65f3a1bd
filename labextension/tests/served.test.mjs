import assert from 'node:assert/strict';
import { test } from 'node:test';

import { generalWords, recordedWords, refusalWords } from '../lib/served.js';
import { words } from './stub.mjs';

/** A language in which everything is marked. */
const marked = { __: (...said) => `«${words.__(...said)}»`, _n: words._n };

test('what has no known code or form is shown as it came', () => {
  const recording = new Map([['level', 'sources']]);
  for (const code of ['', 'other', 'level']) {
    assert.equal(recordedWords({ code, text: 'As it is.' }, recording, marked), 'As it is.');
  }
  for (const text of ['', 'x is closed to you by rule 1', 'Permission denied: x', '<img src=x>']) {
    assert.equal(refusalWords(text, marked), text);
  }
  const entry = { path: '/a', right: 'read', rule: 1, line: 3, who: '*' };
  const access = {
    bind: 'new',
    entries: [entry],
    ports: [],
    policy: 'ab',
    enforcement: 'required'
  };
  const said = ['You may read /a (rule 1, line 3, for *).', 'No more.'];
  assert.deepEqual(generalWords({ ...access, words: said }, marked), ['No more.']);
});

test('what is recorded is said by its code and values', () => {
  const recording = new Map([
    ['level', 'sources+outputs'],
    ['output_limit', '100'],
    ['hashes_files', 'yes']
  ]);
  const told = recordedWords({ code: 'level', text: 'x' }, recording, marked);
  assert.equal(told.split('» «').length, 4);
  assert.match(told, /up to 100 bytes per cell/);
  recording.set('level', 'metadata').set('hashes_files', 'no');
  assert.doesNotMatch(recordedWords({ code: 'level', text: 'x' }, recording, marked), /» «/);
});

test('the rules beside the entries are said by their values', () => {
  const access = {
    bind: 'none',
    entries: [],
    ports: [53, 443],
    policy: 'ab',
    enforcement: 'advisory'
  };
  const said = generalWords({ ...access, words: [] }, marked);
  assert.match(said[0], /^«.*NOT enforced/);
  assert.equal(said.at(-1), '«It may connect to TCP ports 53, 443.»');
  const free = generalWords({ ...access, policy: '', bind: 'private', words: [] }, marked);
  assert.match(free[0], /^«There is no access policy here/);
  assert.equal(free.length, 2);
});

test('a refusal keeps its path, rule and whom to ask, and nothing else', () => {
  for (const sentence of [
    'a (1)/b is closed to you by rule 2 of the access policy (line 9, for group:x). Ask Ada (a@b.c) for access.',
    'data may be read but not changed: rule 12 of the access policy (line 9, for *).',
    'No rule of the access policy allows x.y. Ask Ada for access.',
    'No rule of the access policy allows x.y.'
  ]) {
    assert.equal(refusalWords(sentence, words), sentence);
    assert.match(refusalWords(sentence, marked), /^«.*»( «Ask .* for access\.»)?$/);
  }
});
