/** What people do with large files: commands, panel, and the offer where JupyterLab is given a large one. */

import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, type ICommandPalette, Notification, showDialog } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import type { FileBrowser, IFileBrowserFactory } from '@jupyterlab/filebrowser';
import type { Contents } from '@jupyterlab/services';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { TranslationBundle } from '@jupyterlab/translation';
import { downloadIcon } from '@jupyterlab/ui-components';

import type { ISink } from './download';
import { verifiedUploadIcon } from './icon';
import type { SessionModel } from './model';
import { SidePanel } from './sidepanel';
import { TransferList } from './transferlist';
import { bytes } from './transferwords';

const PANEL_RANK = 620;
const OFFER_MIB = 64;
const Commands = {
  open: 'hpcsec:open-transfers',
  upload: 'hpcsec:upload-large',
  download: 'hpcsec:download-verified'
} as const;

/** Chromium's way to a file of the person's choice. */
type Picker = (options: { suggestedName: string }) => Promise<{
  createWritable(): Promise<ISink>;
}>;

/** What the plug-in works with. */
interface IParts {
  readonly app: JupyterFrontEnd;
  readonly list: TransferList;
  readonly trans: TranslationBundle;
  readonly show: () => void;
}

function askToReplace(name: string, trans: TranslationBundle): Promise<boolean> {
  return showDialog({
    title: trans.__('Replace this file?'),
    body: trans.__('%1 is there already. It is replaced when the whole upload is verified.', name),
    buttons: [
      Dialog.cancelButton(),
      Dialog.warnButton({ label: trans.__('Replace when complete') })
    ]
  }).then(result => result.button.accept);
}

/** Upload, and tell how it ended: true when the file is there. */
async function upload(file: File, directory: string, parts: IParts): Promise<boolean> {
  const { list, trans, show } = parts;
  const path = PathExt.join(directory, file.name);
  show();
  const done = await list.upload(file, path, () => askToReplace(file.name, trans));
  if (done.stage === 'done') {
    Notification.success(trans.__('%1 was uploaded; SHA-256 is equal at both ends.', file.name));
  } else if (done.stage === 'failed') {
    Notification.error(trans.__('%1 was not uploaded: %2', file.name, done.sentence), {
      autoClose: false
    });
  }
  return done.stage === 'done';
}

function chooseFiles(): Promise<File[]> {
  return new Promise(resolve => {
    const input = document.createElement('input');
    input.type = 'file';
    input.multiple = true;
    input.addEventListener('change', () => resolve([...(input.files ?? [])]));
    input.addEventListener('cancel', () => resolve([]));
    input.click();
  });
}

/** Download to a file of the person's choice; where the browser can't, by the browser, with the hash to compare. */
async function download(path: string, size: number, parts: IParts): Promise<void> {
  const { app, list, trans, show } = parts;
  const name = PathExt.basename(path);
  const picker = (window as unknown as { showSaveFilePicker?: Picker }).showSaveFilePicker;
  if (!picker) {
    await downloadPlainly(path, name, parts);
    return;
  }
  let sink: ISink;
  try {
    sink = await (await picker.call(window, { suggestedName: name })).createWritable();
  } catch {
    return; // the person has thought better of it
  }
  show();
  const done = await list.download(app.serviceManager.contents.localPath(path), size, sink);
  if (done.stage === 'done') {
    Notification.success(trans.__('%1 was downloaded; SHA-256 is equal at both ends.', name));
  } else if (done.stage === 'failed') {
    Notification.error(trans.__('%1 was not downloaded: %2', name, done.sentence), {
      autoClose: false
    });
  }
}

async function downloadPlainly(path: string, name: string, parts: IParts): Promise<void> {
  const { app, list, trans } = parts;
  const { contents } = app.serviceManager;
  const link = document.createElement('a');
  link.href = await contents.getDownloadUrl(path);
  link.download = name;
  link.click();
  const stop = new AbortController();
  const digest = list.digest(contents.localPath(path), stop.signal);
  Notification.promise(digest, {
    pending: { message: trans.__('SHA-256 of %1 is being computed', name) },
    success: {
      message: sha256 => trans.__('Compare: SHA-256 of %1 is %2', name, String(sha256)),
      options: { autoClose: false }
    },
    error: { message: reason => trans.__('SHA-256 of %1: %2', name, String(reason)) }
  });
}

/** Where JupyterLab is given a large file, its way and ours are offered. */
function offer(browser: FileBrowser, limitMib: () => number, parts: IParts): void {
  const { model } = browser;
  const { trans, app } = parts;
  const own = model.upload.bind(model);
  model.upload = async (file, cwd) => {
    const directory = cwd ?? model.path;
    if (file.size < limitMib() * 2 ** 20 || model.driveName) {
      return own(file, cwd);
    }
    const { button } = await showDialog({
      title: trans.__('Upload a large file'),
      body: trans.__(
        '%1 has %2. A verified upload goes on after an interruption, and ends with the SHA-256 of both ends.',
        file.name,
        bytes(file.size, trans)
      ),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Upload as usual') }),
        Dialog.okButton({ label: trans.__('Verified upload') })
      ]
    });
    if (!button.accept) {
      return own(file, cwd);
    }
    const isThere = await upload(file, directory, parts);
    await model.refresh();
    const path = PathExt.join(directory, file.name);
    // whoever gave the file shows a dialog for what is thrown here: of failures people know, and of what they cancelled
    return isThere
      ? app.serviceManager.contents.get(path, { content: false })
      : nothingAt(path, file.name);
  };
}

