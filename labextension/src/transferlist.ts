/** All transfers of this page, and those that are not finished on the server. */

import { PathExt, URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import { type ISignal, Signal } from '@lumino/signaling';

import { Download, type ISink } from './download';
import type { IWorld, Transfer } from './transfer';
import { browserWorld, sha256 } from './transferworld';
import { Upload } from './upload';

/** The model of the panel. */
export class TransferList {
  /** `isDown`: whether the way to the server is known to be interrupted. */
  constructor(settings: ServerConnection.ISettings, isDown: () => boolean) {
    this._world = browserWorld(settings, isDown);
  }

  readonly all: Transfer[] = [];

  /** Something changed. */
  get changed(): ISignal<this, Transfer> {
    return this._changed;
  }

  get isBusy(): boolean {
    return this.all.some(transfer => !transfer.isOver);
  }

  /** Begin, or go on with what was begun for the same path and size. Resolves when it is over. */
  async upload(file: File, path: string, mayReplace: () => Promise<boolean>): Promise<Upload> {
    const encoded = URLExt.encodeParts(path);
    const name = PathExt.basename(path);
    const isTaken = (upload: string): boolean =>
      this.all.some(each => each instanceof Upload && each.upload === upload);
    const made = new Upload(name, encoded, file, this._world, sha256, mayReplace, isTaken);
    await this._run(made);
    return made;
  }

  /** Resolves when it is over. */
  async download(path: string, size: number, sink: ISink): Promise<Download> {
    const encoded = URLExt.encodeParts(path);
    const made = new Download(PathExt.basename(path), encoded, size, sink, this._world);
    await this._run(made);
    return made;
  }

  /** The server's SHA-256 of a file; asked for until it is there. */
  async digest(path: string, signal: AbortSignal): Promise<string> {
    const what = `transfers/digests/${URLExt.encodeParts(path)}`;
    for (;;) {
      const given = await this._world.request('GET', what, {}, null, signal);
      const body = (await given.json()) as { sha256?: unknown; message?: unknown };
      if (given.status === 200) {
        return String(body.sha256);
      }
      if (given.status !== 202) {
        throw new Error(String(body.message));
      }
    }
  }

  /** The way to the server is interrupted. */
  interrupted(): void {
    this.all.forEach(transfer => transfer.interrupted());
  }

  /** The way to the server is back. */
  hurry(): void {
    this.all.forEach(transfer => transfer.hurry());
  }

  /** Take what is over out of the list. */
  tidy(transfer: Transfer): void {
    const at = this.all.indexOf(transfer);
    if (at >= 0 && transfer.isOver) {
      this.all.splice(at, 1);
      this._changed.emit(transfer);
    }
  }

  private async _run(transfer: Transfer): Promise<void> {
    transfer.changed = () => this._changed.emit(transfer);
    this.all.unshift(transfer);
    this._changed.emit(transfer);
    await transfer.run();
  }

  private readonly _world: IWorld;
  private readonly _changed = new Signal<this, Transfer>(this);
}
