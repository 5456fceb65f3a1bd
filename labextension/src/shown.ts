/** What is shown of the session beside its panel: commands, status bar, notifications. It comes when JupyterLab stands. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ICommandPalette } from '@jupyterlab/apputils';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { IStatusBar } from '@jupyterlab/statusbar';
import type { TranslationBundle } from '@jupyterlab/translation';
import { DisposableSet, type IDisposable } from '@lumino/disposable';

import { refresh, saveAll } from './actions';
import { RESTART } from './connection';
import { shieldIcon } from './icon';
import type { SessionModel } from './model';
import { Notices } from './notices';
import { readSettings } from './settings';
import { SessionStatus } from './status';

/** On the left, after the counts of terminals and kernels. */
const STATUS_RANK = 10;

const Commands = { open: 'hpcsec:open-session', refresh: 'hpcsec:refresh-session' } as const;

/** Begin to show it; `id` is whose settings are read, `show` brings the panel. Ends with what is returned. */
export function showSession(
  id: string,
  commands: JupyterFrontEnd['commands'],
  model: SessionModel,
  show: () => void,
  palette: ICommandPalette | null,
  statusBar: IStatusBar | null,
  settings: ISettingRegistry | null,
  trans: TranslationBundle
): IDisposable {
  const parts = DisposableSet.from([
    commands.addCommand(Commands.open, {
      label: trans.__('Show Session'),
      caption: trans.__('What your session is, what it may do, and how long it lives'),
      icon: shieldIcon,
      execute: show
    }),
    commands.addCommand(Commands.refresh, {
      label: trans.__('Refresh Session'),
      caption: trans.__('Ask the server for the state of your session now'),
      execute: () => refresh(model)
    })
  ]);
  for (const command of Object.values(Commands)) {
    const item = palette?.addItem({ command, category: trans.__('Session') });
    if (item) {
      parts.add(item);
    }
  }

  const notices = new Notices(model, trans, {
    saveAll: () => void saveAll(commands),
    open: show,
    restart: () => void commands.execute(RESTART)
  });
  const status = new SessionStatus(model, trans, show);
  const item = statusBar?.registerStatusItem(id, {
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
    readSettings(settings, id, found => {
      notices.minutes = found.warnings;
      status.isWanted = found.statusBar;
    });
  }
  return parts;
}
