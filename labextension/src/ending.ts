/**
 * That the session is over: who ended it and why, as far as the hub says, and the way to a new one. In a dialog:
 * notifications alone would not do, their code may not have been loaded yet, and the server that has it is gone.
 */

import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import type { SessionModel } from './model';

/** The reason, also when it comes later than the end. */
class Reason extends Widget {
  constructor(model: SessionModel, trans: TranslationBundle) {
    super();
    this.addClass('jp-hpcsec-Ended');
    const reason = document.createElement('p');
    reason.className = 'jp-hpcsec-Ending';
    reason.setAttribute('role', 'status');
    const rest = document.createElement('p');
    rest.textContent = trans.__(
      'Its kernels have ended. What was saved is in your files. Would you like to start a new session?'
    );
    this.node.append(reason, rest);
    const show = (): void => {
      reason.textContent =
        model.ending === '' ? trans.__('Your server does not run any more.') : `${model.ending}.`;
    };
    model.changed.connect(show, this);
    show();
  }
}

/** Says it once for each end. `restart` is what the button does. */
export class Ending {
  constructor(model: SessionModel, trans: TranslationBundle, restart: () => void) {
    this._model = model;
    this._trans = trans;
    this._restart = restart;
  }

  /** Look at what the model knows now. */
  look(): void {
    const { link } = this._model;
    if (link === 'stopped' && this._dialog === null) {
      void this._tell();
    } else if (link === 'connected') {
      this._dialog?.reject(); // somebody has started it again
      this._dialog = null;
    }
  }

  private async _tell(): Promise<void> {
    const trans = this._trans;
    this._dialog = new Dialog({
      title: trans.__('Your session has ended'),
      body: new Reason(this._model, trans),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Dismiss') }),
        Dialog.okButton({ label: trans.__('Restart') })
      ],
      defaultButton: 0 // whoever is typing restarts nothing
    });
    const { button } = await this._dialog.launch();
    if (button.accept) {
      this._restart();
    }
  }

  private readonly _model: SessionModel;
  private readonly _trans: TranslationBundle;
  private readonly _restart: () => void;
  private _dialog: Dialog<unknown> | null = null;
}
