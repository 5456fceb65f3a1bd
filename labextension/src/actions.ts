/** What buttons do in more than one place. */

import type { JupyterFrontEnd } from '@jupyterlab/application';

import type { SessionModel } from './model';

/** Save all open documents, where JupyterLab's document manager is there. */
export async function saveAll(commands: JupyterFrontEnd['commands']): Promise<void> {
  if (commands.hasCommand('docmanager:save-all')) {
    await commands.execute('docmanager:save-all');
  }
}

/** Ask the server for the state and the rules now. */
export async function refresh(model: SessionModel): Promise<void> {
  await Promise.all([model.refresh(), model.loadAccess()]);
}
