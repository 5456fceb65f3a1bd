/**
 * The JupyterLab extension of jupyter_hpcsec: shows people their session. It enforces nothing, and goes
 * away in a server that no session started.
 */

import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import {
  type DirListing,
  IDefaultFileBrowserRenderer,
  IFileBrowserFactory
} from '@jupyterlab/filebrowser';
import { DisposableSet } from '@lumino/disposable';

import { refresh, saveAll } from './actions';
import { connection } from './connection';
import { gpu } from './gpuplugin';
import { shieldIcon } from './icon';
import { MarkedListing } from './marks';
import { SessionModel } from './model';
import { explainRefusals, tellRefusedDirectories } from './refusals';
import { makeRoom } from './room';
import { SidePanel } from './sidepanel';
import { DOMAIN, ISession } from './tokens';
import { transfers } from './transferplugin';

const ID = 'jupyter-hpcsec:plugin';
const PANEL_RANK = 600;

function activate(
  app: JupyterFrontEnd,
  model: SessionModel,
  palette: ICommandPalette | null,
  restorer: ILayoutRestorer | null,
  statusBar: IStatusBar | null,
  settings: ISettingRegistry | null,
  translator: ITranslator | null,
  browsers: IFileBrowserFactory | null
): void {
  const trans = (translator ?? nullTranslator).load(DOMAIN);
  const parts = DisposableSet.from([model]);
  const { commands } = app;

  // There from the start, so that a panel that was open is open again; its content comes with a look at it.
  let isLoaded = false;
  const panel = new SidePanel({
    id: 'jp-hpcsec-session',
    icon: shieldIcon,
    name: trans.__('Session'),
    load: async () => {
      const { SessionView } = await import('./panel');
      isLoaded = true;
      return new SessionView(model, trans, {
        saveAll: () => void saveAll(commands),
        refresh: () => void refresh(model)
      });
    },
    looked: isSeen => {
      if (isSeen) {
        makeRoom(app.shell);
      }
      if (isSeen && isLoaded) {
        void model.loadAccess();
      }
    }
  });
  app.shell.add(panel, 'right', { rank: PANEL_RANK, type: 'Session' });
  restorer?.add(panel, panel.id);
  parts.add(panel);

  const open = (): void => app.shell.activateById(panel.id);
  explainRefusals(trans, open);
  if (browsers) {
    tellRefusedDirectories(browsers.tracker, trans);
  }
  model.changed.connect(() => {
    if (model.link === 'absent') {
      parts.dispose();
    }
  });

  void app.restored.then(async () => {
    const { showSession } = await import('./shown');
    if (!model.isDisposed) {
      parts.add(showSession(ID, commands, model, open, palette, statusBar, settings, trans));
    }
  });
}

const session: JupyterFrontEndPlugin<SessionModel> = {
  id: 'jupyter-hpcsec:session',
  description: 'Asks the server for the state of the session.',
  autoStart: true,
  provides: ISession,
  activate: (app: JupyterFrontEnd) => {
    const model = new SessionModel(app.serviceManager.serverSettings);
    void app.restored.then(() => model.start()); // people's documents come first
    return model;
  }
};

const plugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Shows the session: status bar, panel, notifications and refusals.',
  autoStart: true,
  requires: [ISession],
  optional: [
    ICommandPalette,
    ILayoutRestorer,
    IStatusBar,
    ISettingRegistry,
    ITranslator,
    IFileBrowserFactory
  ],
  activate
};

const listing: JupyterFrontEndPlugin<DirListing.IRenderer> = {
  id: 'jupyter-hpcsec:listing',
  description: 'Marks in the file browser what is read-only and what is closed.',
  autoStart: true,
  provides: IDefaultFileBrowserRenderer,
  requires: [ISession],
  optional: [ITranslator],
  activate: (_: JupyterFrontEnd, model: SessionModel, translator: ITranslator | null) =>
    new MarkedListing(model, (translator ?? nullTranslator).load(DOMAIN))
};

export { ISession };
export default [session, connection, plugin, listing, gpu, transfers];
