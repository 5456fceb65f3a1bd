/** Keeping and releasing kernels: asked before where something is lost, and told what became of it. */

import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { type IGpuFacts, type IHolding, mayKeepMinutes } from './gpu';
import type { GpuModel, IOutcome } from './gpumodel';
import { kernelWords } from './gpuwords';
import { duration } from './words';

const GOOD_NEWS_MS = 5000;
/** Minutes that are offered, as far as they are allowed; the most that is allowed is offered, too. */
const OFFERED = [30, 60, 120, 240];

/** Does what the buttons of the panel and of the warnings say. */
export class GpuActions {
  constructor(model: GpuModel, trans: TranslationBundle, open: (path: string) => void) {
    this._model = model;
    this._trans = trans;
    this.openNotebook = open;
  }

  /** Show a notebook. */
  readonly openNotebook: (path: string) => void;

  /** Ask for how long, then keep. */
  readonly keep = async (kernel: IHolding, facts: IGpuFacts): Promise<void> => {
    const words = this._trans;
    const most = mayKeepMinutes(kernel, facts);
    const minutes = [...OFFERED.filter(each => each < most), most];
    const { button, value } = await showDialog({
      title: words.__('Keep the kernel of %1', kernelWords(kernel, words)),
      body: new Choice(
        words.__('It may stay idle for longer by'),
        minutes.map(each => [each, duration(each * 60, words)]),
        words.__('It is recorded, and ends when the kernel does something.')
      ),
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: words.__('Keep') })],
      focusNodeSelector: 'select'
    });
    if (button.accept && value !== null) {
      await this.keepFor(kernel.id, value);
    }
  };

  /** Keep, without a question: nothing is lost. */
  async keepFor(kernel: string, minutes: number): Promise<void> {
    const words = this._trans;
    tell(
      await this._model.keep(kernel, minutes),
      words.__('The kernel is kept for %1.', duration(minutes * 60, words)),
      words.__('The kernel could not be kept: ask again, or use it.')
    );
  }

  /** Ask, then restart the kernel. */
  readonly release = async (kernel: IHolding): Promise<void> => {
    const words = this._trans;
    const name = kernelWords(kernel, words);
    const { button } = await showDialog({
      title: words.__('Release what %1 holds?', name),
      body: words.__(
        'Its kernel restarts: GPU memory is free again, and all variables are lost. Saved files are not touched.'
      ),
      buttons: [
        Dialog.cancelButton(),
        Dialog.warnButton({ label: words.__('Restart the kernel') })
      ],
      defaultButton: 0
    });
    if (button.accept) {
      tell(
        await this._model.release(kernel.id),
        words.__('The kernel of %1 was restarted.', name),
        words.__('The kernel could not be restarted: try it from the menu Kernel.')
      );
    }
  };

  private readonly _model: GpuModel;
  private readonly _trans: TranslationBundle;
}

/** One of some numbers, each with its words; the last one is chosen beforehand. JupyterLab's own choice has no name. */
class Choice extends Widget implements Dialog.IBodyWidget<number> {
  constructor(name: string, choices: readonly (readonly [number, string])[], more: string) {
    super();
    const label = document.createElement('label');
    label.append(`${name} `, this._select);
    for (const [number, text] of choices) {
      this._select.add(new Option(text, String(number), false, number === choices.at(-1)?.[0]));
    }
    const note = document.createElement('p');
    note.textContent = more;
    this.addClass('jp-hpcsec-Choice');
    this.node.append(label, note);
  }

  getValue(): number {
    return Number(this._select.value);
  }

  private readonly _select = document.createElement('select');
}

function tell({ isDone, reason }: IOutcome, good: string, bad: string): void {
  if (isDone) {
    Notification.success(good, { autoClose: GOOD_NEWS_MS });
  } else {
    // the default shows nothing but a count
    Notification.error(reason === '' ? bad : `${bad} ${reason}`, { autoClose: false });
  }
}
