/** All transfers of this page, and those that are not finished on the server. */

import { PathExt, URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import { type ISignal, Signal } from '@lumino/signaling';

import { Download, type ISink } from './download';
import { type IWorld, PATIENCE_MS, type Transfer } from './transfer';
import { browserWorld, sha256 } from './transferworld';
import { type IBegun, Upload } from './upload';

/** What a listing of unfinished uploads holds of each. */
interface IUnfinished extends IBegun {
  readonly path: string;
  readonly length: number;
}

function unfinished(body: unknown): IUnfinished[] {
  return Array.isArray(body)
    ? body.filter(
        (line: Partial<IUnfinished>): line is IUnfinished =>
          typeof line?.upload === 'string' &&
          typeof line.path === 'string' &&
          typeof line.length === 'number'
      )
    : [];
}

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
    const begun = this._isUnderWay(path) ? null : await this._begun(path, file.size);
    const encoded = URLExt.encodeParts(path);
    const name = PathExt.basename(path);
    const made = new Upload(name, encoded, file, this._world, sha256, mayReplace, begun);
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

  private _isUnderWay(path: string): boolean {
    const encoded = URLExt.encodeParts(path);
    return this.all.some(transfer => !transfer.isOver && transfer.path === encoded);
  }

  private async _begun(path: string, size: number): Promise<IBegun | null> {
    try {
      const signal = this._world.deadline(PATIENCE_MS);
      const given = await this._world.request('GET', 'transfers/uploads', {}, null, signal);
      const found = unfinished(given.status === 200 ? await given.json() : null);
      return found.find(line => line.path === path && line.length === size) ?? null;
    } catch {
      return null; // it begins anew, as soon as the server answers
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
