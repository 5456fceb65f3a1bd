/**
 * What the server tells about GPUs and the kernels that hold their memory, read with suspicion: whatever is of
 * another type than expected is left out. Pure. Memory in bytes, use in percent; null is *not measurable*.
 */

/** A GPU, or a MIG instance of one. */
export interface IDevice {
  readonly uuid: string;
  readonly index: number;
  readonly name: string;
  readonly isInstance: boolean;
  /** `ok`, or why it can't be seen (`gpu.samples.State`). */
  readonly state: string;
  /** Why what runs on it is not known; empty when it is. */
  readonly notVisible: string;
  /** Whether root gave it to this job; null where root has written nothing down. */
  readonly isAllocated: boolean | null;
  readonly memoryTotal: number | null;
  readonly memoryUsed: number | null;
  readonly utilisation: number | null;
  /** Other people's processes on it: how many, and what they hold. */
  readonly others: { readonly processes: number; readonly memory: number | null };
}

/** A kernel. What it holds may be nothing. */
export interface IHolding {
  readonly id: string;
  readonly notebook: string;
  readonly isBusy: boolean;
  readonly devices: readonly { readonly uuid: string; readonly memory: number | null }[];
  readonly memory: number | null;
  readonly utilisation: number | null;
  readonly idleSeconds: number;
  /** Whether its use was measured all the while; who can't be measured is warned and not shut down. */
  readonly isMeasured: boolean;
  /** 0: in use; 1 and 2: idle since the first and the second warning are due; 3: the limit. */
  readonly stage: number;
  /** Until its limit; null where there is none. */
  readonly leftSeconds: number | null;
  readonly keptSeconds: number;
  readonly mayKeepSeconds: number;
}

/** GPU memory of this user that no living kernel holds: left over, or held by a program of a terminal. */
export interface IElsewhere {
  readonly device: string;
  readonly name: string;
  readonly isLeftover: boolean;
  readonly memory: number | null;
}

/** An alert that stands. */
export interface IGpuAlert {
  readonly rule: string;
  readonly title: string;
  readonly confidence: string;
}

/** `GET /hpcsec/api/gpu`. */
export interface IGpuFacts {
  /** `ok`, `none`, `starting`, or why nothing can be seen (`gpu.samples.State`). */
  readonly state: string;
  readonly isWatched: boolean;
  readonly isSimulated: boolean;
  /** Whether root's allocation map was there. */
  readonly isVerified: boolean;
  /** Of the sample, in Unix seconds of the node's clock; null before the first. */
  readonly time: number | null;
  readonly firstWarningSeconds: number;
  readonly extendMinutes: number;
  /** What the site wants done with a kernel at its limit. */
  readonly action: string;
  readonly devices: readonly IDevice[];
  readonly kernels: readonly IHolding[];
  readonly elsewhere: readonly IElsewhere[];
  readonly alerts: readonly IGpuAlert[];
}

const NAME_LIMIT = 48;
const TEXT_LIMIT = 400;
/** Of each list: a node has fewer, and what lies about that must not stop the browser. */
const LIST_LIMIT = 256;

type Json = Record<string, unknown>;

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

function list(value: unknown): Json[] {
  return Array.isArray(value) ? value.slice(0, LIST_LIMIT).map(object) : [];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, TEXT_LIMIT) : '';
}

function measured(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value)
    ? Math.max(0, Math.floor(value))
    : null;
}

function whole(value: unknown): number {
  return measured(value) ?? 0;
}

function percent(value: unknown): number | null {
  const found = measured(value);
  return found === null ? null : Math.min(100, found);
}

function readDevice(found: Json): IDevice {
  const others = object(found.others);
  return {
    uuid: text(found.uuid),
    index: whole(found.index),
    name: text(found.name),
    isInstance: text(found.parent) !== '',
    state: text(found.state) || 'error',
    notVisible: text(found.not_visible),
    isAllocated: typeof found.allocated === 'boolean' ? found.allocated : null,
    memoryTotal: measured(found.memory_total),
    memoryUsed: measured(found.memory_used),
    utilisation: percent(found.utilisation),
    others: { processes: whole(others.processes), memory: measured(others.memory) }
  };
}

