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

import { connection, RESTART } from './connection';
import { gpu } from './gpuplugin';
import { shieldIcon } from './icon';
import { MarkedListing } from './marks';
import { SessionModel } from './model';
import { Notices } from './notices';
import { explainRefusals, tellRefusedDirectories } from './refusals';
import { makeRoom } from './room';
import { readSettings } from './settings';
import { SidePanel } from './sidepanel';
import { SessionStatus } from './status';
import { ISession } from './tokens';
import { transfers } from './transferplugin';
import { DOMAIN } from './words';

const ID = 'jupyter-hpcsec:plugin';
const PANEL_RANK = 600;
/** On the left, after the counts of terminals and kernels. */
const STATUS_RANK = 10;

const Commands = { open: 'hpcsec:open-session', refresh: 'hpcsec:refresh-session' } as const;

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
  const saveAll = (): void => {
    if (commands.hasCommand('docmanager:save-all')) {
      void commands.execute('docmanager:save-all');
    }
  };
  const open = (): void => void commands.execute(Commands.open);
  const refresh = (): void => void commands.execute(Commands.refresh);

  // There from the start, so that a panel that was open is open again; its content comes with a look at it.
  let isLoaded = false;
  const panel = new SidePanel({
    id: 'jp-hpcsec-session',
    icon: shieldIcon,
    name: trans.__('Session'),
    load: async () => {
      const { SessionView } = await import('./panel');
      isLoaded = true;
      return new SessionView(model, trans, { saveAll, refresh });
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

  parts.add(
    commands.addCommand(Commands.open, {
      label: trans.__('Show Session'),
      caption: trans.__('What your session is, what it may do, and how long it lives'),
      icon: shieldIcon,
      execute: () => app.shell.activateById(panel.id)
    })
  );
  parts.add(
    commands.addCommand(Commands.refresh, {
      label: trans.__('Refresh Session'),
      caption: trans.__('Ask the server for the state of your session now'),
      execute: () => Promise.all([model.refresh(), model.loadAccess()])
    })
  );
  for (const command of Object.values(Commands)) {
    const item = palette?.addItem({ command, category: trans.__('Session') });
    if (item) {
      parts.add(item);
    }
  }

  const restart = (): void => void commands.execute(RESTART);
  const notices = new Notices(model, trans, { saveAll, open, restart });
  const status = new SessionStatus(model, trans, open);
  const item = statusBar?.registerStatusItem(ID, {
    item: status,
    align: 'left',
    rank: STATUS_RANK,
    priority: 1, // also where JupyterLab leaves its own items out
    isActive: () => status.isWanted && model.facts !== null,
    activeStateChanged: status.stateChanged
  });
  if (item) {
    parts.add(item);
  }
  if (settings) {
    readSettings(settings, ID, found => {
      notices.minutes = found.warnings;
      status.isWanted = found.statusBar;
    });
  }

  explainRefusals(trans, open);
  if (browsers) {
    tellRefusedDirectories(browsers.tracker, trans);
  }

  const leave = (): void => {
    if (model.link === 'absent') {
      parts.dispose();
    }
  };
  model.changed.connect(leave);
  leave(); // the answer may have come before
}

const session: JupyterFrontEndPlugin<SessionModel> = {
  id: 'jupyter-hpcsec:session',
  description: 'Asks the server for the state of the session.',
  autoStart: true,
  provides: ISession,
  activate: (app: JupyterFrontEnd) => new SessionModel(app.serviceManager.serverSettings)
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
