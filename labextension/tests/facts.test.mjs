import assert from 'node:assert/strict';
import { test } from 'node:test';

import { endOf, readAccess, readEnding, readSession } from '../lib/facts.js';

const SESSION = {
  user: 'alice',
  server: '',
  session: 'ab',
  job: '17',
  node: 'n1',
  ends_at: 1000,
  certificate_ends_at: 900,
  stale: null,
  protections: { landlock_abi: 7 },
  recorded: [{ code: 'a', text: 'All.' }]
};

test('what is no session is none', () => {
  for (const value of [null, 1, 'x', [], {}, { ends_at: '1' }, { ends_at: -1 }, { ends_at: NaN }]) {
    assert.equal(readSession(value), null);
  }
});

test('values of another type are left out, and the rest is read', () => {
  const found = readSession({
    ...SESSION,
    user: 7,
    node: null,
    certificate_ends_at: 'soon',
    stale: 'yes',
    protections: { good: 1, bad: {}, worse: [] },
    recorded: ['a', 1, null, { code: 7, text: 'b' }, { code: 'c' }],
    recording: { level: 'sources', more: 1 }
  });
  assert.equal(found.user, '');
  assert.equal(found.node, '');
  assert.equal(found.job, '17');
  assert.equal(found.certificateEndsAt, null);
  assert.equal(found.stale, null);
  assert.deepEqual([...found.protections], [['good', 1]]);
  assert.deepEqual(found.recorded, [{ code: '', text: 'b' }]);
  assert.deepEqual([...found.recording], [['level', 'sources']]);
});

test('own records are on this host, or nowhere', () => {
  const read = records => readSession({ ...SESSION, records }).records;
  for (const bad of [
    '//evil.example/',
    'https://evil.example/',
    'javascript:x',
    '/a?b',
    '/\\evil',
    '/',
    7,
    null
  ]) {
    assert.equal(read(bad), '', bad);
  }
  assert.equal(read('/services/hpcsec/me'), '/services/hpcsec/me');
});

test('a session ends with its job, or sooner when its rules have changed', () => {
  assert.equal(endOf(readSession(SESSION)), 1000);
  const stale = { since: 1, ends_at: 600, reason: 'Changed.' };
  assert.equal(endOf(readSession({ ...SESSION, stale })), 600);
  assert.equal(endOf(readSession({ ...SESSION, stale: { ...stale, ends_at: 5000 } })), 1000);
});

test('nonsense in place of rules gives empty ones', () => {
  for (const value of [
    null,
    [],
    'x',
    { rules: [] },
    { rules: { entries: [1, null, {}] }, words: {} }
  ]) {
    const found = readAccess(value);
    assert.deepEqual([found.entries, found.words, found.contact], [[], [], '']);
  }
});

test('rules are sorted by path, and the sentences that say them are told from the others', () => {
  const entry = (path, rule) => ({ path, right: 'read', rule, line: 3, who: '*' });
  const found = readAccess({
    rules: { entries: [entry('/b', 2), entry('/a', 1)], subject: { project: 'p' }, contact: 'Ada' },
    words: [
      'You may read /a (rule 1, line 3, for *).',
      'You may read /b (rule 2, line 3, for *).',
      'No more.'
    ]
  });
  assert.deepEqual(
    found.entries.map(({ path }) => path),
    ['/a', '/b']
  );
  assert.deepEqual([found.project, found.contact], ['p', 'Ada']);
});

test('an ending is a sentence or nothing', () => {
  assert.equal(readEnding({ hpcsec_ended: 'Your session was ended' }), 'Your session was ended');
  assert.equal(readEnding({ hpcsec_ended: 'x'.repeat(1000) }).length, 500);
  for (const value of [null, undefined, 1, 'x', [], {}, { message: 'x' }, { hpcsec_ended: 1 }]) {
    assert.equal(readEnding(value), '');
  }
});
