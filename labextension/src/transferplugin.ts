/** The plug-in for large files. All of it comes when JupyterLab stands. */

import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import type { SessionModel } from './model';
import { DOMAIN, ISession } from './tokens';

const ID = 'jupyter-hpcsec:transfers';

/** Large files between this computer and the session. */
export const transfers: JupyterFrontEndPlugin<void> = {
  id: ID,
  description:
    'Uploads and downloads large files: resumed after interruptions, verified by SHA-256.',
  autoStart: true,
  requires: [ISession, IFileBrowserFactory],
  optional: [ICommandPalette, ILayoutRestorer, ISettingRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    session: SessionModel,
    factory: IFileBrowserFactory,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    settings: ISettingRegistry | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    void app.restored.then(async () => {
      const { offerTransfers } = await import('./transferactions');
      offerTransfers(ID, app, session, factory, palette, restorer, settings, trans);
    });
  }
};
