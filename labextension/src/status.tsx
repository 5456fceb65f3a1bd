/** The item of the status bar: node, job, time left, and what is the matter. A click opens the panel. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import { type ISignal, Signal } from '@lumino/signaling';
import * as React from 'react';

import { shieldIcon } from './icon';
import type { SessionModel } from './model';
import { clockTime, duration, linkWords, protection, urgency } from './words';

/** Shows a model; `open` is what a click does. */
export class SessionStatus extends ReactWidget {
  constructor(model: SessionModel, trans: TranslationBundle, open: () => void) {
    super();
    this._model = model;
    this._trans = trans;
    this._open = open;
    this.addClass('jp-hpcsec-Status');
    model.changed.connect(this._look, this);
    model.ticked.connect(this._look, this);
    this._look(); // the first answer may have come before
  }

  /** Emitted when the item is to be shown or to be hidden. */
  get stateChanged(): ISignal<this, void> {
    return this._stateChanged;
  }

  /** Whether the user wants the item. */
  get isWanted(): boolean {
    return this._isWanted;
  }
  set isWanted(value: boolean) {
    this._isWanted = value;
    this._stateChanged.emit();
  }

  private _look(): void {
    const isThere = this._model.facts !== null;
    if (isThere !== this._isThere) {
      this._isThere = isThere;
      this._stateChanged.emit();
    }
    this.update();
  }

  protected render(): React.ReactElement | null {
    const { facts, link, now } = this._model;
    const left = this._model.secondsLeft;
    if (!facts || left === null) {
      return null;
    }
    const words = this._trans;
    const { isGood, sentence } = protection(facts, words);
    const isThere = link === 'connected';
    const time = isThere ? words.__('%1 left', duration(left, words)) : linkWords(link, words);
    const parts = [facts.node, words.__('job %1', facts.job), time];
    const said = new Set([linkWords(link, words), ...parts, sentence]);
    const title = [
      words.__('Session of %1 on %2, job %3', facts.user, facts.node, facts.job),
      linkWords(link, words),
      words.__('Ends at %1', clockTime(facts.stale?.endsAt ?? facts.endsAt, now)),
      ...(facts.stale ? [words.__('Your access rules have changed')] : []),
      sentence
    ].join('\n');
    const mood = !isThere ? 'away' : facts.stale ? 'now' : urgency(left);
    return (
      <button
        className="jp-hpcsec-Status-button"
        data-mood={mood}
        title={title}
        aria-label={words.__('Session: %1. Open its panel', [...said].join(', '))}
        onClick={this._open}
      >
        <shieldIcon.react
          tag="span"
          className={isGood ? 'jp-hpcsec-Status-icon' : 'jp-hpcsec-Status-icon jp-mod-weak'}
          width="14px"
          height="14px"
        />
        <span className="jp-hpcsec-Status-node">{facts.node}</span>
        <span className="jp-hpcsec-Status-job">{words.__('job %1', facts.job)}</span>
        <span className="jp-hpcsec-Status-time">{time}</span>
      </button>
    );
  }

  private readonly _model: SessionModel;
  private readonly _trans: TranslationBundle;
  private readonly _open: () => void;
  private readonly _stateChanged = new Signal<this, void>(this);
  private _isWanted = true;
  private _isThere = false;
}
