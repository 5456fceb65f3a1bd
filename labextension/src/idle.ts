/**
 * Warns people of kernels that hold GPU memory and do nothing, before they are shut down, and lets them
 * keep those that they need.
 */

import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import {
  IdleWarnings,
  type IGpuFacts,
  type IHolding,
  isEnded,
  mayKeepMinutes,
  shortName
} from './gpu';
import type { GpuModel } from './gpumodel';
import { duration } from './words';

/** Looks at what the model knows. `keep` is what the button does. */
export class IdleNotices {
  constructor(
    model: GpuModel,
    trans: TranslationBundle,
    keep: (kernel: string, minutes: number) => Promise<void>
  ) {
    this._trans = trans;
    this._keep = keep;
    model.changed.connect(() => this._look(model.facts), this);
    this._look(model.facts); // the first answer may have come before
  }

  private _look(facts: IGpuFacts | null): void {
    if (!facts || facts.state === 'starting') {
      return;
    }
    const { due, over, changed } = this._warnings.next(facts.kernels);
    [...over, ...due.map(kernel => kernel.id)].forEach(id => this._dismiss(id));
    due.forEach(kernel => this._warn(kernel, facts));
    changed.forEach(kernel => this._correct(kernel, facts));
  }

  private _warn(kernel: IHolding, facts: IGpuFacts): void {
    const { message, actions } = this._words(kernel, facts);
    this._shown.set(kernel.id, Notification.warning(message, { autoClose: false, actions }));
  }

  /** What was said is no longer so: say it anew, unless it was closed. */
  private _correct(kernel: IHolding, facts: IGpuFacts): void {
    const id = this._shown.get(kernel.id);
    if (id !== undefined && Notification.manager.has(id)) {
      Notification.update({ id, autoClose: false, ...this._words(kernel, facts) });
    }
  }

  private _words(
    kernel: IHolding,
    facts: IGpuFacts
  ): { message: string; actions: Notification.IAction[] } {
    const words = this._trans;
    const name = shortName(kernel.notebook) || words.__('a kernel without a notebook');
    // JupyterLab shows 140 characters of a message: what is lost, and when, comes first.
    const what =
      kernel.leftSeconds === null || !isEnded(kernel, facts)
        ? words.__('%1 holds GPU memory and does nothing.', name)
        : words.__(
            'In %2 the kernel of %1 is shut down: it holds GPU memory and does nothing.',
            name,
            duration(kernel.leftSeconds, words)
          );
    const message = facts.isSimulated ? words.__('Simulated GPU: %1', what) : what;
    const minutes = mayKeepMinutes(kernel, facts);
    const keep: Notification.IAction = {
      label: words.__('Keep for %1', duration(minutes * 60, words)),
      caption: words.__('Put the end off; it is recorded'),
      displayType: 'accent',
      callback: () => void this._keep(kernel.id, minutes)
    };
    return { message, actions: minutes > 0 ? [keep] : [] };
  }

  private _dismiss(kernel: string): void {
    const id = this._shown.get(kernel);
    if (id !== undefined) {
      Notification.dismiss(id);
      this._shown.delete(kernel);
    }
  }

  private readonly _trans: TranslationBundle;
  private readonly _keep: (kernel: string, minutes: number) => Promise<void>;
  private readonly _warnings = new IdleWarnings();
  private readonly _shown = new Map<string, string>();
}
