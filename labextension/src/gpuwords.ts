/**
 * GPUs and what kernels do with them in plain words. Pure: the clock and the translations are passed in.
 */

import {
  type IDevice,
  type IElsewhere,
  type IGpuFacts,
  type IHolding,
  holds,
  isEnded,
  shortName
} from './gpu.js'; // with its ending, so that the tests' Node finds it
import type { IPoint } from './history';
import { clockTime, duration, type IWords } from './words.js';

const KIB = 1024;

/** `512 MiB`, `3.2 GiB`, `80 GiB`; null is not measurable. */
export function memoryWords(bytes: number | null, words: IWords): string {
  if (bytes === null) {
    return words.__('not measurable');
  }
  const mebibytes = bytes / KIB ** 2;
  if (mebibytes < KIB) {
    return words.__('%1 MiB', Math.round(mebibytes));
  }
  const gibibytes = mebibytes / KIB;
  return words.__(
    '%1 GiB',
    gibibytes < 10 ? Math.round(gibibytes * 10) / 10 : Math.round(gibibytes)
  );
}

/** `8 GiB of 80 GiB`; what is not measurable is said of the one that is asked for, not of a share. */
export function shareWords(used: number | null, total: number | null, words: IWords): string {
  return used === null || total === null
    ? memoryWords(used, words)
    : words.__('%1 of %2', memoryWords(used, words), memoryWords(total, words));
}

/** `42 %`; null is not measurable, which is not 0. */
export function useWords(percent: number | null, words: IWords): string {
  return percent === null ? words.__('not measurable') : words.__('%1 %', percent);
}

/** A device's short name among its kind. */
export function deviceWords(device: IDevice, words: IWords): string {
  return device.isInstance
    ? words.__('MIG instance %1', device.index)
    : words.__('GPU %1', device.index);
}

/** A device by its UUID; the UUID itself where there is none. */
export function nameOf(uuid: string, devices: readonly IDevice[], words: IWords): string {
  const device = devices.find(each => each.uuid === uuid);
  return device ? deviceWords(device, words) : uuid;
}

/** Whose kernel it is. */
export function kernelWords(kernel: IHolding, words: IWords): string {
  return shortName(kernel.notebook) || words.__('Kernel without a notebook');
}

/** What kind of news a sentence is: how things are, to be noticed, to act on. */
export type Tone = 'plain' | 'notice' | 'problem';

/** One sentence on the whole; `title` says it in two words. */
export interface ISentence {
  readonly tone: Tone;
  readonly title: string;
  readonly sentence: string;
}

/** Why the GPUs can't be seen, where they can't: `absent`, `lost`, `refused`, `error`, `unsupported`, `hung`. */
function blindWords(state: string, words: IWords): ISentence {
  const tone = 'problem';
  switch (state) {
    case 'none':
      return {
        tone: 'plain',
        title: words.__('No GPU'),
        sentence: words.__('This session has no GPU that is watched.')
      };
    case 'starting':
      return {
        tone: 'plain',
        title: words.__('Starting'),
        sentence: words.__('The watch takes its first look.')
      };
    case 'lost':
      return {
        tone,
        title: words.__('Driver lost'),
        sentence: words.__(
          'The driver answered before and does not any more. Save your work, and tell your administrators.'
        )
      };
    case 'hung':
      return {
        tone,
        title: words.__('Driver hangs'),
        sentence: words.__('The driver does not answer. What is shown may be old.')
      };
    case 'refused':
      return {
        tone,
        title: words.__('Not visible'),
        sentence: words.__(
          'This session may not ask the driver. What runs on the GPUs is not known.'
        )
      };
    case 'absent':
      return {
        tone,
        title: words.__('Not visible'),
        sentence: words.__('There is a GPU on this node, and no driver that could be asked.')
      };
    default:
      return {
        tone,
        title: words.__('Not visible'),
        sentence: words.__('The driver can’t be asked. What runs on the GPUs is not known.')
      };
  }
}

