/**
 * JupyterLab shows what a server refuses as an error. Where it was the access policy, its dialog says so, and
 * leads to the rules. The sentence itself, with the rule and whom to ask, is the server's; it is put into JupyterLab's
 * language.
 */

import { Dialog, showErrorMessage } from '@jupyterlab/apputils';
import type { FileBrowser, IFileBrowserFactory } from '@jupyterlab/filebrowser';
import type { TranslationBundle } from '@jupyterlab/translation';
import { lockIcon } from '@jupyterlab/ui-components';

import { isRefusal } from './facts';

const CLASS = 'jp-hpcsec-Refusal';

/** Add to every dialog that shows such a refusal; `open` shows the rules. */
export function explainRefusals(trans: TranslationBundle, open: () => void): void {
  Dialog.tracker.widgetAdded.connect((_, dialog) => {
    const body = dialog.node.querySelector('.jp-Dialog-body');
    if (!body || !isRefusal(body.textContent ?? '') || dialog.hasClass(CLASS)) {
      return;
    }
    dialog.addClass(CLASS);
    void translate(body, trans);
    const head = document.createElement('div');
    head.className = 'jp-hpcsec-Refusal-head';
    const sign = document.createElement('span');
    lockIcon.element({ container: sign, width: '16px', height: '16px' });
    sign.setAttribute('aria-hidden', 'true');
    const title = document.createElement('strong');
    title.textContent = trans.__('Your session is not allowed to do this');
    head.append(sign, title);
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'jp-hpcsec-Refusal-rules';
    button.textContent = trans.__('Show what you may touch');
    button.addEventListener('click', () => {
      dialog.reject();
      open();
    });
    body.prepend(head);
    body.append(button);
  });
}

/** Word the server's sentence again, in the places where it stands alone. */
async function translate(body: Element, trans: TranslationBundle): Promise<void> {
  const { refusalWords } = await import('./served');
  const texts = document.createNodeIterator(body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const said = node.nodeValue ?? '';
    const worded = refusalWords(said, trans);
    if (worded !== said) {
      node.nodeValue = worded;
    }
  }
}

/**
 * Show why a directory can't be opened: JupyterLab itself stays silent when one is refused, and where it was.
 */
export function tellRefusedDirectories(
  browsers: IFileBrowserFactory['tracker'],
  trans: TranslationBundle
): void {
  const watch = (browser: FileBrowser): void => {
    browser.model.connectionFailure.connect((_, error) => {
      if (isRefusal(error.message)) {
        void showErrorMessage(trans.__('This directory is closed'), error);
      }
    });
  };
  browsers.forEach(watch);
  browsers.widgetAdded.connect((_, browser) => watch(browser));
}
