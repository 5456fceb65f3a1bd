/**
 * Notifications, by JupyterLab's own system: the end of the job comes near, the rules have changed, the way
 * to the session is interrupted. Each is one notification that is replaced, never a pile of them.
 */

import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import { endOf } from './facts';
import type { SessionModel } from './model';
import { clockTime } from './words';
import { Warnings } from './warnings';

/** What the buttons do. */
export interface IActions {
  readonly saveAll: () => void;
  readonly open: () => void;
  readonly restart: () => void;
}

/** Milliseconds for which good news stays. */
const GOOD_NEWS_MS = 5000;

/** Watches a model and tells people. */
export class Notices {
  constructor(model: SessionModel, trans: TranslationBundle, actions: IActions) {
    this._model = model;
    this._trans = trans;
    this._actions = actions;
    model.changed.connect(this._look, this);
    model.ticked.connect(this._look, this);
    this._look(); // the first answer may have come before
  }

  /** Minutes before the end at which people are warned. */
  minutes: readonly number[] = [30, 10, 2];

  private _look(): void {
    this._lookAtLink();
    this._lookAtRules();
    this._lookAtTime();
  }

  private _lookAtLink(): void {
    const { link } = this._model;
    const words = this._trans;
    if (link === this._link) {
      return;
    }
    this._link = link;
    if (link === 'connected') {
      if (this._interruption !== null) {
        Notification.update({
          id: this._interruption,
          message: words.__('Connected to your session again.'),
          type: 'success',
          autoClose: GOOD_NEWS_MS,
          actions: []
        });
        this._interruption = null;
      }
      return;
    }
    if (link === 'absent') {
      this._dismiss(this._interruption);
      return;
    }
    const message =
      link === 'signed-out'
        ? words.__('Your login has ended. Log in again in another tab; your kernels go on.')
        : link === 'stopped'
          ? this._model.ending || words.__('Your server does not run any more.')
          : words.__(
              'The connection to your session is interrupted. Your kernels go on running; it comes back by itself.'
            );
    const type = link === 'reconnecting' ? 'in-progress' : 'warning';
    const actions = link === 'stopped' ? [this._startAgain()] : [];
    if (this._interruption === null || !Notification.manager.has(this._interruption)) {
      this._interruption = Notification.emit(message, type, { autoClose: false, actions });
    } else {
      Notification.update({ id: this._interruption, message, type, autoClose: false, actions });
    }
  }

  private _lookAtRules(): void {
    const { facts, now } = this._model;
    const stale = facts?.stale ?? null;
    if ((stale?.endsAt ?? null) === this._staleEnd) {
      return;
    }
    this._staleEnd = stale?.endsAt ?? null;
    this._dismiss(this._staleNotice);
    const words = this._trans;
    if (stale) {
      this._staleNotice = Notification.warning(
        words.__(
          'Your access rules have changed. This session ends at %1: save, then start a new one.',
          clockTime(stale.endsAt, now)
        ),
        { autoClose: false, actions: [this._save(), this._details()] }
      );
    } else {
      this._staleNotice = null;
      Notification.success(words.__('Your access rules are as they were. Your session goes on.'), {
        autoClose: GOOD_NEWS_MS
      });
    }
  }

  private _lookAtTime(): void {
    const { facts, link, now, secondsLeft } = this._model;
    if (link === 'stopped') {
      this._dismiss(this._warning); // it has ended
      return;
    }
    if (!facts || secondsLeft === null) {
      return;
    }
    const due = this._warnings.next(secondsLeft, this.minutes);
    if (due === null) {
      return;
    }
    this._dismiss(this._warning);
    const words = this._trans;
    const at = clockTime(endOf(facts), now);
    const minutes = Math.max(1, Math.ceil(secondsLeft / 60));
    this._warning = Notification.emit(
      words._n(
        'Your job ends in a minute, at %2. Unsaved work is lost then.',
        'Your job ends in %1 minutes, at %2. Unsaved work is lost then.',
        minutes,
        at
      ),
      due <= 2 ? 'error' : 'warning',
      { autoClose: false, actions: [this._save(), this._details()] }
    );
  }

  private _save(): Notification.IAction {
    return {
      label: this._trans.__('Save all'),
      caption: this._trans.__('Save all open documents'),
      displayType: 'accent',
      callback: this._actions.saveAll
    };
  }

  private _startAgain(): Notification.IAction {
    return {
      label: this._trans.__('Restart'),
      caption: this._trans.__('Ask the hub for a new session, in another tab'),
      callback: this._actions.restart
    };
  }

  private _details(): Notification.IAction {
    return {
      label: this._trans.__('Details'),
      caption: this._trans.__('Open the session panel'),
      displayType: 'link',
      callback: event => {
        event.preventDefault(); // the notification stays
        this._actions.open();
      }
    };
  }

  private _dismiss(id: string | null): void {
    if (id !== null) {
      Notification.dismiss(id);
    }
  }

  private readonly _model: SessionModel;
  private readonly _trans: TranslationBundle;
  private readonly _actions: IActions;
  private readonly _warnings = new Warnings();
  private _link = 'unknown';
  private _staleEnd: number | null = null;
  private _staleNotice: string | null = null;
  private _warning: string | null = null;
  private _interruption: string | null = null;
}