/** What is to be said before all else, most urgent last; each state is one of its own. */
export function stateWords(facts: IGpuFacts, words: IWords): ISentence[] {
  const found: ISentence[] = [];
  if (facts.isSimulated) {
    found.push({
      tone: 'notice',
      title: words.__('Simulated'),
      sentence: words.__('These GPUs do not exist. They are for looking at this panel.')
    });
  }
  if (facts.state !== 'ok') {
    return [...found, blindWords(facts.state, words)];
  }
  if (!facts.isVerified) {
    found.push({
      tone: 'notice',
      title: words.__('Unverified'),
      sentence: words.__(
        'Which GPUs are yours is the job’s own word: the node has written down nothing about it.'
      )
    });
  }
  return found;
}

/** What is the matter with a device, apart from what it holds. */
export function deviceNotes(device: IDevice, words: IWords): ISentence[] {
  const found: ISentence[] = [];
  if (device.state !== 'ok') {
    found.push(blindWords(device.state, words));
  } else if (device.notVisible) {
    found.push({
      tone: 'problem',
      title: words.__('Not visible'),
      sentence: words.__('What runs here is not all known: %1', device.notVisible)
    });
  }
  if (device.isAllocated === false) {
    found.push({
      tone: 'notice',
      title: words.__('Not yours'),
      sentence: words.__('This GPU was not given to your job.')
    });
  }
  const { processes, memory } = device.others;
  if (processes > 0) {
    const held = memoryWords(memory, words);
    found.push({
      tone: 'notice',
      title: words.__('Others'),
      sentence: words._n(
        'One process of other people runs here (%2).',
        '%1 processes of other people run here (%2).',
        processes,
        held
      )
    });
  }
  return found;
}

/** GPU memory of this user that no living kernel holds. */
export function elsewhereWords(
  each: IElsewhere,
  devices: readonly IDevice[],
  words: IWords
): string {
  const values = [
    memoryWords(each.memory, words),
    nameOf(each.device, devices, words),
    each.name || words.__('a process')
  ];
  return each.isLeftover
    ? words.__('%1 on %2 are left over by a kernel that is gone (%3).', ...values)
    : words.__('%1 on %2 are held outside of notebooks (%3).', ...values);
}

/** Since when a kernel is idle and what comes of it. `now`: of the node's clock, in Unix seconds. */
export function idleWords(
  kernel: IHolding,
  facts: IGpuFacts,
  words: IWords,
  now: number = facts.time ?? 0
): string[] {
  if (!holds(kernel)) {
    return [words.__('Holds no GPU memory.')];
  }
  const found: string[] = [];
  const { idleSeconds, leftSeconds } = kernel;
  if (idleSeconds < 60) {
    found.push(kernel.isBusy ? words.__('Runs a cell.') : words.__('Used just now.'));
  } else {
    found.push(
      words.__(
        'Idle for %1, since %2.',
        duration(idleSeconds, words),
        clockTime(now - idleSeconds, now)
      )
    );
  }
  if (kernel.keptSeconds > 0) {
    found.push(words.__('Kept for %1 more.', duration(kernel.keptSeconds, words)));
  }
  if (leftSeconds === null || idleSeconds < 60) {
    return found;
  }
  const untilWarning = facts.firstWarningSeconds + kernel.keptSeconds - idleSeconds;
  if (kernel.stage === 0 && untilWarning > 0) {
    found.push(words.__('Warned in %1.', duration(untilWarning, words)));
  }
  if (isEnded(kernel, facts)) {
    const end = facts.action === 'end session';
    const left = duration(leftSeconds, words);
    found.push(
      end ? words.__('The session is ended in %1.', left) : words.__('Shut down in %1.', left)
    );
  } else if (!kernel.isMeasured) {
    found.push(words.__('Its use is not measurable: it is not shut down.'));
  }
  return found;
}

/** What a sparkline shows, for who can't see it. */
export function trendWords(
  name: string,
  points: readonly IPoint[],
  pick: (point: IPoint) => number | null,
  say: (value: number | null) => string,
  words: IWords
): string {
  const known = points.map(pick).filter((value): value is number => value !== null);
  const last = points[points.length - 1];
  const first = points[0];
  if (!first || !last || known.length === 0) {
    return words.__('%1: not measurable', name);
  }
  return words.__(
    '%1 in the last %2: from %3 to %4, now %5',
    name,
    duration(last.time - first.time, words),
    say(Math.min(...known)),
    say(Math.max(...known)),
    say(pick(last))
  );
}
