/**
 * Requests to the server extension, by JupyterLab's own connection: its base URL, its login, its XSRF cookie.
 */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

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
export async function ask(
  what: 'session' | 'access',
  settings: ServerConnection.ISettings
): Promise<IReply> {
  const url = URLExt.join(settings.baseUrl, 'hpcsec', 'api', what);
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(url, { cache: 'no-store' }, settings);
  } catch {
    return { status: null, isObject: false, body: null, serverTime: null };
  }
  const body: unknown = await response.json().catch(() => null);
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body);
  return { status: response.status, isObject, body, serverTime: timeOf(response) };
}
