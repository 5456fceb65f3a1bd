/**
 * What is decided about a large file on its way, without doing it: how long to wait, how much to send, what an
 * answer means, what people are told. Pure.
 */

import { duration, type IWords } from './words.js';

/** Where a transfer stands. */
export type Stage =
  'running' | 'waiting' | 'paused' | 'verifying' | 'stopped' | 'done' | 'failed' | 'cancelled';

/** What an answer to a request about a transfer asks for. */
export type Next = 'go-on' | 'look' | 'wait' | 'stop' | 'fail' | 'gone' | 'exists' | 'again';

const MIB = 2 ** 20;
const FIRST_PIECE = MIB;
const LARGEST_PIECE = 16 * MIB;
const QUICK_MS = 2_000;
export const LONGEST_WAIT_MS = 30_000;
const WAITS_MS = [500, 1_000, 2_000, 4_000, 8_000, 15_000, LONGEST_WAIT_MS];

/** What a status means; null: no answer came at all. */
export function meaning(status: number | null): Next {
  if (status === null || status === 408 || status === 424 || status === 429 || status >= 500) {
    return status === 507 ? 'stop' : 'wait';
  }
  switch (status) {
    case 401:
    case 403: // signed out, or a rule that has changed: people have to do something first
      return 'stop';
    case 404:
      return 'gone';
    case 409:
      return 'look';
    case 412:
      return 'exists';
    case 423:
      return 'wait';
    case 460:
      return 'again';
    default:
      return status < 300 ? 'go-on' : 'fail';
  }
}

/** How long to wait before the next attempt; `chance` is from 0 to 1. */
export function pauseMs(attempt: number, chance: number): number {
  const most = WAITS_MS[Math.min(attempt, WAITS_MS.length - 1)] ?? 0;
  return Math.round(most * (0.5 + chance / 2));
}

/** The size of the next piece after one that took so long; null: it did not arrive. */
export function pieceSize(last: number | null, tookMs: number | null): number {
  if (last === null) {
    return FIRST_PIECE;
  }
  if (tookMs === null) {
    return Math.max(FIRST_PIECE / 4, last / 2);
  }
  return tookMs < QUICK_MS ? Math.min(LARGEST_PIECE, last * 2) : last;
}

/** Bytes for people: `3 B`, `1.5 GiB`. */
export function bytes(count: number, words: IWords): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const shown = unit === 0 || value >= 100 ? String(Math.round(value)) : value.toFixed(1);
  return words.__('%1 %2', shown, units[unit] ?? '');
}

/** Bytes a second over the last seconds, from what had arrived when. */
export class Rate {
  /** So many bytes have arrived, at this time in milliseconds. */
  add(done: number, nowMs: number): void {
    this._points = [...this._points.filter(([at]) => nowMs - at < 10_000), [nowMs, done]];
  }

  /** Forget: what comes next does not follow. */
  reset(): void {
    this._points = [];
  }

  /** Null where too little is known. */
  get perSecond(): number | null {
    const first = this._points[0];
    const last = this._points[this._points.length - 1];
    if (!first || !last || last[0] - first[0] < 500 || last[1] <= first[1]) {
      return null;
    }
    return ((last[1] - first[1]) * 1000) / (last[0] - first[0]);
  }

  private _points: [number, number][] = [];
}

/** `12.0 MiB of 1.0 GiB, 80 MiB/s, 13 s left`. */
export function progressWords(
  done: number,
  size: number,
  perSecond: number | null,
  words: IWords
): string {
  const what = words.__('%1 of %2', bytes(done, words), bytes(size, words));
  if (perSecond === null || done >= size) {
    return what;
  }
  const left = (size - done) / perSecond;
  const time = left < 60 ? words.__('%1 s', Math.ceil(left)) : duration(left, words);
  return words.__('%1, %2/s, %3 left', what, bytes(perSecond, words), time);
}

/** The stage in words. */
export function stageWords(stage: Stage, words: IWords): string {
  switch (stage) {
    case 'running':
      return words.__('Under way');
    case 'waiting':
      return words.__('Interrupted; goes on by itself');
    case 'paused':
      return words.__('Paused');
    case 'verifying':
      return words.__('Verifying');
    case 'stopped':
      return words.__('Stopped');
    case 'done':
      return words.__('Done: SHA-256 is equal at both ends');
    case 'failed':
      return words.__('Failed');
    default:
      return words.__('Cancelled');
  }
}

/** A digest in the form of RFC 9530. */
export function reprDigest(hex: string): string {
  return `sha-256=:${base64(hex)}:`;
}

/** Hexadecimal as base64. */
export function base64(hex: string): string {
  const pairs = hex.match(/../g) ?? [];
  return btoa(String.fromCharCode(...pairs.map(pair => parseInt(pair, 16))));
}

/** The hexadecimal SHA-256 in a `Repr-Digest`; empty where there is none. */
export function readDigest(header: string | null): string {
  const found = /^sha-256=:([A-Za-z0-9+/]{43}=):$/.exec(header ?? '');
  const raw = found?.[1] === undefined ? '' : atob(found[1]);
  return [...raw].map(letter => letter.charCodeAt(0).toString(16).padStart(2, '0')).join('');
}
