import assert from 'node:assert/strict';
import { test } from 'node:test';

import { holds, IdleWarnings, isEnded, mayKeepMinutes, readGpu, shortName } from '../lib/gpu.js';
import { body, kernel } from './gpubody.mjs';

function kernels(...stages) {
  return readGpu(body({ kernels: stages.map((stage, at) => kernel({ id: `k${at}`, stage })) }))
    .kernels;
}

test('what is understood', () => {
  const found = readGpu(body());
  assert.deepEqual(found.kernels, [
    {
      id: 'k',
      notebook: 'a/eda.ipynb',
      isBusy: false,
      devices: [{ uuid: 'G0', memory: 3221225472 }],
      memory: 3221225472,
      utilisation: 0,
      idleSeconds: 3700,
      isMeasured: true,
      stage: 1,
      leftSeconds: 3500,
      keptSeconds: 0,
      mayKeepSeconds: 28800
    }
  ]);
  assert.deepEqual(found.devices[0].others, { processes: 2, memory: null });
  assert.deepEqual(
    [found.state, found.isWatched, found.isSimulated, found.isVerified, found.extendMinutes],
    ['ok', true, false, true, 120]
  );
});

test('nonsense is a session without GPUs', () => {
  for (const nonsense of [null, [], 'x', {}, { state: 'none' }, { state: 7, kernels: {} }]) {
    const found = readGpu(nonsense);
    assert.deepEqual([found.isWatched, found.kernels, found.devices], [false, [], []]);
  }
});

test('what is of another type, below zero or endless is left out, and never a number', () => {
  const found = readGpu(
    body({
      time: 'now',
      devices: [{ uuid: 7, state: null, memory_total: '1', memory_used: -5, utilisation: 1e9 }, 3],
      kernels: [kernel({ memory: NaN, devices: 'x', utilisation: null }), { id: 3 }, null],
      elsewhere: 'x',
      alerts: [7]
    })
  );
  assert.equal(found.time, null);
  assert.equal(found.devices[0].state, 'error');
  assert.deepEqual(
    [found.devices[0].memoryTotal, found.devices[0].memoryUsed, found.devices[0].utilisation],
    [null, 0, 100]
  );
  assert.equal(found.kernels.length, 1);
  assert.deepEqual([found.kernels[0].memory, found.kernels[0].utilisation], [null, null]);
  assert.equal(holds(found.kernels[0]), false);
  assert.equal(readGpu(body({ kernels: Array(9999).fill(kernel()) })).kernels.length, 256);
});

test('who is shut down at the limit, and who may be kept', () => {
  const over = (change, limits) => {
    const found = readGpu(body({ kernels: [kernel(change)], ...limits }));
    return isEnded(found.kernels[0], found);
  };
  assert.equal(over({}), true);
  assert.equal(over({ measured: false }), false);
  assert.equal(over({ left_s: null }), false);
  assert.equal(over({}, { limits: { action: 'notify' } }), false);
  const found = readGpu(body({ kernels: [kernel({ may_keep_s: 3599 })] }));
  assert.equal(mayKeepMinutes(found.kernels[0], found), 59);
  const long = readGpu(body());
  assert.equal(mayKeepMinutes(long.kernels[0], long), 120);
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

test('a kernel that was kept and is idle still is said anew, once', () => {
  const warnings = new IdleWarnings();
  const kept = seconds =>
    readGpu(body({ kernels: [kernel({ stage: 1, kept_s: seconds })] })).kernels;
  warnings.next(kept(0));
  assert.deepEqual(warnings.next(kept(0)).changed, []);
  assert.deepEqual(
    warnings.next(kept(60)).changed.map(each => each.id),
    ['k']
  );
  assert.deepEqual(warnings.next(kept(60)).changed, []);
});

test('a notebook is named by its last part', () => {
  assert.equal(shortName('a/b/eda.ipynb'), 'eda.ipynb');
  assert.equal(shortName(''), '');
  assert.equal(shortName('x'.repeat(60)).length, 49);
});
