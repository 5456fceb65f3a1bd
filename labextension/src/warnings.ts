/**
 * When people are warned of the end of their job. Pure: the time left is passed in.
 */

/** Seconds by which clocks may differ from one answer to the next without a warning being repeated. */
const SLACK_S = 90;

/** Remembers what was said, so that each warning comes once. */
export class Warnings {
  /**
   * The warning that is due with so many seconds left, in minutes; null when there is none.
   *
   * Who opens the browser late gets the nearest warning alone. When the job is given more time, what
   * was said before counts no more.
   */
  next(secondsLeft: number, minutes: readonly number[]): number | null {
    if (this._said !== null && secondsLeft > this._said * 60 + SLACK_S) {
      this._said = null;
    }
    const due = minutes.filter(minute => secondsLeft <= minute * 60);
    if (secondsLeft <= 0 || due.length === 0) {
      return null;
    }
    const nearest = Math.min(...due);
    if (this._said !== null && nearest >= this._said) {
      return null;
    }
    this._said = nearest;
    return nearest;
  }

  private _said: number | null = null;
}
