import assert from 'node:assert/strict';
import { test } from 'node:test';

import { IdleWarnings, readGpu, shortName } from '../lib/gpu.js';

const KERNEL = { id: 'k', notebook: 'eda.ipynb', stage: 1, left_s: 3600, may_keep_s: 7200 };

function kernels(...stages) {
  return readGpu({
    state: 'ok',
    kernels: stages.map((stage, at) => ({ ...KERNEL, id: `k${at}`, stage }))
  }).kernels;
}

test('what is understood', () => {
  const found = readGpu({
    state: 'ok',
    simulated: true,
    limits: { extend_by_s: 3600 },
    kernels: [KERNEL, 7, { id: 3 }]
  });
  assert.deepEqual(found, {
    isWatched: true,
    isSimulated: true,
    extendMinutes: 60,
    kernels: [{ id: 'k', notebook: 'eda.ipynb', stage: 1, leftSeconds: 3600, mayKeepSeconds: 7200 }]
  });
});

test('nonsense is a session without GPUs', () => {
  for (const body of [null, [], 'x', {}, { state: 'none' }, { state: 7, kernels: {} }]) {
    const found = readGpu(body);
    assert.deepEqual([found.isWatched, found.kernels], [false, []]);
  }
});

test('each warning comes once, and again after the kernel was used', () => {
  const warnings = new IdleWarnings();
  const said = [[0], [1], [1], [2], [2], [0], [1]].map(
    stages => warnings.next(kernels(...stages)).due.length
  );
  assert.deepEqual(said, [0, 1, 0, 1, 0, 0, 1]);
});

test('what is over is taken back: used again, or gone', () => {
  const warnings = new IdleWarnings();
  warnings.next(kernels(1, 2));
  assert.deepEqual(warnings.next(kernels(0, 2)).over, ['k0']);
  assert.deepEqual(warnings.next([]).over, ['k1']);
});

test('a notebook is named by its last part', () => {
  assert.equal(shortName('a/b/eda.ipynb'), 'eda.ipynb');
  assert.equal(shortName(''), '');
  assert.equal(shortName('x'.repeat(60)).length, 49);
});
