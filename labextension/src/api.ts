/**
 * Requests to the server extension, by JupyterLab's own connection: its base URL, its login, its XSRF cookie.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { EventReader } from './events';
import type { IAnswer } from './state';

/** What came back. `serverTime` is in Unix seconds, null when the answer bears none. */
export interface IReply extends IAnswer {
  readonly body: unknown;
  readonly serverTime: number | null;
}

function timeOf(response: Response): number | null {
  const time = Date.parse(response.headers.get('Date') ?? '');
  return Number.isNaN(time) ? null : time / 1000;
}

/** `GET /hpcsec/api/<what>`. Never rejects: an interruption is an answer, too. */
export function ask(
  what: 'session' | 'access' | 'gpu',
  settings: ServerConnection.ISettings
): Promise<IReply> {
  return request(what, { cache: 'no-store' }, settings);
}

/** `POST /hpcsec/api/<what>`; likewise. */
export function tell(
  what: 'gpu/keep' | 'gpu/release',
  body: Record<string, string | number>,
  settings: ServerConnection.ISettings
): Promise<IReply> {
  return request(what, { method: 'POST', body: JSON.stringify(body) }, settings);
}

/**
 * `GET /hpcsec/api/gpu/stream`, whose events `take` gets as they come. Resolves when it has ended, by the server, by an
 * interruption (status null) or by `signal`; never rejects.
 */
export async function follow(
  take: (body: unknown) => void,
  signal: AbortSignal,
  settings: ServerConnection.ISettings
): Promise<IAnswer> {
  const url = URLExt.join(settings.baseUrl, 'hpcsec', 'api', 'gpu', 'stream');
  const interrupted = { status: null, isObject: false };
  try {
    const response = await ServerConnection.makeRequest(
      url,
      { cache: 'no-store', signal },
      settings
    );
    const isStream = (response.headers.get('Content-Type') ?? '').startsWith('text/event-stream');
    if (response.status !== 200 || !isStream || !response.body) {
      await response.body?.cancel();
      return { status: response.status, isObject: false };
    }
    const events = new EventReader();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return { status: 200, isObject: true };
      }
      events.take(value, 'panel').forEach(data => take(JSON.parse(data)));
    }
  } catch {
    return interrupted; // cut, or nonsense: both are tried again
  }
}

async function request(
  what: string,
  init: RequestInit,
  settings: ServerConnection.ISettings
): Promise<IReply> {
  const url = URLExt.join(settings.baseUrl, 'hpcsec', 'api', what);
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(url, init, settings);
  } catch {
    return { status: null, isObject: false, body: null, serverTime: null };
  }
  const body: unknown = await response.json().catch(() => null);
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body);
  return { status: response.status, isObject, body, serverTime: timeOf(response) };
}