/** JupyterLab's view of a file that did not come. */
function nothingAt(path: string, name: string): Contents.IModel {
  return {
    name,
    path,
    type: 'file',
    writable: false,
    created: '',
    last_modified: '',
    mimetype: '',
    content: null,
    format: null
  };
}

function addCommands(parts: IParts, factory: IFileBrowserFactory, session: SessionModel): void {
  const { app, trans, show } = parts;
  const { commands } = app;
  const isVisible = (): boolean => session.link !== 'absent';
  const current = (): FileBrowser | null => factory.tracker.currentWidget;
  const chosen = (): { path: string; size: number }[] =>
    [...(current()?.selectedItems() ?? [])]
      .filter(item => item.type !== 'directory')
      .map(item => ({ path: item.path, size: item.size ?? 0 }));
  commands.addCommand(Commands.open, {
    label: trans.__('Show Transfers'),
    caption: trans.__('Large files on their way to and from your session'),
    isVisible,
    execute: show
  });
  commands.addCommand(Commands.upload, {
    label: args => (args['toolbar'] ? '' : trans.__('Upload Large File…')),
    caption: trans.__('Upload a large file: goes on after an interruption, verified by SHA-256'),
    icon: verifiedUploadIcon,
    isVisible,
    execute: async () => {
      const browser = current();
      const directory = browser ? app.serviceManager.contents.localPath(browser.model.path) : '';
      const files = await chooseFiles();
      await Promise.all(files.map(file => upload(file, directory, parts)));
      await browser?.model.refresh();
    }
  });
  commands.addCommand(Commands.download, {
    label: trans.__('Download (Verified)…'),
    caption: trans.__('Download: goes on after an interruption, verified by SHA-256'),
    icon: downloadIcon,
    isVisible,
    isEnabled: () => chosen().length > 0,
    execute: async () => {
      for (const { path, size } of chosen()) {
        await download(path, size, parts);
      }
    }
  });
}

/** Begin to offer it. `id` is whose settings are read. */
export function offerTransfers(
  id: string,
  app: JupyterFrontEnd,
  session: SessionModel,
  factory: IFileBrowserFactory,
  palette: ICommandPalette | null,
  restorer: ILayoutRestorer | null,
  settings: ISettingRegistry | null,
  trans: TranslationBundle
): void {
  const isDown = (): boolean => session.link === 'reconnecting';
  const list = new TransferList(app.serviceManager.serverSettings, isDown);
  let panel: SidePanel | null = null;
  const show = (): void => {
    panel ??= addPanel(app, list, trans, restorer);
    app.shell.activateById(panel.id);
  };
  const parts: IParts = { app, list, trans, show };
  addCommands(parts, factory, session);
  for (const command of Object.values(Commands)) {
    palette?.addItem({ command, category: trans.__('Session') });
    app.commands.notifyCommandChanged(command); // the file browser's toolbar stands already
  }
  let limitMib = OFFER_MIB;
  settings?.load(id).then(
    found => {
      const apply = (): void => {
        const { offerFrom } = found.composite;
        limitMib = typeof offerFrom === 'number' ? offerFrom : OFFER_MIB;
      };
      found.changed.connect(apply);
      apply();
    },
    (reason: unknown) => console.warn(`${id}: the defaults are used`, reason)
  );
  const watch = (browser: FileBrowser): void =>
    offer(browser, () => (session.link === 'absent' ? Infinity : limitMib), parts);
  factory.tracker.forEach(watch);
  factory.tracker.widgetAdded.connect((_, browser) => watch(browser));
  let wasDown = isDown();
  session.changed.connect(() => {
    if (isDown() && !wasDown) {
      list.interrupted();
    } else if (session.link === 'connected') {
      list.hurry();
    }
    wasDown = isDown();
  });
  window.addEventListener('beforeunload', event => {
    if (list.isBusy) {
      event.preventDefault();
    }
  });
}

function addPanel(
  app: JupyterFrontEnd,
  list: TransferList,
  trans: TranslationBundle,
  restorer: ILayoutRestorer | null
): SidePanel {
  const panel = new SidePanel({
    id: 'jp-hpcsec-transfers',
    icon: verifiedUploadIcon,
    name: trans.__('Transfers'),
    load: async () => {
      const { TransferView } = await import('./transferpanel');
      return new TransferView(list, trans);
    },
    looked: () => undefined
  });
  app.shell.add(panel, 'right', { rank: PANEL_RANK, type: 'Transfers' });
  restorer?.add(panel, panel.id);
  return panel;
}
