/** A worker that hashes: SHA-256 by WebAssembly, apart from the page, which goes on meanwhile. */

import { createSHA256, type IHasher } from 'hash-wasm/dist/sha256.umd.min.js';

/** What it is asked; each is answered in its turn. */
export interface IHashQuestion {
  readonly id: number;
  /** Bytes that follow those before; none: the digest of all of them is wanted. */
  readonly data?: Uint8Array;
}

/** What it says. */
export interface IHashAnswer {
  readonly id: number;
  readonly digest?: string;
  readonly problem?: string;
}

interface IScope {
  onmessage: ((event: MessageEvent<IHashQuestion>) => void) | null;
  postMessage(answer: IHashAnswer): void;
}

const scope = self as unknown as IScope;
const hasher: Promise<IHasher> = createSHA256().then(made => made.init());

scope.onmessage = ({ data: { id, data } }) => {
  hasher
    .then(state => {
      if (data) {
        state.update(data);
        scope.postMessage({ id });
      } else {
        scope.postMessage({ id, digest: state.digest('hex') });
      }
    })
    .catch((reason: unknown) => scope.postMessage({ id, problem: String(reason) }));
};
