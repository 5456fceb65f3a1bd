/**
 * What an answer of the server says about the way to it. Pure.
 */

/** How the browser reaches its session. */
export type Link =
  | 'unknown' // nothing was asked yet
  | 'connected'
  | 'reconnecting' // the proxy, the tunnel or the network is interrupted; kernels go on
  | 'signed-out' // the hub no longer knows this browser
  | 'stopped' // the hub says that the server does not run
  | 'absent'; // this server was started by no session: there is nothing to show

/** One answer: its status, or none when none came; and whether its body was the object that was asked for. */
export interface IAnswer {
  readonly status: number | null;
  readonly isObject: boolean;
}

/** JupyterHub's answer for a server that does not run (`FailedDependency`). */
const NOT_RUNNING = 424;

/**
 * What one answer means after what was known before.
 *
 * A server that was once reached is a session: when its address is unknown for a moment, as while
 * the proxy restores its routes, that is an interruption.
 */
export function linkOf(answer: IAnswer, before: Link): Link {
  const { status } = answer;
  if (status === null || status === 502 || status === 503 || status === 504) {
    return 'reconnecting';
  }
  if (status === 401 || status === 403) {
    return 'signed-out';
  }
  if (status === NOT_RUNNING) {
    return 'stopped';
  }
  if (status === 404) {
    return before === 'unknown' || before === 'absent' ? 'absent' : 'reconnecting';
  }
  if (status === 200 && !answer.isObject) {
    return 'signed-out'; // a login page, to which the request was led
  }
  return 'connected';
}

/** Whether nothing of the session can be reached for now. */
export function isAway(link: Link): boolean {
  return link === 'reconnecting' || link === 'stopped';
}

/** Seconds until the next question. */
export function pauseAfter(link: Link): number {
  return link === 'reconnecting' ? 3 : 30;
}
