import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readGpu } from '../lib/gpu.js';
import {
  deviceNotes,
  deviceWords,
  elsewhereWords,
  idleWords,
  kernelWords,
  memoryWords,
  nameOf,
  shareWords,
  stateWords,
  trendWords,
  useWords
} from '../lib/gpuwords.js';
import { body, device, kernel } from './gpubody.mjs';
import { words } from './stub.mjs';

const titles = change => stateWords(readGpu(body(change)), words).map(each => each.title);
const notes = change => deviceNotes(readGpu(body({ devices: [device(change)] })).devices[0], words);
const idle = (change, more) => {
  const facts = readGpu(body({ kernels: [kernel(change)], ...more }));
  return idleWords(facts.kernels[0], facts, words).join(' ');
};

test('each state has words of its own', () => {
  assert.deepEqual(titles(), []);
  assert.deepEqual(titles({ verified: false }), ['Unverified']);
  assert.deepEqual(titles({ simulated: true, verified: false }), ['Simulated', 'Unverified']);
  assert.deepEqual(titles({ simulated: true, state: 'lost' }), ['Simulated', 'Driver lost']);
  assert.deepEqual(titles({ state: 'none' }), ['No GPU']);
  assert.deepEqual(titles({ state: 'starting' }), ['Starting']);
  assert.deepEqual(titles({ state: 'hung' }), ['Driver hangs']);
  for (const state of ['refused', 'absent', 'error', 'unsupported']) {
    assert.deepEqual(titles({ state }), ['Not visible']);
  }
  const all = ['none', 'starting', 'lost', 'hung', 'refused', 'absent', 'error'].map(
    state => stateWords(readGpu(body({ state })), words)[0].sentence
  );
  assert.equal(new Set(all).size, all.length);
});

test('what is the matter with a device', () => {
  assert.deepEqual(notes({ others: {} }), []);
  assert.deepEqual(
    notes({ state: 'lost', others: {} }).map(each => each.title),
    ['Driver lost']
  );
  const [hidden] = notes({ not_visible: '2048 MiB are held', others: {} });
  assert.equal(hidden.title, 'Not visible');
  assert.match(hidden.sentence, /2048 MiB are held/);
  assert.deepEqual(
    notes({ allocated: false, others: {} }).map(each => each.title),
    ['Not yours']
  );
  assert.match(notes({})[0].sentence, /^2 processes of other people run here \(not measurable\)/);
  assert.match(notes({ others: { processes: 1, memory: 0 } })[0].sentence, /^One process .*0 MiB/);
});

test('memory and use, and that not measurable is not 0', () => {
  assert.equal(memoryWords(0, words), '0 MiB');
  assert.equal(memoryWords(300 * 2 ** 20, words), '300 MiB');
  assert.equal(memoryWords(3.25 * 2 ** 30, words), '3.3 GiB');
  assert.equal(memoryWords(80 * 2 ** 30, words), '80 GiB');
  assert.equal(memoryWords(null, words), 'not measurable');
  assert.equal(useWords(0, words), '0 %');
  assert.equal(useWords(null, words), 'not measurable');
});

test('names', () => {
  const { devices } = readGpu(
    body({ devices: [device(), device({ uuid: 'MIG-1', index: 3, parent: 'G0' })] })
  );
  assert.deepEqual(
    devices.map(each => deviceWords(each, words)),
    ['GPU 0', 'MIG instance 3']
  );
  assert.equal(nameOf('MIG-1', devices, words), 'MIG instance 3');
  assert.equal(nameOf('GPU-x', devices, words), 'GPU-x');
  assert.equal(kernelWords({ notebook: '' }, words), 'Kernel without a notebook');
  const held = { device: 'G0', name: 'python', isLeftover: true, memory: 2 ** 30 };
  assert.match(elsewhereWords(held, devices, words), /^1 GiB on GPU 0 are left over .*\(python\)/);
  assert.match(
    elsewhereWords({ ...held, isLeftover: false, name: '' }, devices, words),
    /held outside of notebooks \(a process\)/
  );
});

test('since when a kernel is idle and what comes of it', () => {
  assert.equal(idle({ devices: [] }), 'Holds no GPU memory.');
  assert.equal(idle({ idle_s: 0, stage: 0, busy: true }), 'Runs a cell.');
  assert.equal(idle({ idle_s: 30, stage: 0 }), 'Used just now.');
  assert.match(
    idle({ idle_s: 600, stage: 0, left_s: 6600 }),
    /^Idle for 10 min, since .*\. Warned in 50 min\. Shut down in 1 h 50 min\.$/
  );
  assert.match(idle({}), /^Idle for 1 h 1 min, since .*\. Shut down in 58 min\.$/);
  assert.match(
    idle({ kept_s: 7200, stage: 0, left_s: 10700 }),
    /Kept for 2 h more\. Warned in 1 h 58 min\. Shut down in 2 h 58 min\.$/
  );
  assert.match(idle({ measured: false }), /Its use is not measurable: it is not shut down\.$/);
  assert.match(
    idle({}, { limits: { action: 'end session' } }),
    /The session is ended in 58 min\.$/
  );
  assert.doesNotMatch(idle({}, { limits: { action: 'notify' } }), /Shut down|ended/);
  assert.doesNotMatch(idle({ left_s: null, stage: 0 }), /Warned|Shut down/);
});

test('a sparkline in words', () => {
  const points = [
    { time: 0, memory: 2 ** 30, utilisation: null },
    { time: 300, memory: 3 * 2 ** 30, utilisation: null }
  ];
  const say = value => memoryWords(value, words);
  assert.equal(
    trendWords('Memory', points, point => point.memory, say, words),
    'Memory in the last 5 min: from 1 GiB to 3 GiB, now 3 GiB'
  );
  assert.equal(
    trendWords('Use', points, point => point.utilisation, String, words),
    'Use: not measurable'
  );
  assert.equal(
    trendWords('Use', [], point => point.utilisation, String, words),
    'Use: not measurable'
  );
});

test('a share is told where both of it are measurable', () => {
  const GIB = 2 ** 30;
  assert.equal(shareWords(8 * GIB, 80 * GIB, words), '8 GiB of 80 GiB');
  assert.equal(shareWords(null, 80 * GIB, words), 'not measurable');
  assert.equal(shareWords(8 * GIB, null, words), '8 GiB');
});
