/**
 * What the server tells about the session, read with suspicion: whatever is of another type than
 * expected is left out. Pure.
 */

/** One fact of the receipt. */
export type Fact = string | number | boolean | null;

/** The rules have changed since the session began, so that it ends. */
export interface IStale {
  readonly endsAt: number;
  readonly reason: string;
}

/** One sentence of what is recorded; by its code it has words here, too (`served`). */
export interface IRecorded {
  readonly code: string;
  readonly text: string;
}

/** `GET /hpcsec/api/session`. Times are in Unix seconds of the server's clock. */
export interface ISessionFacts {
  readonly user: string;
  readonly server: string;
  readonly session: string;
  readonly job: string;
  readonly node: string;
  readonly endsAt: number;
  readonly certificateEndsAt: number | null;
  readonly stale: IStale | null;
  readonly protections: ReadonlyMap<string, Fact>;
  readonly recorded: readonly IRecorded[];
  /** What the site has chosen to record of this session. */
  readonly recording: ReadonlyMap<string, string>;
  /** Where the user's own records are, on this host; empty where there is no such page. */
  readonly records: string;
}

/** One path of the user's rules. */
export interface IEntry {
  readonly path: string;
  readonly right: string;
  readonly rule: number;
  readonly line: number;
  readonly who: string;
}

/** `GET /hpcsec/api/access`. */
export interface IAccessFacts {
  readonly words: readonly string[];
  readonly entries: readonly IEntry[];
  readonly project: string;
  readonly contact: string;
  readonly enforcement: string;
  readonly policy: string;
  readonly bind: string;
  /** The TCP ports that may be connected to. */
  readonly ports: readonly number[];
}

type Table = { readonly [name: string]: unknown };

function table(value: unknown): Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Table)
    : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** A path on this host, and nothing else. */
function place(value: unknown): string {
  const path = text(value);
  return /^\/[\w.~-][\w.~/-]*$/.test(path) ? path : '';
}

function time(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : null;
}

function texts(value: unknown): string[] {
  return Array.isArray(value)
    ? value.filter((item): item is string => typeof item === 'string')
    : [];
}

function numbers(value: unknown): number[] {
  return Array.isArray(value)
    ? value.filter((item): item is number => typeof item === 'number')
    : [];
}

function isFact(value: unknown): value is Fact {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

/** The session's facts; null for what is no session. */
export function readSession(value: unknown): ISessionFacts | null {
  const found = table(value);
  const endsAt = time(found.ends_at);
  if (endsAt === null) {
    return null;
  }
  const stale = table(found.stale);
  const staleEnd = time(stale.ends_at);
  return {
    user: text(found.user),
    server: text(found.server),
    session: text(found.session),
    job: text(found.job),
    node: text(found.node),
    endsAt,
    certificateEndsAt: time(found.certificate_ends_at),
    stale: staleEnd === null ? null : { endsAt: staleEnd, reason: text(stale.reason) },
    protections: new Map(
      Object.entries(table(found.protections)).filter((pair): pair is [string, Fact] =>
        isFact(pair[1])
      )
    ),
    recorded: (Array.isArray(found.recorded) ? found.recorded : [])
      .map(each => ({ code: text(table(each).code), text: text(table(each).text) }))
      .filter(each => each.text !== ''),
    recording: new Map(
      Object.entries(table(found.recording)).filter(
        (pair): pair is [string, string] => typeof pair[1] === 'string'
      )
    ),
    records: place(found.records)
  };
}

/** Why the server was ended, of the hub's answer in its place; empty where it does not say. */
export function readEnding(value: unknown): string {
  return text(table(value).hpcsec_ended).slice(0, 500);
}

function readEntry(value: unknown): IEntry {
  const found = table(value);
  return {
    path: text(found.path),
    right: text(found.right),
    rule: Number(found.rule) || 0,
    line: Number(found.line) || 0,
    who: text(found.who)
  };
}

/** The user's rules. */
export function readAccess(value: unknown): IAccessFacts {
  const found = table(value);
  const rules = table(found.rules);
  const entries = Array.isArray(rules.entries) ? rules.entries.map(readEntry) : [];
  return {
    words: texts(found.words),
    entries: entries
      .filter(entry => entry.path !== '')
      .sort((a, b) => a.path.localeCompare(b.path)),
    project: text(table(rules.subject).project),
    contact: text(rules.contact),
    enforcement: text(rules.enforcement),
    policy: text(rules.policy),
    bind: text(table(rules.network).bind),
    ports: numbers(table(rules.network).connect)
  };
}

/** The time at which the session ends: with its job, or before that when its rules have changed. */
export function endOf(facts: ISessionFacts): number {
  return facts.stale ? Math.min(facts.endsAt, facts.stale.endsAt) : facts.endsAt;
}

/** Whether an error's text is a refusal by the access policy, which the server words (`access.gate`). */
export function isRefusal(text: string): boolean {
  return /(rule \d+ of the access policy|No rule of the access policy)/.test(text);
}
