/**
 * What is known of the session, kept up to date: asked of the server now and then, sooner while the way
 * to it is interrupted, and not at all in a tab that nobody sees.
 */

import type { ServerConnection } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';

import { ask } from './api';
import {
  endOf,
  type IAccessFacts,
  type ISessionFacts,
  readAccess,
  readEnding,
  readSession
} from './facts';
import { type Link, linkOf, pauseAfter } from './state';

/** Seconds between two looks at the clock. */
const TICK_S = 10;

/** One session, silent before `start`. Signals: `changed` for news from the server, `ticked` when time has gone by. */
export class SessionModel implements IDisposable {
  constructor(settings: ServerConnection.ISettings) {
    this._settings = settings;
    this._poll = new Poll<void>({
      auto: false,
      name: 'jupyter-hpcsec:session',
      factory: () => this._ask(),
      frequency: { interval: pauseAfter('unknown') * 1000, backoff: false },
      // a tab that nobody sees must not wait for that to save its documents again
      standby: () => (this._link === 'reconnecting' ? 'never' : 'when-hidden')
    });
  }

  /** Ask from now on. Until then nothing is known. */
  start(): void {
    void this._poll.start();
    this._timer ??= window.setInterval(() => this._ticked.emit(), TICK_S * 1000);
  }

  /** Emitted when the server said something new, or stopped to answer. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emitted every few seconds, for what shows the time left. */
  get ticked(): ISignal<this, void> {
    return this._ticked;
  }

  get link(): Link {
    return this._link;
  }

  /** The last facts that came; null before the first, and outside of a session. */
  get facts(): ISessionFacts | null {
    return this._facts;
  }

  /** Why the session was ended, in the hub's words; empty while it runs, and where nobody ended it. */
  get ending(): string {
    return this._ending;
  }

  /** The user's rules, once `loadAccess` has brought them. */
  get access(): IAccessFacts | null {
    return this._access;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Now, in Unix seconds of the server's clock: the browser's may be wrong. */
  get now(): number {
    return Date.now() / 1000 + this._offset;
  }

  /** Seconds until the session ends; null where there is none. */
  get secondsLeft(): number | null {
    return this._facts ? Math.max(0, endOf(this._facts) - this.now) : null;
  }

  /** Ask now. */
  async refresh(): Promise<void> {
    if (this._isDisposed) {
      return;
    }
    await this._poll.refresh();
    await this._poll.tick;
  }

  /** Ask for the user's rules, which the panel alone shows. */
  async loadAccess(): Promise<void> {
    const reply = await ask('access', this._settings);
    if (reply.status === 200 && reply.isObject && !this._isDisposed) {
      this._access = readAccess(reply.body);
      this._changed.emit();
    }
  }

  /** Ask never again. */
  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    window.clearInterval(this._timer ?? undefined);
    this._poll.dispose();
    Signal.clearData(this);
  }

  private async _ask(): Promise<void> {
    const reply = await ask('session', this._settings);
    if (this._isDisposed) {
      return;
    }
    this._link = linkOf(reply, this._link);
    this._ending = this._link === 'stopped' ? readEnding(reply.body) : '';
    if (reply.status === 200 && reply.isObject) {
      this._facts = readSession(reply.body);
      this._offset = reply.serverTime === null ? 0 : reply.serverTime - Date.now() / 1000;
    }
    this._poll.frequency = { interval: pauseAfter(this._link) * 1000, backoff: false, max: 60_000 };
    this._changed.emit();
  }

  private readonly _settings: ServerConnection.ISettings;
  private readonly _poll: Poll<void>;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _ticked = new Signal<this, void>(this);
  private _timer: number | null = null;
  private _link: Link = 'unknown';
  private _ending = '';
  private _facts: ISessionFacts | null = null;
  private _access: IAccessFacts | null = null;
  private _offset = 0;
  private _isDisposed = false;
}
