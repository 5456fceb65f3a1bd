/**
 * Numbers and names in plain words. Pure: the clock and the translations are passed in.
 */

import type { Fact, IAccessFacts, ISessionFacts } from './facts';
import type { Link } from './state';

/** What is needed of JupyterLab's `TranslationBundle`. */
export interface IWords {
  __(text: string, ...values: (string | number)[]): string;
  _n(one: string, many: string, count: number, ...values: (string | number)[]): string;
}

/** How urgent the end is: nothing, to be noticed, to act on. */
export type Urgency = 'calm' | 'soon' | 'now';

const SOON_MINUTES = 30;
const NOW_MINUTES = 10;

/** How urgent it is with so many seconds left. */
export function urgency(seconds: number): Urgency {
  if (seconds > SOON_MINUTES * 60) {
    return 'calm';
  }
  return seconds > NOW_MINUTES * 60 ? 'soon' : 'now';
}

/** Time left, without a false precision: `3 d 4 h`, `26 h`, `2 h`, `1 h 23 min`, `12 min`. */
export function duration(seconds: number, words: IWords): string {
  const minutes = Math.floor(Math.max(0, seconds) / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes < 1) {
    return words.__('less than a minute');
  }
  if (hours < 1) {
    return words.__('%1 min', minutes);
  }
  if (hours >= 48) {
    return words.__('%1 d %2 h', Math.floor(hours / 24), hours % 24);
  }
  return hours >= 10 || minutes % 60 === 0
    ? words.__('%1 h', hours)
    : words.__('%1 h %2 min', hours, minutes % 60);
}

/** A time of the day, with its date unless that is today. `at` and `now` are Unix seconds. */
export function clockTime(at: number, now: number, locale?: string): string {
  const when = new Date(at * 1000);
  const isToday = when.toDateString() === new Date(now * 1000).toDateString();
  const form: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit' };
  return new Intl.DateTimeFormat(
    locale,
    isToday ? form : { ...form, weekday: 'short', day: 'numeric', month: 'short' }
  ).format(when);
}

/** What the way to the session is like. */
export function linkWords(link: Link, words: IWords): string {
  switch (link) {
    case 'connected':
      return words.__('Connected');
    case 'reconnecting':
      return words.__('Reconnecting…');
    case 'signed-out':
      return words.__('Signed out');
    case 'stopped':
      return words.__('Server stopped');
    default:
      return words.__('Asking…');
  }
}

/** What the way to the session means for the person's work. */
export function linkMeaning(link: Link, words: IWords): string {
  switch (link) {
    case 'connected':
      return words.__('Through one tunnel, encrypted from your job to the hub (TLS 1.3).');
    case 'reconnecting':
      return words.__(
        'The way to your job is interrupted. Your kernels go on; it comes back by itself.'
      );
    case 'signed-out':
      return words.__('Your login has ended. Log in again in another tab: your kernels go on.');
    case 'stopped':
      return words.__('The job has ended. What was saved is in your files.');
    default:
      return '';
  }
}

/** Whether all that protects is in force, in one short sentence; and whether that is as it should be. */
export function protection(
  facts: ISessionFacts,
  words: IWords
): { readonly isGood: boolean; readonly sentence: string } {
  const policy = facts.protections.get('policy');
  if (facts.protections.get('enforcement') !== 'required') {
    return { isGood: false, sentence: words.__('File rules are shown and NOT enforced') };
  }
  if (!policy) {
    return { isGood: false, sentence: words.__('No access policy is in force') };
  }
  return { isGood: true, sentence: words.__('Protections are in force') };
}

/** One line of the receipt. */
export interface ILine {
  readonly name: string;
  readonly value: string;
}

/** The receipt's facts that people ask for first, by their names; the rest follows under its own. */
function names(words: IWords): [string, string][] {
  return [
    ['enforcement', words.__('Enforcement')],
    ['files', words.__('Files')],
    ['masks', words.__('Closed places')],
    ['bind', words.__('Listening')],
    ['connect', words.__('Connections')],
    ['seccomp', words.__('System calls')],
    ['scopes', words.__('Other processes')],
    ['memory', words.__('Shared memory')],
    ['landlock_abi', words.__('Landlock ABI')],
    ['code', words.__('Code that enforces')],
    ['made', words.__('Made for this')],
    ['notes', words.__('Not in force here')],
    ['policy', words.__('Policy')],
    ['plan', words.__('Plan')],
    ['rules', words.__('Your rules')]
  ];
}

const DIGESTS = new Set(['policy', 'plan', 'rules']);
const DIGEST_SHOWN = 12;

/** What has a word of its own; the rest are technical details, in the server's words. */
function valueWords(fact: string, words: IWords): string {
  switch (fact) {
    case 'required':
      return words.__('required');
    case 'none':
      return words.__('none');
    case 'private':
      return words.__('in a network of its own');
    case 'refused':
      return words.__('refused');
    default:
      return fact;
  }
}

function factWords(name: string, fact: Fact, words: IWords): string {
  if (fact === null || fact === '') {
    return words.__('none');
  }
  if (typeof fact === 'boolean') {
    return fact ? words.__('yes') : words.__('no');
  }
  return DIGESTS.has(name) ? String(fact).slice(0, DIGEST_SHOWN) : valueWords(String(fact), words);
}

/** What is enforced, as lines; what was tried (`canary.…`) is counted into one. */
export function receiptLines(receipt: ReadonlyMap<string, Fact>, words: IWords): ILine[] {
  const known = names(words);
  const lines: ILine[] = [];
  const tried = [...receipt].filter(([name]) => name.startsWith('canary.'));
  for (const [name, label] of known) {
    const fact = receipt.get(name);
    if (fact !== undefined) {
      lines.push({ name: label, value: factWords(name, fact, words) });
    }
  }
  for (const [name, fact] of tried) {
    const label = words.__('Tried: %1', name.slice('canary.'.length));
    lines.push({ name: label, value: factWords(name, fact, words) });
  }
  const shown = new Set(known.map(([name]) => name));
  for (const [name, fact] of receipt) {
    if (!shown.has(name) && !name.startsWith('canary.')) {
      lines.push({ name, value: factWords(name, fact, words) });
    }
  }
  return lines;
}

/** An address that may be made a link of, and nothing else: `mailto:` for a mail address, `https:` as it is. */
export function contactLink(contact: string): string | null {
  if (/^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$/.test(contact)) {
    return `mailto:${contact}`;
  }
  return /^https:\/\/[A-Za-z0-9.-]+(:\d+)?(\/[^\s"'<>\\]*)?$/.test(contact) ? contact : null;
}

/** Whom to ask, in parts: `link` is null for what is no address. */
export function contactParts(
  contact: string
): { readonly text: string; readonly link: string | null }[] {
  return contact
    .split(/([\s()<>[\],;]+)/)
    .filter(part => part !== '')
    .map(part => ({ text: part, link: contactLink(part) }));
}

/** What may be done at a path, in two words. */
export function rightWords(right: string, words: IWords): string {
  switch (right) {
    case 'write':
      return words.__('read and change');
    case 'read':
      return words.__('read only');
    default:
      return words.__('closed');
  }
}

/** Why a path is as it is: the rule of the policy. */
export function entryWords(entry: IAccessFacts['entries'][number], words: IWords): string {
  return words.__('rule %1, line %2, for %3', entry.rule, entry.line, entry.who);
}
