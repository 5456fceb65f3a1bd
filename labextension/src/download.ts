/** A file on its way from the session to a file of this computer, by ranges of one and the same content. */

import type { IHash } from './hasher';
import { Halt, type IWorld, Transfer } from './transfer.js';

/** Where the bytes go: a `FileSystemWritableFileStream`. It keeps nothing unless it is closed. */
export interface ISink {
  write(data: Uint8Array): Promise<void>;
  close(): Promise<void>;
  abort(): Promise<void>;
}

/** Nothing came for so long: the way is interrupted. */
const SILENCE_MS = 45_000;

/** One download. `path` is encoded, as it stands in addresses. */
export class Download extends Transfer {
  constructor(
    name: string,
    path: string,
    size: number,
    private readonly _sink: ISink,
    world: IWorld
  ) {
    super(name, path, size, world);
    this._hash = world.hash();
  }

  override readonly isUpload = false;

  protected override async attempt(): Promise<void> {
    if (!this._isWhole) {
      if (this.done === 0) {
        await this._prepare();
      }
      await this._fetch();
      this._isWhole = true;
    }
    this.verifying();
    this.localHash = this.localHash || (await this._hash.digest());
    const { sha256, etag } = await this.askDigest();
    this.remoteHash = sha256;
    if (sha256 !== this.localHash || etag !== this._etag) {
      throw new Halt('fail', CHANGED);
    }
    await this._sink.close();
    this._isKept = true;
  }

  protected override async end(): Promise<void> {
    this._hash.dispose();
    if (!this._isKept) {
      await this._sink.abort();
    }
  }

  /** What hashes has to be there first: what was written can't be read again. */
  private async _prepare(): Promise<void> {
    try {
      await this._hash.update(new Uint8Array(0));
    } catch (reason) {
      this._hash.dispose();
      this._hash = this.world.hash();
      throw reason;
    }
  }

  private async _fetch(): Promise<void> {
    const headers: Record<string, string> = { 'Cache-Control': 'no-cache' };
    if (this._etag !== '') {
      headers['Range'] = `bytes=${this.done}-`;
      headers['If-Range'] = this._etag;
      if (this.done === this.size) {
        return;
      }
    }
    const given = await this.ask('GET', `/files/${this.path}`, headers);
    const etag = given.header('ETag') ?? '';
    const is_part = given.status === 206;
    if (this._etag !== '' && etag !== this._etag) {
      throw new Halt('fail', CHANGED);
    }
    if (this.done > 0 && !is_part) {
      throw new Halt('fail', CHANGED);
    }
    if (!is_part) {
      this.size = Number(given.header('Content-Length') ?? this.size);
    }
    this._etag = etag;
    await this._take(given.stream());
    if (this.done !== this.size) {
      throw new Halt('wait');
    }
  }

  private async _take(stream: AsyncIterable<Uint8Array>): Promise<void> {
    const source = stream[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.soon(source.next(), SILENCE_MS);
        if (next.done) {
          return;
        }
        if (this.done + next.value.length > this.size) {
          throw new Halt('fail', CHANGED);
        }
        await this._keep(next.value);
        this.moved(this.done + next.value.length);
      }
    } finally {
      void source.return?.().catch(() => undefined);
    }
  }

  private async _keep(data: Uint8Array): Promise<void> {
    try {
      await this._hash.update(data);
      await this._sink.write(data);
    } catch (reason) {
      throw new Halt('fail', String(reason)); // this computer's disk is full, or the file is gone
    }
  }

  private _hash: IHash;
  private _etag = '';
  private _isWhole = false;
  private _isKept = false;
}

const CHANGED = 'the file changed on the server meanwhile';
