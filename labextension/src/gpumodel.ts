/**
 * What is known of the session's GPUs, for the panel and for the warnings, so that the two never disagree. Followed as it
 * happens while somebody looks at the panel; asked once a minute else, also in a tab that nobody sees.
 */

import type { ServerConnection } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';

import { ask, follow, type IReply, tell } from './api';
import { pauseBefore } from './events';
import { type IGpuFacts, readGpu } from './gpu';
import { History } from './history';
import { type Link, linkOf } from './state';

const PAUSE_MS = 60_000;
/** Without news for so long a stream is dead, whatever the network thinks: samples come every 10 s, hung ones 25 s. */
const SILENCE_MS = 90_000;

/** What became of keeping or releasing: done, or the status and the server's reason. */
export interface IOutcome {
  readonly isDone: boolean;
  readonly reason: string;
}

/** One session's GPUs. */
export class GpuModel implements IDisposable {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
    this._poll = new Poll<void>({
      name: 'jupyter-hpcsec:gpu',
      factory: () => this._ask(),
      frequency: { interval: PAUSE_MS, backoff: false },
      standby: 'never'
    });
    document.addEventListener('visibilitychange', this._look);
  }

  /** Emitted for each sample, and when the way to the server is lost or found again. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The last sample that came; null before the first. */
  get facts(): IGpuFacts | null {
    return this._facts;
  }

  get link(): Link {
    return this._link;
  }

  /** Whether news come as they happen. */
  get isLive(): boolean {
    return this._isLive;
  }

  readonly history = new History();

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  /** Whether somebody looks at the panel. */
  set isWatched(value: boolean) {
    this._isWatched = value;
    this._look();
  }

  /** Ask now. */
  async refresh(): Promise<void> {
    await this._poll.refresh();
    await this._poll.tick;
  }

  /** Put a kernel's end off. */
  keep(kernel: string, minutes: number): Promise<IOutcome> {
    return this._tell('gpu/keep', { kernel, minutes });
  }

  /** Restart a kernel. */
  release(kernel: string): Promise<IOutcome> {
    return this._tell('gpu/release', { kernel, confirm: kernel });
  }

  /** Ask never again. */
  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    document.removeEventListener('visibilitychange', this._look);
    this._poll.dispose();
    this._stop();
    Signal.clearData(this);
  }

  private async _tell(
    what: 'gpu/keep' | 'gpu/release',
    body: Record<string, string | number>
  ): Promise<IOutcome> {
    const { status, body: answer } = await tell(what, body, this._settings);
    if (!this.isDisposed) {
      await this.refresh(); // the panel and the warnings say at once what is now
    }
    const reason = (answer as { message?: unknown } | null)?.message;
    return { isDone: status === 200, reason: typeof reason === 'string' ? reason : '' };
  }

  private async _ask(): Promise<void> {
    const reply: IReply = await ask('gpu', this._settings);
    if (this.isDisposed) {
      return;
    }
    this._link = linkOf(reply, this._link);
    if (reply.status === 200 && reply.isObject) {
      this._take(reply.body);
    } else {
      this._changed.emit();
    }
  }

  private _take(body: unknown): void {
    this._facts = readGpu(body);
    this.history.add(this._facts);
    if (!this._facts.isWatched) {
      void this._poll.stop(); // a session gets no GPU later on
    }
    this._changed.emit();
  }

  /** Follow while somebody looks, and only then: a stream holds a connection. */
  private readonly _look = (): void => {
    const isWanted = this._isWatched && document.visibilityState === 'visible' && !this.isDisposed;
    if (isWanted && this._stopping === null) {
      this._stopping = new AbortController();
      void this._follow(this._stopping.signal);
    } else if (!isWanted) {
      this._stop();
    }
  };

  private _stop(): void {
    this._stopping?.abort();
    this._stopping = null;
    this._isLive = false;
  }

  private async _follow(stop: AbortSignal): Promise<void> {
    let failures = 0;
    while (!stop.aborted) {
      const cut = new AbortController();
      const end = (): void => cut.abort();
      stop.addEventListener('abort', end, { once: true });
      let silence = window.setTimeout(end, SILENCE_MS);
      const answer = await follow(
        body => {
          if (!stop.aborted) {
            window.clearTimeout(silence);
            silence = window.setTimeout(end, SILENCE_MS);
            failures = 0;
            this._isLive = true;
            this._link = 'connected';
            this._take(body);
          }
        },
        cut.signal,
        this._settings
      );
      window.clearTimeout(silence);
      stop.removeEventListener('abort', end);
      if (stop.aborted || this._facts?.isWatched === false) {
        break;
      }
      if (answer.status !== 200) {
        this._isLive = false;
        this._link = linkOf({ ...answer, isObject: true }, this._link);
      }
      this._changed.emit();
      await pause(pauseBefore(failures, Math.random()), stop);
      failures += 1;
    }
  }

  private readonly _settings: ServerConnection.ISettings;
  private readonly _poll: Poll<void>;
  private readonly _changed = new Signal<this, void>(this);
  private _stopping: AbortController | null = null;
  private _facts: IGpuFacts | null = null;
  private _link: Link = 'unknown';
  private _isLive = false;
  private _isWatched = false;
}

/** Resolves after so many seconds, or when it is stopped. */
function pause(seconds: number, stop: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const end = (): void => {
      window.clearTimeout(timer);
      stop.removeEventListener('abort', end);
      resolve();
    };
    const timer = window.setTimeout(end, seconds * 1000);
    stop.addEventListener('abort', end);
    if (stop.aborted) {
      end();
    }
  });
}
