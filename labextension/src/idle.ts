/**
 * Warns people of kernels that hold GPU memory and do nothing, before they are shut down, and lets them
 * keep those that they need.
 */

import { Notification } from '@jupyterlab/apputils';
import type { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';

import { ask, tell } from './api';
import { type IGpuFacts, type IHolding, IdleWarnings, readGpu, shortName } from './gpu';
import { duration } from './words';

const PAUSE_MS = 60_000;

/** Asks for as long as there is a GPU that is watched, also in a tab that nobody looks at. */
export class IdleNotices implements IDisposable {
  constructor(settings: ServerConnection.ISettings, trans: TranslationBundle) {
    this._settings = settings;
    this._trans = trans;
    this._poll = new Poll<void>({
      name: 'jupyter-hpcsec:gpu',
      factory: () => this._ask(),
      frequency: { interval: PAUSE_MS, backoff: false },
      standby: 'never'
    });
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  dispose(): void {
    this._poll.dispose();
  }

  private async _ask(): Promise<void> {
    const reply = await ask('gpu', this._settings);
    if (this.isDisposed || reply.status !== 200 || !reply.isObject) {
      return;
    }
    const found = readGpu(reply.body);
    if (!found.isWatched) {
      void this._poll.stop(); // a session gets no GPU later on
      return;
    }
    const { due, over } = this._warnings.next(found.kernels);
    [...over, ...due.map(kernel => kernel.id)].forEach(id => this._dismiss(id));
    due.forEach(kernel => this._warn(kernel, found));
  }

  private _warn(kernel: IHolding, found: IGpuFacts): void {
    const words = this._trans;
    const name = shortName(kernel.notebook) || words.__('a kernel without a notebook');
    // JupyterLab shows 140 characters of a message: what is lost, and when, comes first.
    const what =
      kernel.leftSeconds === null
        ? words.__('%1 holds GPU memory and does nothing.', name)
        : words.__(
            'In %2 the kernel of %1 is shut down: it holds GPU memory and does nothing.',
            name,
            duration(kernel.leftSeconds, words)
          );
    const message = found.isSimulated ? words.__('Simulated GPU: %1', what) : what;
    const minutes = Math.min(found.extendMinutes, Math.floor(kernel.mayKeepSeconds / 60));
    const keep: Notification.IAction = {
      label: words.__('Keep for %1', duration(minutes * 60, words)),
      caption: words.__('Put the end off; it is recorded'),
      displayType: 'accent',
      callback: () => void this._keep(kernel.id, minutes)
    };
    this._shown.set(
      kernel.id,
      Notification.warning(message, { autoClose: false, actions: minutes > 0 ? [keep] : [] })
    );
  }

  private async _keep(kernel: string, minutes: number): Promise<void> {
    const words = this._trans;
    const reply = await tell('gpu/keep', { kernel, minutes }, this._settings);
    if (reply.status === 200) {
      Notification.success(words.__('The kernel is kept for %1.', duration(minutes * 60, words)), {
        autoClose: 5000
      });
    } else {
      Notification.error(words.__('The kernel could not be kept: ask again, or use it.'), {
        autoClose: false // the default shows nothing but a count
      });
    }
  }

  private _dismiss(kernel: string): void {
    const id = this._shown.get(kernel);
    if (id !== undefined) {
      Notification.dismiss(id);
      this._shown.delete(kernel);
    }
  }

  private readonly _settings: ServerConnection.ISettings;
  private readonly _trans: TranslationBundle;
  private readonly _poll: Poll<void>;
  private readonly _warnings = new IdleWarnings();
  private readonly _shown = new Map<string, string>();
}
