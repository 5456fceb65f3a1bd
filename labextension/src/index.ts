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
import { DisposableSet } from '@lumino/disposable';

import { shieldIcon } from './icon';
import { SessionModel } from './model';
import { Notices } from './notices';
import { readSettings } from './settings';
import { SessionPanel } from './sidepanel';
import { SessionStatus } from './status';

const ID = 'jupyter-hpcsec:plugin';
const DOMAIN = 'jupyter_hpcsec';
const PANEL_RANK = 600;
/** On the left, after the counts of terminals and kernels. */
const STATUS_RANK = 10;

const Commands = { open: 'hpcsec:open-session', refresh: 'hpcsec:refresh-session' } as const;

function activate(
  app: JupyterFrontEnd,
  palette: ICommandPalette | null,
  restorer: ILayoutRestorer | null,
  statusBar: IStatusBar | null,
  settings: ISettingRegistry | null,
  translator: ITranslator | null
): void {
  const trans = (translator ?? nullTranslator).load(DOMAIN);
  const model = new SessionModel(app.serviceManager.serverSettings);
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
  const panel = new SessionPanel(model, trans, { saveAll, refresh });
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

  const notices = new Notices(model, trans, { saveAll, open });
  const status = new SessionStatus(model, trans, open);
  const item = statusBar?.registerStatusItem(ID, {
    item: status,
    align: 'left',
    rank: STATUS_RANK,
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

  // What cannot reach the server says so: no need to wait for the next question.
  app.serviceManager.connectionFailure.connect(() => void model.refresh());
  model.changed.connect(() => {
    if (model.link === 'absent') {
      parts.dispose();
    }
  });
}

const plugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Shows the session: status bar, panel and notifications.',
  autoStart: true,
  optional: [ICommandPalette, ILayoutRestorer, IStatusBar, ISettingRegistry, ITranslator],
  activate
};

export default [plugin];
