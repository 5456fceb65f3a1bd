/** The browser, as transfers need it. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { WorkerHash } from './hasher';
import type { IGiven, IWorld } from './transfer';

async function* chunks(response: Response): AsyncIterable<Uint8Array> {
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const next = await reader?.read();
      if (!next || next.done) {
        return;
      }
      yield next.value;
    }
  } finally {
    await reader?.cancel().catch(() => undefined);
  }
}

/** Requests go below `/hpcsec/api`, but those that begin with a slash, which go below the server's base. */
export function browserWorld(settings: ServerConnection.ISettings, isDown: () => boolean): IWorld {
  return {
    request: async (method, what, headers, body, signal): Promise<IGiven> => {
      const url = what.startsWith('/')
        ? URLExt.join(settings.baseUrl, what)
        : URLExt.join(settings.baseUrl, 'hpcsec', 'api', what);
      const init: RequestInit = { method, headers, cache: 'no-store', signal };
      if (body !== null) {
        init.body = body as Uint8Array<ArrayBuffer>;
      }
      const response = await ServerConnection.makeRequest(url, init, settings);
      return {
        status: response.status,
        header: name => response.headers.get(name),
        json: () => response.json() as Promise<unknown>,
        stream: () => chunks(response)
      };
    },
    hash: () => new WorkerHash(),
    nowMs: () => performance.now(),
    deadline: ms => AbortSignal.timeout(ms),
    isDown,
    chance: () => Math.random(),
    sleep: (ms, signal) =>
      new Promise(resolve => {
        const over = (): void => {
          clearTimeout(timer);
          resolve();
        };
        const timer = setTimeout(over, ms);
        signal.addEventListener('abort', over, { once: true });
      })
  };
}

/** SHA-256 of a piece: by the browser itself, where the page's connection allows it; else in a worker. */
export async function sha256(data: Uint8Array): Promise<string> {
  if (crypto.subtle as SubtleCrypto | undefined) {
    const digest = await crypto.subtle.digest('SHA-256', data as Uint8Array<ArrayBuffer>);
    return [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, '0')).join('');
  }
  const hash = new WorkerHash();
  try {
    await hash.update(data);
    return await hash.digest();
  } finally {
    hash.dispose();
  }
}
