/**
 * One large file on its way, in either direction: goes on by itself after an interruption, can be paused, resumed
 * and cancelled, and ends with the SHA-256 of both ends. Requests, time and hashing are passed in.
 */

import type { IHash } from './hasher';
import { LONGEST_WAIT_MS, meaning, type Next, pauseMs, Rate, type Stage } from './transferwords.js';

/** An answer, as far as it counts here. */
export interface IGiven {
  readonly status: number;
  header(name: string): string | null;
  json(): Promise<unknown>;
  /** The body's bytes, as they come. */
  stream(): AsyncIterable<Uint8Array>;
}

/** What a transfer needs of the world. */
export interface IWorld {
  /** Rejects where no answer comes. */
  request(
    method: string,
    what: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array | null,
    signal: AbortSignal
  ): Promise<IGiven>;
  hash(): IHash;
  nowMs(): number;
  /** A signal that comes after so long. */
  deadline(ms: number): AbortSignal;
  /** Whether the way to the server is known to be interrupted. */
  isDown(): boolean;
  chance(): number;
  /** Waits, less long where `signal` says so. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** Ends an attempt: what to do next, and a sentence where people have to know. */
export class Halt extends Error {
  constructor(
    readonly next: Next,
    message = ''
  ) {
    super(message);
  }
}

/** No answer for so long: the way is interrupted. Pieces are made so large that one takes some seconds. */
export const PATIENCE_MS = 20_000;
/** What ends an upload may have to read all of the file again: so many bytes a millisecond, at least. */
const READ_PER_MS = 100_000;

/** What the two directions share. */
export abstract class Transfer {
  constructor(
    readonly name: string,
    readonly path: string,
    size: number,
    protected readonly world: IWorld
  ) {
    this.size = size;
  }

  abstract readonly isUpload: boolean;
  stage: Stage = 'running';
  done = 0;
  size: number;
  /** Why it stopped or failed; the server's own words. */
  sentence = '';
  localHash = '';
  remoteHash = '';
  /** Called after each change. */
  changed: () => void = () => undefined;

  get perSecond(): number | null {
    return this._rate.perSecond;
  }

  get isOver(): boolean {
    return this.stage === 'done' || this.stage === 'failed' || this.stage === 'cancelled';
  }

  get isPaused(): boolean {
    return this._isHeld;
  }

  /** Resolves when it is over, one way or the other. Called once. */
  async run(): Promise<void> {
    let attempt = 0;
    while (!this.isOver) {
      const before = this.done;
      this._stop = new AbortController();
      try {
        await this._whileHeld();
        this._say('running');
        await this.attempt();
        this.done = this.size;
        this._say('done');
      } catch (reason) {
        attempt = this.done > before ? 0 : attempt;
        await this._afterHalt(reason, attempt);
        attempt += 1;
      }
    }
    await this.end(this.stage === 'done').catch(() => undefined);
  }

  pause(): void {
    if (!this.isOver) {
      this._isHeld = true;
      this._say('paused');
      this._stop.abort();
      this._wake();
    }
  }

  /** Goes on, at once where it waits. */
  resume(): void {
    this._isHeld = false;
    this._wake();
  }

  cancel(): void {
    if (!this.isOver) {
      this._isHeld = false;
      this._say('cancelled');
      this._stop.abort();
      this._wake();
    }
  }

  /** The way to the server is interrupted: what is under way will not be answered. It waits for `hurry`. */
  interrupted(): void {
    if (this.stage === 'running' || this.stage === 'verifying') {
      this.drop();
    }
  }

  /** The way to the server is back: no need to wait. */
  hurry(): void {
    if (this.stage === 'waiting') {
      this._wake();
    }
  }

  /** Carries what is missing; throws `Halt`, or whatever else interrupts it. */
  protected abstract attempt(): Promise<void>;
  /** Puts away what is left, after all. */
  protected abstract end(isGood: boolean): Promise<void>;

  protected moved(done: number): void {
    this.done = done;
    this._rate.add(done, this.world.nowMs());
    this.changed();
  }

  protected verifying(): void {
    if (!this._isHeld) {
      this._say('verifying');
    }
  }

