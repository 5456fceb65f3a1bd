/** The plug-in for sessions with GPUs: panel, command and warnings. Elsewhere it does nothing at all. */

import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { GpuActions } from './gpuactions';
import { GpuModel } from './gpumodel';
import { gpuIcon } from './icon';
import { IdleNotices } from './idle';
import { makeRoom } from './room';
import { SidePanel } from './sidepanel';
import { DOMAIN } from './words';

const PANEL_RANK = 610;
/** What the server says in the page where it has GPUs (`server.gpu_watch`). */
const ANNOUNCED = 'hpcsecGpus';
const COMMAND = 'hpcsec:open-gpu';

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
  const { commands } = app;
  const model = new GpuModel(app.serviceManager.serverSettings);
  const actions = new GpuActions(model, trans, path => {
    void commands.execute('docmanager:open', { path });
  });
  const panel = new SidePanel({
    id: 'jp-hpcsec-gpu',
    icon: gpuIcon,
    name: trans.__('GPU'),
    load: async () => {
      const { GpuView } = await import('./gpupanel');
      return new GpuView(model, trans, {
        keep: (kernel, facts) => void actions.keep(kernel, facts),
        release: kernel => void actions.release(kernel),
        openNotebook: actions.openNotebook
      });
    },
    looked: isSeen => {
      model.isWatched = isSeen;
      if (isSeen) {
        makeRoom(app.shell);
      }
    }
  });
  app.shell.add(panel, 'right', { rank: PANEL_RANK, type: 'GPU' });
  restorer?.add(panel, panel.id);
  commands.addCommand(COMMAND, {
    label: trans.__('Show GPUs'),
    caption: trans.__('What your kernels hold on GPUs, and for how long'),
    icon: gpuIcon,
    execute: () => app.shell.activateById(panel.id)
  });
  palette?.addItem({ command: COMMAND, category: trans.__('Session') });
  new IdleNotices(model, trans, (kernel, minutes) => actions.keepFor(kernel, minutes));
  app.serviceManager.connectionFailure.connect(() => void model.refresh());
}

/** Shows what the session's kernels hold on GPUs. */
export const gpu: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-hpcsec:gpu',
  description: 'Shows what kernels hold on GPUs, and warns before one is shut down.',
  autoStart: true,
  optional: [ICommandPalette, ILayoutRestorer, ITranslator],
  activate
};
