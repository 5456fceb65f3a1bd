/** An answer of `GET /hpcsec/api/gpu`, and one kernel of it, with what a test wants otherwise. */

export function kernel(change = {}) {
  return {
    id: 'k',
    notebook: 'a/eda.ipynb',
    busy: false,
    devices: [{ uuid: 'G0', memory: 3221225472, processes: 1 }],
    memory: 3221225472,
    utilisation: 0,
    idle_s: 3700,
    measured: true,
    stage: 1,
    left_s: 3500,
    kept_s: 0,
    may_keep_s: 28800,
    ...change
  };
}

export function device(change = {}) {
  return {
    uuid: 'G0',
    index: 0,
    name: 'Some GPU',
    parent: null,
    state: 'ok',
    detail: '',
    not_visible: null,
    allocated: true,
    memory_total: 85899345920,
    memory_used: 4294967296,
    utilisation: 0,
    others: { processes: 2, memory: null },
    ...change
  };
}

export function body(change = {}) {
  return {
    state: 'ok',
    detail: '',
    simulated: false,
    verified: true,
    time: 1_700_000_000.5,
    devices: [device()],
    kernels: [kernel()],
    elsewhere: [],
    limits: {
      first_warning_s: 3600,
      second_warning_s: 6300,
      end_s: 7200,
      extend_by_s: 7200,
      extend_in_all_s: 28800,
      action: 'shutdown kernel'
    },
    alerts: [],
    blind: [],
    ...change
  };
}
