/**
 * What the server says in English, in JupyterLab's language: what comes with a code that is known here, or in a form that
 * is, has its words here. Everything else is shown as it came. Pure; loaded when it is first needed.
 */

import type { IAccessFacts, IRecorded, ISessionFacts } from './facts';
import type { IWords } from './words';

/** One sentence of what is recorded. */
export function recordedWords(
  told: IRecorded,
  recording: ISessionFacts['recording'],
  words: IWords
): string {
  switch (told.code) {
    case 'sessions':
      return words.__(
        'When your sessions start and end, on which node, when connections come and go, and what was refused.'
      );
    case 'browser':
      return words.__(
        'What your browser does here: requests, the names and sizes of files that you read, save, download or delete, the use of kernels and terminals.'
      );
    case 'contents':
      return words.__("Files' contents are not recorded, nor is what your code does on the node.");
    case 'readers':
      return words.__(
        'Only security staff can read the whole record, and each reading of it is recorded, too.'
      );
    case 'level':
      return levelWords(recording, words) ?? told.text;
    default:
      return told.text;
  }
}

const LEVELS = ['metadata', 'sources', 'sources+outputs'];

/** What the site has chosen; null for what is not known here. */
function levelWords(recording: ISessionFacts['recording'], words: IWords): string | null {
  const level = LEVELS.indexOf(recording.get('level') ?? '');
  const limit = recording.get('output_limit');
  if (level < 0 || limit === undefined) {
    return null;
  }
  const said = [
    words.__(
      'Requests, file names and sizes, and the use of kernels and terminals are recorded for this session.'
    )
  ];
  if (level > 0) {
    said.push(
      words.__('So is the code that you run and what you type into terminals and prompts.')
    );
  }
  if (level > 1) {
    said.push(
      words.__(
        'So is what your cells print or show, up to %1 bytes per cell, and what your terminals show, up to as many per line that you type.',
        limit
      )
    );
  }
  if (recording.get('hashes_files') === 'yes') {
    said.push(words.__('Files that you upload, save or download are fingerprinted.'));
  }
  return said.join(' ');
}

function bindWords(bind: string, words: IWords): string | null {
  switch (bind) {
    case 'none':
      return words.__('Nothing of this session may listen on the network.');
    case 'private':
      return words.__(
        'What this session opens can be reached in this session only, in a network of its own.'
      );
    case 'unsafe-udp':
      return words.__(
        'Nothing of this session may listen on the network, but UDP is not restricted.'
      );
    case 'unsafe-allow':
      return words.__(
        'What this session opens on the network can be reached by others on the cluster.'
      );
    default:
      return null;
  }
}

/** What the rules come to beside their entries, which the panel shows as a table, and whom to ask, which it shows last. */
export function generalWords(access: IAccessFacts, words: IWords): string[] {
  const network = bindWords(access.bind, words);
  if (network === null) {
    const ends = access.entries.map(
      ({ rule, line, who }) => `(rule ${rule}, line ${line}, for ${who}).`
    );
    return access.words.filter(word => !ends.some(end => word.endsWith(end)));
  }
  if (access.policy === '') {
    return [
      words.__(
        'There is no access policy here: you may read and change whatever your account may.'
      ),
      network
    ];
  }
  const said = [
    words.__('Everything else is not there for this session, but for what its software needs.'),
    network
  ];
  if (access.enforcement === 'advisory') {
    said.unshift(words.__('The rules for files are shown here and NOT enforced.'));
  }
  if (access.bind !== 'private') {
    const ports = access.ports.join(', ');
    said.push(
      ports
        ? words.__('It may connect to TCP ports %1.', ports)
        : words.__('It may connect to nothing but the hub.')
    );
  }
  return said;
}

const BY = 'rule (\\d+) of the access policy \\(line (\\d+), for ([^\\n]+?)\\)\\.';
const ASK = '(?: Ask ([^\\n]+) for access\\.)?$';
const CLOSED = new RegExp(`^([^\\n]+) is closed to you by ${BY}${ASK}`);
const READ_ONLY = new RegExp(`^([^\\n]+) may be read but not changed: ${BY}${ASK}`);
const NOTHING = new RegExp(`^No rule of the access policy allows ([^\\n]+?)\\.${ASK}`);

/** A refusal by the access policy (`access.gate`). */
export function refusalWords(sentence: string, words: IWords): string {
  const ask = (whom: string | undefined): string =>
    whom === undefined ? '' : ` ${words.__('Ask %1 for access.', whom)}`;
  const closed = CLOSED.exec(sentence);
  if (closed) {
    const [, path = '', rule = '', line = '', who = '', whom] = closed;
    return (
      words.__(
        '%1 is closed to you by rule %2 of the access policy (line %3, for %4).',
        path,
        rule,
        line,
        who
      ) + ask(whom)
    );
  }
  const readOnly = READ_ONLY.exec(sentence);
  if (readOnly) {
    const [, path = '', rule = '', line = '', who = '', whom] = readOnly;
    return (
      words.__(
        '%1 may be read but not changed: rule %2 of the access policy (line %3, for %4).',
        path,
        rule,
        line,
        who
      ) + ask(whom)
    );
  }
  const nothing = NOTHING.exec(sentence);
  if (nothing) {
    const [, path = '', whom] = nothing;
    return words.__('No rule of the access policy allows %1.', path) + ask(whom);
  }
  return sentence;
}
