import assert from 'node:assert/strict';
import { test } from 'node:test';

import { interrupted } from '../lib/rejoin.js';

const way = connectionStatus => ({ connectionStatus, reconnect: () => Promise.resolve() });
const notebook = kernel => ({ sessionContext: { session: { kernel } }, content: {} });

test('what is connected, and what leads nowhere, is left alone', () => {
  const widgets = [
    {},
    { content: null },
    { content: { session: { connectionStatus: 'disconnected' } } },
    { sessionContext: { session: null } },
    notebook(null),
    notebook(way('connected'))
  ];
  assert.deepEqual(interrupted(widgets), []);
});

test('kernels and terminals that are tried again or were given up are found, each once', () => {
  const kernel = way('disconnected');
  const terminal = way('connecting');
  const widgets = [notebook(kernel), notebook(kernel), { content: { session: terminal } }];
  assert.deepEqual(interrupted(widgets.values()), [kernel, terminal]);
});