  /**
   * One request, with an end. `Halt` for every answer that is neither a success nor among `wanted`. One that `lasts` is
   * waited for whatever becomes of the transfer: its answer names what else would be left.
   */
  protected async ask(
    method: string,
    what: string,
    headers: Readonly<Record<string, string>> = {},
    body: Uint8Array | null = null,
    wanted: readonly Next[] = [],
    lasts = false
  ): Promise<IGiven> {
    const { signal } = this;
    if (signal.aborted) {
      throw new Halt('wait');
    }
    const limit = new AbortController();
    const late = (): void => limit.abort();
    const reading = this.stage === 'verifying' ? this.size / READ_PER_MS : 0;
    const deadline = this.world.deadline(PATIENCE_MS + Math.ceil(reading));
    deadline.addEventListener('abort', late);
    try {
      const both = lasts ? limit.signal : AbortSignal.any([signal, limit.signal]);
      const given = await this.world.request(method, what, headers, body, both);
      const next = meaning(given.status);
      if (next !== 'go-on' && !wanted.includes(next)) {
        throw new Halt(next, await said(given));
      }
      return given;
    } finally {
      deadline.removeEventListener('abort', late); // a body may take longer
    }
  }

  /** The server's SHA-256 of the file, once it has it. */
  protected async askDigest(): Promise<{ readonly sha256: string; readonly etag: string }> {
    for (;;) {
      const given = await this.ask('GET', `transfers/digests/${this.path}`);
      if (given.status === 200) {
        const body = await this.soon(given.json(), PATIENCE_MS);
        const { sha256, etag } = body as Record<string, unknown>;
        return { sha256: String(sha256), etag: String(etag) };
      }
    }
  }

  /** What was promised, unless it takes too long or is not wanted any more. */
  protected soon<T>(promise: Promise<T>, ms: number): Promise<T> {
    const { signal } = this;
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(new Halt('wait'));
      const timer = setTimeout(() => this.drop(), ms);
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) {
        stop();
      }
      promise.then(resolve, reject).finally(() => {
        clearTimeout(timer);
        signal.removeEventListener('abort', stop);
      });
    });
  }

  /** Let go of what is under way. */
  protected drop(): void {
    this._stop.abort();
  }

  protected get signal(): AbortSignal {
    return this._stop.signal;
  }

  private async _afterHalt(reason: unknown, attempt: number): Promise<void> {
    this._rate.reset();
    if (this.isOver || this._isHeld) {
      return;
    }
    const next = reason instanceof Halt ? reason.next : 'wait';
    this.sentence = reason instanceof Error ? reason.message : String(reason);
    if (next === 'stop') {
      this._say('stopped');
      await this._until(wake => aborted(wake));
    } else if (next === 'wait' || next === 'look' || next === 'again') {
      this._say('waiting');
      const ms = this.world.isDown() ? LONGEST_WAIT_MS : pauseMs(attempt, this.world.chance());
      await this._until(wake => this.world.sleep(ms, wake));
    } else {
      this._say('failed');
    }
    if (!this.isOver) {
      this.sentence = '';
    }
  }

  private async _whileHeld(): Promise<void> {
    while (this._isHeld) {
      await this._until(wake => aborted(wake));
    }
    if (this.isOver) {
      throw new Halt('wait');
    }
  }

  /** Waits for something, or for somebody who wakes it. */
  private async _until(wait: (wake: AbortSignal) => Promise<void>): Promise<void> {
    const wake = new AbortController();
    this._wake = () => wake.abort();
    await wait(wake.signal);
  }

  private _say(stage: Stage): void {
    if (!this.isOver) {
      this.stage = stage;
      this.changed();
    }
  }

  private readonly _rate = new Rate();
  private _isHeld = false;
  private _stop = new AbortController();
  private _wake: () => void = () => undefined;
}

/** Resolves when the signal comes. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) {
      resolve();
    }
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** The sentence in an error's answer. */
export async function said(given: IGiven): Promise<string> {
  const body = await given.json().catch(() => null);
  const message: unknown =
    typeof body === 'object' && body !== null ? (body as { message?: unknown }).message : null;
  return typeof message === 'string' ? message : '';
}
