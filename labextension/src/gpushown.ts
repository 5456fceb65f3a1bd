/** What is shown of GPUs: command, warnings and the panel's content. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ICommandPalette } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';

import { GpuActions } from './gpuactions';
import { GpuModel } from './gpumodel';
import { gpuIcon } from './icon';
import { IdleNotices } from './idle';

const COMMAND = 'hpcsec:open-gpu';

/** What the panel's frame needs. */
export interface IGpuShown {
  readonly model: GpuModel;
  readonly view: () => Promise<Widget>;
}

/** Begin to ask the server, and to warn. */
export function showGpus(
  app: JupyterFrontEnd,
  panel: string,
  palette: ICommandPalette | null,
  trans: TranslationBundle
): IGpuShown {
  const { commands } = app;
  const model = new GpuModel(app.serviceManager.serverSettings);
  const actions = new GpuActions(model, trans, path => {
    void commands.execute('docmanager:open', { path });
  });
  commands.addCommand(COMMAND, {
    label: trans.__('Show GPUs'),
    caption: trans.__('What your kernels hold on GPUs, and for how long'),
    icon: gpuIcon,
    execute: () => app.shell.activateById(panel)
  });
  palette?.addItem({ command: COMMAND, category: trans.__('Session') });
  new IdleNotices(model, trans, (kernel, minutes) => actions.keepFor(kernel, minutes));
  app.serviceManager.connectionFailure.connect(() => void model.refresh());
  return {
    model,
    view: async () => {
      const { GpuView } = await import('./gpupanel');
      return new GpuView(model, trans, {
        keep: (kernel, facts) => void actions.keep(kernel, facts),
        release: kernel => void actions.release(kernel),
        openNotebook: actions.openNotebook
      });
    }
  };
}
