/**
 * What the server tells about kernels that hold GPU memory, read with suspicion, and who is to be
 * warned of it. Pure.
 */

/** A kernel that holds GPU memory. `leftSeconds` until it is shut down; null where it is not. */
export interface IHolding {
  readonly id: string;
  readonly notebook: string;
  /** 0: in use; 1 and 2: idle since the first and the second warning are due. */
  readonly stage: number;
  readonly leftSeconds: number | null;
  readonly mayKeepSeconds: number;
}

/** `GET /hpcsec/api/gpu`, of which this needs little. */
export interface IGpuFacts {
  readonly isWatched: boolean;
  readonly isSimulated: boolean;
  readonly extendMinutes: number;
  readonly kernels: readonly IHolding[];
}

const NAME_LIMIT = 48;

type Json = Record<string, unknown>;

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

function whole(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? Math.max(0, Math.floor(value)) : 0;
}

/** What can be understood of an answer. */
export function readGpu(body: unknown): IGpuFacts {
  const found = object(body);
  const kernels = Array.isArray(found.kernels) ? found.kernels.map(object) : [];
  return {
    isWatched: typeof found.state === 'string' && found.state !== 'none',
    isSimulated: found.simulated === true,
    extendMinutes: Math.floor(whole(object(found.limits).extend_by_s) / 60),
    kernels: kernels
      .filter(kernel => typeof kernel.id === 'string')
      .map(kernel => ({
        id: String(kernel.id),
        notebook: typeof kernel.notebook === 'string' ? kernel.notebook : '',
        stage: whole(kernel.stage),
        leftSeconds: typeof kernel.left_s === 'number' ? whole(kernel.left_s) : null,
        mayKeepSeconds: whole(kernel.may_keep_s)
      }))
  };
}

/** A notebook's name without its directories, cut where it is long. */
export function shortName(path: string): string {
  const name = path.split('/').pop() ?? '';
  return name.length > NAME_LIMIT ? `${name.slice(0, NAME_LIMIT)}…` : name;
}

/** Remembers what was said of which kernel, so that each warning comes once. */
export class IdleWarnings {
  /** The kernels of which people are to be told now, and those of which nothing is to be said any more. */
  next(kernels: readonly IHolding[]): { due: IHolding[]; over: string[] } {
    const idle = new Map(
      kernels.filter(kernel => kernel.stage > 0).map(kernel => [kernel.id, kernel])
    );
    const due = [...idle.values()].filter(
      kernel => kernel.stage > (this._said.get(kernel.id) ?? 0)
    );
    const over = [...this._said.keys()].filter(id => !idle.has(id));
    this._said = new Map([...idle].map(([id, kernel]) => [id, kernel.stage]));
    return { due, over };
  }

  private _said = new Map<string, number>();
}
