/** The page's end of `hashworker`. */

import type { IHashAnswer, IHashQuestion } from './hashworker';

/** Hashes bytes in their order. */
export interface IHash {
  /** Bytes that follow those before. */
  update(data: Uint8Array): Promise<void>;
  /** The SHA-256 of all, in hexadecimal; nothing may follow. */
  digest(): Promise<string>;
  dispose(): void;
}

/** SHA-256 in a worker of its own. Whatever goes wrong there rejects what was asked and all that is asked later. */
export class WorkerHash implements IHash {
  constructor() {
    this._worker = new Worker(new URL('./hashworker.js', import.meta.url));
    this._worker.onmessage = ({ data }: MessageEvent<IHashAnswer>) => {
      const asked = this._asked.get(data.id);
      this._asked.delete(data.id);
      if (data.problem === undefined) {
        asked?.resolve(data.digest ?? '');
      } else {
        asked?.reject(new Error(data.problem));
      }
    };
    this._worker.onerror = event => {
      this._problem = new Error(event.message || 'the worker that hashes did not start');
      this._asked.forEach(asked => asked.reject(this._problem!));
      this._asked.clear();
    };
  }

  async update(data: Uint8Array): Promise<void> {
    await this._ask({ id: this._next++, data });
  }

  digest(): Promise<string> {
    return this._ask({ id: this._next++ });
  }

  dispose(): void {
    this._worker.terminate();
  }

  private _ask(question: IHashQuestion): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this._problem) {
        reject(this._problem);
        return;
      }
      this._asked.set(question.id, { resolve, reject });
      this._worker.postMessage(question);
    });
  }

  private readonly _worker: Worker;
  private readonly _asked = new Map<
    number,
    { readonly resolve: (digest: string) => void; readonly reject: (reason: Error) => void }
  >();
  private _next = 0;
  private _problem: Error | null = null;
}