function readKernel(found: Json): IHolding {
  return {
    id: text(found.id),
    notebook: text(found.notebook),
    isBusy: found.busy === true,
    devices: list(found.devices).map(held => ({
      uuid: text(held.uuid),
      memory: measured(held.memory)
    })),
    memory: measured(found.memory),
    utilisation: percent(found.utilisation),
    idleSeconds: whole(found.idle_s),
    isMeasured: found.measured !== false,
    stage: whole(found.stage),
    leftSeconds: measured(found.left_s),
    keptSeconds: whole(found.kept_s),
    mayKeepSeconds: whole(found.may_keep_s)
  };
}

/** What can be understood of an answer. */
export function readGpu(body: unknown): IGpuFacts {
  const found = object(body);
  const limits = object(found.limits);
  const state = text(found.state) || 'none';
  const time = measured(found.time);
  return {
    state,
    isWatched: state !== 'none',
    isSimulated: found.simulated === true,
    isVerified: found.verified === true,
    time: time === 0 ? null : time,
    firstWarningSeconds: whole(limits.first_warning_s),
    extendMinutes: Math.floor(whole(limits.extend_by_s) / 60),
    action: text(limits.action),
    devices: list(found.devices).map(readDevice),
    kernels: list(found.kernels)
      .map(readKernel)
      .filter(kernel => kernel.id !== ''),
    elsewhere: list(found.elsewhere).map(each => ({
      device: text(each.device),
      name: text(each.name),
      isLeftover: each.leftover === true,
      memory: measured(each.memory)
    })),
    alerts: list(found.alerts).map(each => ({
      rule: text(each.rule),
      title: text(each.title),
      confidence: text(each.confidence)
    }))
  };
}

/** Whether a kernel holds memory of a GPU, also where it is not told how much. */
export function holds(kernel: IHolding): boolean {
  return kernel.devices.length > 0;
}

/** Whether a kernel is shut down, or its session ended, when its limit is reached. */
export function isEnded(kernel: IHolding, facts: IGpuFacts): boolean {
  return kernel.leftSeconds !== null && kernel.isMeasured && facts.action !== 'notify';
}

/** By how many minutes a kernel may be kept now; 0 where it may not. */
export function mayKeepMinutes(kernel: IHolding, facts: IGpuFacts): number {
  return Math.min(facts.extendMinutes, Math.floor(kernel.mayKeepSeconds / 60));
}

/** A notebook's name without its directories, cut where it is long. */
export function shortName(path: string): string {
  const name = path.split('/').pop() ?? '';
  return name.length > NAME_LIMIT ? `${name.slice(0, NAME_LIMIT)}…` : name;
}

/** Remembers what was said of which kernel, so that each warning comes once, and is true while it stands. */
export class IdleWarnings {
  /**
   * The kernels of which people are to be told now, those of which nothing is to be said any more, and those of which
   * what was said has changed: they were kept for longer and are idle still.
   */
  next(kernels: readonly IHolding[]): { due: IHolding[]; over: string[]; changed: IHolding[] } {
    const idle = new Map(
      kernels.filter(kernel => kernel.stage > 0).map(kernel => [kernel.id, kernel])
    );
    const due: IHolding[] = [];
    const changed: IHolding[] = [];
    for (const [id, kernel] of idle) {
      const said = this._said.get(id);
      if (kernel.stage > (said?.stage ?? 0)) {
        due.push(kernel);
      } else if (kernel.keptSeconds !== said?.keptSeconds) {
        changed.push(kernel);
      }
    }
    const over = [...this._said.keys()].filter(id => !idle.has(id));
    this._said = idle;
    return { due, over, changed };
  }

  private _said = new Map<string, IHolding>();
}
