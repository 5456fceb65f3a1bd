import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  contactParts,
  clockTime,
  contactLink,
  duration,
  protection,
  receiptLines,
  urgency
} from '../lib/words.js';
import { words } from './stub.mjs';

test('times are said without false precision', () => {
  const cases = [
    [-5, 'less than a minute'],
    [59, 'less than a minute'],
    [60, '1 min'],
    [3599, '59 min'],
    [3600, '1 h'],
    [5000, '1 h 23 min'],
    [36000, '10 h'],
    [86400, '24 h'],
    [2 * 86400, '2 d 0 h']
  ];
  for (const [seconds, text] of cases) {
    assert.equal(duration(seconds, words), text);
  }
});

test('another day is named', () => {
  const noon = new Date(2026, 4, 6, 12).getTime() / 1000;
  assert.equal(clockTime(noon + 3600, noon, 'en-GB'), '13:00');
  assert.match(clockTime(noon + 86400, noon, 'en-GB'), /Thu.*7 May.*12:00/);
});

test('the end is urgent by steps', () => {
  assert.deepEqual([3600, 1800, 601, 600, 0].map(urgency), ['calm', 'soon', 'soon', 'now', 'now']);
});

test('only an address is made a link of', () => {
  const bad = [
    'javascript:alert(1)',
    'https://x y',
    'http://plain.example',
    'data:text/html,x',
    '<a@b.c>',
    'the help desk',
    'a@b',
    'a@b.c?cc=d@e.f',
    'https://user:secret@host.example/'
  ];
  for (const contact of [...bad, 'https://a.example/"onclick="x']) {
    assert.equal(contactLink(contact), null, contact);
  }
  assert.equal(contactLink('data-desk@site.example'), 'mailto:data-desk@site.example');
  assert.equal(
    contactLink('https://desk.example/access?form=1'),
    'https://desk.example/access?form=1'
  );
});

test('addresses among words are links, and nothing of it is lost', () => {
  const linked = contact => contactParts(contact).flatMap(({ link }) => link ?? []);
  for (const [contact, links] of [
    ['javascript:alert(1)', []],
    ['the <desk>', []],
    ['the data desk (desk@site.example)', ['mailto:desk@site.example']],
    [
      'Ann <ann@site.example>, https://desk.example/a?b=1',
      ['mailto:ann@site.example', 'https://desk.example/a?b=1']
    ]
  ]) {
    assert.deepEqual(linked(contact), links);
    assert.equal(
      contactParts(contact)
        .map(({ text }) => text)
        .join(''),
      contact
    );
  }
});

const session = protections => ({ protections: new Map(Object.entries(protections)) });

test('protections are called in force only when they are', () => {
  const said = facts => protection(session(facts), words);
  assert.equal(said({}).isGood, false);
  assert.equal(said({ enforcement: 'advisory', policy: 'ab' }).isGood, false);
  assert.equal(said({ enforcement: 'required', policy: '' }).isGood, false);
  assert.equal(said({ enforcement: 'required', policy: 'ab' }).isGood, true);
});

test('the receipt is shown whole: the known first, what was tried, then the rest', () => {
  const receipt = session({
    other: 'x',
    'canary.udp': 'refused',
    policy: 'a'.repeat(64),
    bind: 'private',
    empty: null,
    flag: true
  }).protections;
  const lines = receiptLines(receipt, words).map(({ name, value }) => `${name}: ${value}`);
  assert.deepEqual(lines, [
    'Listening: in a network of its own',
    `Policy: ${'a'.repeat(12)}`,
    'Tried: udp: refused',
    'other: x',
    'empty: none',
    'flag: yes'
  ]);
});
