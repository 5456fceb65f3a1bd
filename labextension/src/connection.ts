/**
 * What JupyterLab does when its server does not answer, in place of JupyterHub's dialog, which offers to restart what
 * only has to be waited for. Says that a session is over, and lets what is interrupted come back soon.
 */

import {
  ConnectionLost,
  IConnectionLost,
  JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Dialog, showDialog } from '@jupyterlab/apputils';
import { IConnectionStatus } from '@jupyterlab/services';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Ending } from './ending';
import type { SessionModel } from './model';
import { interrupted } from './rejoin';
import { isAway } from './state';
import { DOMAIN, ISession } from './tokens';

/** JupyterHub's command. */
export const RESTART = 'hub:restart';

/** JupyterHub's own dialog, in its words, for a server that is no session. */
class HubsQuestion {
  constructor(app: JupyterFrontEnd, place: string, translator: ITranslator) {
    this._app = app;
    this._place = place;
    this._translator = translator;
  }

  async ask(): Promise<void> {
    if (this._isAsking) {
      return;
    }
    this._isAsking = true;
    const words = this._translator.load('jupyterlab');
    const { button } = await showDialog({
      title: words.__('Server unavailable or unreachable'),
      body: words.__(
        'Your server at %1 is not running.\nWould you like to restart it?',
        this._place
      ),
      buttons: [
        Dialog.okButton({ label: words.__('Restart') }),
        Dialog.cancelButton({ label: words.__('Dismiss') })
      ]
    });
    this._isAsking = false;
    if (button.accept) {
      await this._app.commands.execute(RESTART);
    }
  }

  private readonly _app: JupyterFrontEnd;
  private readonly _place: string;
  private readonly _translator: ITranslator;
  private _isAsking = false;
}

function activate(
  app: JupyterFrontEnd,
  model: SessionModel,
  paths: JupyterFrontEnd.IPaths,
  status: IConnectionStatus | null,
  translator: ITranslator | null
): IConnectionLost {
  const language = translator ?? nullTranslator;
  const ending = new Ending(model, language.load(DOMAIN), () => {
    void app.commands.execute(RESTART);
  });
  const question = new HubsQuestion(app, paths.urls.base, language);
  let wasAway = false;
  model.changed.connect(() => {
    ending.look();
    if (model.facts === null) {
      return; // it may be no session
    }
    const away = isAway(model.link);
    if (status) {
      // JupyterLab asks for nothing and saves nothing by itself meanwhile: it would fail, and then wait for long.
      status.isConnected = !away;
    }
    if (wasAway && !away) {
      interrupted(app.shell.widgets('main')).forEach(each => {
        each.reconnect().catch(() => undefined); // JupyterLab itself shows what can't be reached
      });
    }
    wasAway = away;
  });
  return async (manager, error, given) => {
    await model.refresh();
    if (model.link !== 'absent') {
      return; // the notifications say what is the matter, and a session that is over has its own dialog
    }
    await (paths.urls.hubPrefix ? question.ask() : ConnectionLost(manager, error, given));
  };
}

/** Replaces `@jupyterlab/hub-extension:connectionlost`, which `package.json` disables. */
export const connection: JupyterFrontEndPlugin<IConnectionLost> = {
  id: 'jupyter-hpcsec:connection',
  description: 'Waits for a session that is interrupted, and says when one is over.',
  autoStart: true,
  provides: IConnectionLost,
  requires: [ISession, JupyterFrontEnd.IPaths],
  optional: [IConnectionStatus, ITranslator],
  activate
};
