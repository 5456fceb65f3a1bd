/** The plug-in for sessions with GPUs: a panel's frame at first, the rest when JupyterLab stands. Elsewhere it does nothing at all. */

import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { gpuIcon } from './icon';
import { makeRoom } from './room';
import { SidePanel } from './sidepanel';
import { DOMAIN } from './tokens';

const PANEL = 'jp-hpcsec-gpu';
const PANEL_RANK = 610;
/** What the server says in the page where it has GPUs (`server.gpu_watch`). */
const ANNOUNCED = 'hpcsecGpus';

function activate(
  app: JupyterFrontEnd,
  palette: ICommandPalette | null,
  restorer: ILayoutRestorer | null,
  translator: ITranslator | null
): void {
  if (PageConfig.getOption(ANNOUNCED) !== 'true') {
    return;
  }
  const trans = (translator ?? nullTranslator).load(DOMAIN);
  const shown = app.restored.then(async () => {
    const { showGpus } = await import('./gpushown');
    return showGpus(app, PANEL, palette, trans);
  });
  const panel = new SidePanel({
    id: PANEL,
    icon: gpuIcon,
    name: trans.__('GPU'),
    load: async () => (await shown).view(),
    looked: isSeen => {
      void shown.then(({ model }) => {
        model.isWatched = isSeen;
      });
      if (isSeen) {
        makeRoom(app.shell);
      }
    }
  });
  app.shell.add(panel, 'right', { rank: PANEL_RANK, type: 'GPU' });
  restorer?.add(panel, panel.id);
}

/** Shows what the session's kernels hold on GPUs. */
export const gpu: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-hpcsec:gpu',
  description: 'Shows what kernels hold on GPUs, and warns before one is shut down.',
  autoStart: true,
  optional: [ICommandPalette, ILayoutRestorer, ITranslator],
  activate
};
