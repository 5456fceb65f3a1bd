import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readGpu } from '../lib/gpu.js';
import { HEIGHT, History, lines, SPAN_S, WIDTH } from '../lib/history.js';
import { body, kernel } from './gpubody.mjs';

const at = (time, ...kernels) => readGpu(body({ time, kernels }));

test('each sample counts once, in its order, and old ones are forgotten', () => {
  const history = new History();
  for (const time of [1000, 1010, 1010, 1005, 1020]) {
    history.add(at(time, kernel()));
  }
  assert.deepEqual(
    history.of('k').map(point => point.time),
    [1000, 1010, 1020]
  );
  history.add(at(1015 + SPAN_S, kernel()));
  assert.deepEqual(
    history.of('k').map(point => point.time),
    [1020, 1015 + SPAN_S]
  );
});

test('a kernel that is gone is forgotten, a sample without a time is none', () => {
  const history = new History();
  history.add(at(1000, kernel(), kernel({ id: 'other' })));
  history.add(at(undefined, kernel({ id: 'third' })));
  history.add(at(1010, kernel({ id: 'other' })));
  assert.deepEqual(
    ['k', 'other', 'third'].map(id => history.of(id).length),
    [0, 2, 0]
  );
});

test('a line goes from the left to the right, and higher for more', () => {
  const points = [0, 50, 100].map((value, index) => ({ time: index * 10, value }));
  assert.equal(lines(points, 100), `M0 ${HEIGHT - 1}L${WIDTH / 2} ${HEIGHT / 2}L${WIDTH} 1`);
});

test('what was not measurable is a gap; what is more than all stays inside', () => {
  const values = [10, null, 1000, 20];
  const drawn = lines(
    values.map((value, index) => ({ time: index, value })),
    100
  );
  assert.equal(drawn.match(/M/g).length, 2);
  assert.match(drawn, /M80 1L120 /);
});

test('less than two moments, or nothing to hold, is no line', () => {
  assert.equal(lines([], 100), '');
  assert.equal(lines([{ time: 1, value: 1 }], 100), '');
  assert.equal(
    lines(
      [1, 1].map(time => ({ time, value: 1 })),
      100
    ),
    ''
  );
  assert.equal(
    lines(
      [1, 2].map(time => ({ time, value: 1 })),
      0
    ),
    ''
  );
});
