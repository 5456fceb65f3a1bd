/**
 * What kernels held and used in the last minutes, and lines to draw of it. Pure: the samples' own times count.
 */

import type { IGpuFacts } from './gpu';

/** One moment of one kernel. */
export interface IPoint {
  readonly time: number;
  readonly memory: number | null;
  readonly utilisation: number | null;
}

/** Seconds that are kept, and shown. */
export const SPAN_S = 15 * 60;
const POINTS_LIMIT = 600;

/** Keeps points by kernel; forgets kernels that are gone. */
export class History {
  /** Take one sample; the same one again, or an older one, is left out. */
  add(facts: IGpuFacts): void {
    const { time } = facts;
    if (time === null) {
      return;
    }
    const fresh = new Map<string, IPoint[]>();
    for (const { id, memory, utilisation } of facts.kernels) {
      const known = this._points.get(id) ?? [];
      const last = known[known.length - 1];
      const isNew = last === undefined || time > last.time;
      const points = isNew ? [...known, { time, memory, utilisation }] : known;
      fresh.set(id, points.filter(point => point.time > time - SPAN_S).slice(-POINTS_LIMIT));
    }
    this._points = fresh;
  }

  /** Oldest first. */
  of(kernel: string): readonly IPoint[] {
    return this._points.get(kernel) ?? [];
  }

  private _points = new Map<string, IPoint[]>();
}

/** The place that lines are drawn into. */
export const WIDTH = 120;
export const HEIGHT = 24;

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/**
 * Lines for an SVG's `path`, from the left (`SPAN_S` ago, or when the first point was) to the right (now). What was
 * not measurable is a gap. Empty for less than two points. `top` is the value at the upper edge.
 */
export function lines(
  points: readonly { readonly time: number; readonly value: number | null }[],
  top: number
): string {
  const first = points[0];
  const last = points[points.length - 1];
  if (!first || !last || last.time <= first.time || top <= 0) {
    return '';
  }
  const span = last.time - first.time;
  const parts: string[] = [];
  let isDrawing = false;
  for (const { time, value } of points) {
    if (value !== null) {
      const x = round((WIDTH * (time - first.time)) / span);
      const y = round(HEIGHT - 1 - (HEIGHT - 2) * Math.min(1, value / top));
      parts.push(`${isDrawing ? 'L' : 'M'}${x} ${y}`);
    }
    isDrawing = value !== null;
  }
  return parts.join('');
}
