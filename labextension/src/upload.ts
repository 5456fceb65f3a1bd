/** A file on its way to the session, by tus 1.0.0; an empty piece with the SHA-256 of the whole ends it (RFC 9530). */

import type { IHash } from './hasher';
import { Halt, type IGiven, type IWorld, PATIENCE_MS, said, Transfer } from './transfer.js';
import { base64, meaning, pauseMs, pieceSize, readDigest, reprDigest } from './transferwords.js';

const AGAIN_LIMIT = 3;
/** A cancelled upload is asked to be removed so often; its rest would go by itself after days. */
const CANCEL_LIMIT = 10;

/** What is uploaded: a `File` of the browser. */
export interface ISource {
  readonly size: number;
  slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> };
}

/** What a listing of uploads that are not finished holds of each. */
interface IUnfinished {
  readonly upload: string;
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

/** One upload. `path` is encoded, as it stands in addresses; `isTaken` tells of uploads that others here go on with. */
export class Upload extends Transfer {
  constructor(
    name: string,
    path: string,
    private readonly _source: ISource,
    world: IWorld,
    private readonly _sha256: (data: Uint8Array) => Promise<string>,
    private readonly _mayReplace: () => Promise<boolean>,
    private readonly _isTaken: (upload: string) => boolean = () => false
  ) {
    super(name, path, _source.size, world);
    this._hash = world.hash();
  }

  override readonly isUpload = true;

  /** Its name on the server; empty before there is one, and when it is done. */
  get upload(): string {
    return this._upload;
  }

  protected override async attempt(): Promise<void> {
    if (this._upload === '' && !(await this._find())) {
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
    const isLeft = !isGood && this._upload !== '';
    for (let attempt = 0; isLeft && attempt < CANCEL_LIMIT; attempt += 1) {
      const signal = this.world.deadline(PATIENCE_MS);
      const given = await this.world
        .request('DELETE', this._address, TUS, null, signal)
        .catch(() => null);
      if (meaning(given?.status ?? null) !== 'wait') {
        return;
      }
      await this.world.sleep(pauseMs(attempt, this.world.chance()), new AbortController().signal);
    }
  }

  private get _address(): string {
    return `transfers/uploads/${this.path}?upload=${this._upload}`;
  }

  /** What was begun for the same place and size: in a page that is gone, or by a request whose answer was lost. */
  private async _find(): Promise<boolean> {
    const given = await this.ask('GET', 'transfers/uploads');
    const lines = unfinished(await this.soon(given.json(), PATIENCE_MS));
    const path = decodeURIComponent(this.path);
    const found = lines.find(
      line => line.path === path && line.length === this.size && !this._isTaken(line.upload)
    );
    this._upload = found?.upload ?? '';
    return found !== undefined;
  }

  private async _create(replaces: string): Promise<void> {
    const headers: Record<string, string> = { ...TUS, 'Upload-Length': String(this.size) };
    if (replaces !== '') {
      headers['If-Match'] = replaces;
    }
    const what = `transfers/uploads/${this.path}`;
    const given = await this.ask('POST', what, headers, null, ['exists'], true);
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
      this.localHash = this.localHash || (await this._hashing(this._hash.digest()));
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
        this._compare((await this.askDigest()).sha256);
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
    await this._hashing(this._hash.update(data));
    this._hashed += data.length;
  }

  /** What hashes and failed, or never came, is replaced: the next attempt hashes from the beginning. */
  private async _hashing<T>(asked: Promise<T>): Promise<T> {
    try {
      return await asked;
    } catch (reason) {
      this._hash.dispose();
      this._hash = this.world.hash();
      this._hashed = 0;
      throw reason;
    }
  }

  private async _read(start: number, end: number): Promise<Uint8Array> {
    try {
      return new Uint8Array(await this._source.slice(start, end).arrayBuffer());
    } catch (reason) {
      throw new Halt('fail', String(reason)); // the file was changed or moved on this computer
    }
  }

  private _hash: IHash;
  private _upload = '';
  private _hashed = 0;
  private _isNamed = false;
  private _again = 0;
  private _pieceSize = pieceSize(null, null);
}

const TUS: Readonly<Record<string, string>> = { 'Tus-Resumable': '1.0.0' };
