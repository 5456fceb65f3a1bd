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

/** A worker that does not answer for so long was never loaded, or is gone. */
const PATIENCE_MS = 60_000;

/** SHA-256 in a worker of its own. Whatever goes wrong there rejects what was asked and all that is asked later. */
export class WorkerHash implements IHash {
  constructor() {
    this._worker = new Worker(new URL('./hashworker.js', import.meta.url));
    this._worker.onmessage = ({ data }: MessageEvent<IHashAnswer>) => {
      const asked = this._asked.get(data.id);
      this._asked.delete(data.id);
      clearTimeout(asked?.timer);
      if (data.problem === undefined) {
        asked?.resolve(data.digest ?? '');
      } else {
        asked?.reject(new Error(data.problem));
      }
    };
    this._worker.onerror = event =>
      this._fail(event.message || 'the worker that hashes did not start');
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
      const late = (): void => this._fail('the worker that hashes does not answer');
      const timer = setTimeout(late, PATIENCE_MS);
      this._asked.set(question.id, { resolve, reject, timer });
      this._worker.postMessage(question);
    });
  }

  private _fail(reason: string): void {
    const problem = (this._problem = new Error(reason));
    this._asked.forEach(asked => {
      clearTimeout(asked.timer);
      asked.reject(problem);
    });
    this._asked.clear();
  }

  private readonly _worker: Worker;
  private readonly _asked = new Map<
    number,
    {
      readonly resolve: (digest: string) => void;
      readonly reject: (reason: Error) => void;
      readonly timer: ReturnType<typeof setTimeout>;
    }
  >();
  private _next = 0;
  private _problem: Error | null = null;
}
