/** A file on its way to the session, by tus 1.0.0; an empty piece with the SHA-256 of the whole ends it (RFC 9530). */

import type { IHash } from './hasher';
import {
  askDigest,
  Halt,
  type IGiven,
  type IWorld,
  PATIENCE_MS,
  said,
  Transfer
} from './transfer.js';
import { base64, meaning, pieceSize, readDigest, reprDigest } from './transferwords.js';

const AGAIN_LIMIT = 3;

/** What is uploaded: a `File` of the browser. */
export interface ISource {
  readonly size: number;
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> };
}

/** An upload that was begun earlier. */
export interface IBegun {
  readonly upload: string;
}

/** One upload. `path` is encoded, as it stands in addresses. */
export class Upload extends Transfer {
  constructor(
    name: string,
    path: string,
    private readonly _source: ISource,
    world: IWorld,
    private readonly _sha256: (data: Uint8Array) => Promise<string>,
    private readonly _mayReplace: () => Promise<boolean>,
    begun: IBegun | null = null
  ) {
    super(name, path, _source.size, world);
    this._hash = world.hash();
    this._upload = begun?.upload ?? '';
  }

  override readonly isUpload = true;

  protected override async attempt(): Promise<void> {
    if (this._upload === '') {
      await this._create('');
    }
    let offset = await this._look();
    this.moved(offset);
    while (offset < this.size || this.localHash === '' || !this._isNamed) {
      offset = await this._send(offset);
      this.moved(offset);
    }
  }

  protected override async end(isGood: boolean): Promise<void> {
    this._hash.dispose();
    if (!isGood && this._upload !== '') {
      const signal = this.world.deadline(PATIENCE_MS);
      await this.world.request('DELETE', this._address, TUS, null, signal);
    }
  }

  private get _address(): string {
    return `transfers/uploads/${this.path}?upload=${this._upload}`;
  }

  private async _create(replaces: string): Promise<void> {
    const headers: Record<string, string> = { ...TUS, 'Upload-Length': String(this.size) };
    if (replaces !== '') {
      headers['If-Match'] = replaces;
    }
    const what = `transfers/uploads/${this.path}`;
    const given = await this.ask('POST', what, headers, null, ['exists']);
    const etag = given.header('ETag');
    if (meaning(given.status) === 'exists') {
      if (!etag || etag === replaces) {
        throw new Halt('fail', await said(given));
      }
      if (!(await this._mayReplace())) {
        this.cancel();
        throw new Halt('fail');
      }
      return this._create(etag);
    }
    this._upload = /[?&]upload=([0-9a-f]{32})$/.exec(given.header('Location') ?? '')?.[1] ?? '';
  }

  /** How far it is. */
  private async _look(): Promise<number> {
    const given = await this._tus('HEAD', {}, null);
    const offset = Number(given?.header('Upload-Offset') ?? NaN);
    if (given && (!(offset >= 0) || offset > this.size)) {
      throw new Halt('fail', `Upload-Offset: ${given.header('Upload-Offset')}`);
    }
    return given ? offset : this.size;
  }

  private async _send(offset: number): Promise<number> {
    await this._hashUpTo(offset);
    const end = Math.min(this.size, offset + this._pieceSize);
    const data = await this._read(offset, end);
    if (this._hashed === offset && data.length > 0) {
      await this._add(data);
    }
    const headers: Record<string, string> = {
      'Content-Type': 'application/offset+octet-stream',
      'Upload-Offset': String(offset),
      'Upload-Checksum': `sha256 ${base64(await this._sha256(data))}`
    };
    if (offset === this.size) {
      this.localHash = this.localHash || (await this._hash.digest());
      headers['Repr-Digest'] = reprDigest(this.localHash);
      this.verifying();
    }
    const started = this.world.nowMs();
    const size = this._pieceSize;
    this._pieceSize = pieceSize(size, null); // unless it arrives
    const given = await this._tus('PATCH', headers, data);
    this._pieceSize = pieceSize(size, this.world.nowMs() - started);
    this._again = 0;
    if (given && offset === this.size) {
      this._compare(readDigest(given.header('Repr-Digest')));
    }
    return end;
  }

  /** A request about this upload; null where it is over, since the answer that said so was lost. */
  private async _tus(
    method: string,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array | null
  ): Promise<IGiven | null> {
    try {
      return await this.ask(method, this._address, { ...TUS, ...headers }, body);
    } catch (reason) {
      if (reason instanceof Halt && reason.next === 'gone' && this.localHash !== '') {
        const { sha256 } = await askDigest((verb, what) => this.ask(verb, what), this.path);
        this._compare(sha256);
        return null;
      }
      if (reason instanceof Halt && reason.next === 'again' && ++this._again > AGAIN_LIMIT) {
        throw new Halt('fail', reason.message);
      }
      throw reason;
    }
  }

  private _compare(remote: string): void {
    this.remoteHash = remote;
    if (remote !== this.localHash) {
      throw new Halt('fail', 'SHA-256 differs');
    }
    this._isNamed = true;
    this._upload = ''; // nothing is left to be cancelled
  }

  /** What arrived without having passed here: before the page was loaded, or as its answer was lost. */
  private async _hashUpTo(offset: number): Promise<void> {
    while (this._hashed < offset) {
      const end = Math.min(offset, this._hashed + 2 ** 24);
      await this._add(await this._read(this._hashed, end));
    }
  }

  private async _add(data: Uint8Array): Promise<void> {
    await this._hash.update(data);
    this._hashed += data.length;
  }

  private async _read(start: number, end: number): Promise<Uint8Array> {
    try {
      return new Uint8Array(await this._source.slice(start, end).arrayBuffer());
    } catch (reason) {
      throw new Halt('fail', String(reason)); // the file was changed or moved on this computer
    }
  }

  private readonly _hash: IHash;
  private _upload: string;
  private _hashed = 0;
  private _isNamed = false;
  private _again = 0;
  private _pieceSize = pieceSize(null, null);
}

const TUS: Readonly<Record<string, string>> = { 'Tus-Resumable': '1.0.0' };
