/**
 * Who ended the session and why, where people look when it is gone: in JupyterLab's dialog of a server that
 * does not run, else in one of ours. Notifications alone would not do: their code may not have been loaded yet,
 * and the server that has it is the one that is gone.
 */

import { Dialog, showDialog } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { SessionModel } from './model';

const CLASS = 'jp-hpcsec-Ending';

/** Tell it once, as soon as the model knows. */
export function tellEnding(model: SessionModel, trans: TranslationBundle): void {
  const place = PageConfig.getOption('baseUrl'); // JupyterLab's dialog names it
  let told = '';
  const add = (dialog: Dialog<unknown>): boolean => {
    const body = dialog.node.querySelector('.jp-Dialog-body');
    if (told === '' || place.length < 2 || !body || !(body.textContent ?? '').includes(place)) {
      return false;
    }
    if (body.querySelector(`.${CLASS}`) === null) {
      const line = document.createElement('p');
      line.className = CLASS;
      line.setAttribute('role', 'status');
      line.textContent = `${told}.`;
      body.prepend(line);
    }
    return true;
  };
  Dialog.tracker.widgetAdded.connect((_, dialog) => void add(dialog));
  model.changed.connect(() => {
    if (model.ending === told) {
      return;
    }
    told = model.ending;
    if (told !== '' && Dialog.tracker.filter(add).length === 0) {
      void showDialog({
        title: trans.__('Your session has ended'),
        body: `${told}.`,
        buttons: [Dialog.okButton()]
      });
    }
  });
}
