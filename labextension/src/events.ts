/**
 * Server-sent events, as far as ours go: `event` and `data`, in UTF-8 (HTML standard, 9.2). Pure. And the pauses
 * before another try.
 */

/** Characters of one event: more is no answer of our server. */
export const EVENT_LIMIT = 4 << 20;

/** What one stream brings, piece by piece. */
export class EventReader {
  /** The data of the events of this name that are complete now. Throws where an event has no end. */
  take(piece: string, name: string): string[] {
    this._rest += piece;
    const blocks = this._rest.split(/\r?\n\r?\n/);
    this._rest = blocks.pop() ?? '';
    if (this._rest.length > EVENT_LIMIT) {
      throw new RangeError('an event has no end');
    }
    return blocks.flatMap(block => {
      const fields = block.split(/\r?\n/).map(line => {
        const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
        return [field, value ?? ''] as const;
      });
      const isOurs = fields.some(([field, value]) => field === 'event' && value === name);
      const data = fields.filter(([field]) => field === 'data').map(([, value]) => value);
      return isOurs && data.length > 0 ? [data.join('\n')] : [];
    });
  }

  private _rest = '';
}

const FIRST_S = 1;
const LONGEST_S = 60;

/** Seconds before the next try after so many that failed; `chance` (0 to 1) keeps browsers from coming all at once. */
export function pauseBefore(failures: number, chance: number): number {
  const most = Math.min(LONGEST_S, FIRST_S * 2 ** Math.min(failures, 16));
  return most * (0.5 + chance / 2);
}
