/**
 * The content of the side panel *Session*. Everything that is data is a text node; loaded when the panel
 * is first looked at.
 */

import type { TranslationBundle } from '@jupyterlab/translation';
import { checkIcon, editIcon, lockIcon, ReactWidget } from '@jupyterlab/ui-components';
import type { LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { endOf, type IAccessFacts, type ISessionFacts } from './facts';
import { readOnlyIcon } from './icon';
import type { SessionModel } from './model';
import { Section } from './section';
import { generalWords, recordedWords } from './served';
import {
  clockTime,
  contactParts,
  duration,
  entryWords,
  linkMeaning,
  linkWords,
  protection,
  receiptLines,
  rightWords,
  urgency
} from './words';

/** What the panel's buttons do. */
export interface IPanelActions {
  readonly saveAll: () => void;
  readonly refresh: () => void;
}

function Facts({ lines }: { readonly lines: [string, React.ReactNode][] }): React.ReactElement {
  return (
    <dl className="jp-hpcsec-Facts">
      {lines.map(([name, value], index) => (
        <React.Fragment key={index}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </React.Fragment>
      ))}
    </dl>
  );
}

function Sentences({ sentences }: { readonly sentences: readonly string[] }): React.ReactElement {
  return (
    <ul className="jp-hpcsec-Sentences">
      {sentences.map((sentence, index) => (
        <li key={index}>{sentence}</li>
      ))}
    </ul>
  );
}

const SIGNS: { readonly [right: string]: LabIcon } = { write: editIcon, read: readOnlyIcon };

/** A path that may be broken after its slashes. */
function breakable(path: string): React.ReactNode[] {
  return path.split(/(?<=\/)/).flatMap((part, index) => [part, <wbr key={index} />]);
}

function Places({
  access,
  trans
}: {
  access: IAccessFacts;
  trans: TranslationBundle;
}): React.ReactElement {
  return (
    <ul className="jp-hpcsec-Places" aria-label={trans.__('What you may touch')}>
      {access.entries.map((entry, index) => {
        const Sign = SIGNS[entry.right] ?? lockIcon;
        return (
          <li key={index} data-right={entry.right} title={entryWords(entry, trans)}>
            <Sign.react tag="span" width="14px" height="14px" aria-hidden="true" />
            <span className="jp-hpcsec-Place">
              <code>{breakable(entry.path)}</code>
              <span className="jp-hpcsec-Right">{rightWords(entry.right, trans)}</span>
            </span>
          </li>
        );
      })}
    </ul>
  );
}

function Contact({
  contact,
  trans
}: {
  contact: string;
  trans: TranslationBundle;
}): React.ReactElement {
  if (!contact) {
    return <p>{trans.__('Ask the administrators of this hub.')}</p>;
  }
  return (
    <p>
      {trans.__('For access that you do not have, ask')}{' '}
      <strong>
        {contactParts(contact).map(({ text, link }, index) =>
          link ? (
            <a key={index} href={link} target="_blank" rel="noopener noreferrer">
              {text}
            </a>
          ) : (
            text
          )
        )}
      </strong>
    </p>
  );
}

interface IViewProps {
  readonly model: SessionModel;
  readonly facts: ISessionFacts;
  readonly trans: TranslationBundle;
  readonly actions: IPanelActions;
}

function Head({ model, facts, trans, actions }: IViewProps): React.ReactElement {
  const left = model.secondsLeft ?? 0;
  const end = endOf(facts);
  const isThere = model.link === 'connected';
  const mood = !isThere ? 'away' : facts.stale ? 'now' : urgency(left);
  return (
    <div className="jp-hpcsec-Head" data-mood={mood}>
      <p className="jp-hpcsec-Link" data-link={model.link} role="status">
        <span className="jp-hpcsec-Dot" aria-hidden="true" />
        <strong>{linkWords(model.link, trans)}</strong>
      </p>
      {model.link !== 'stopped' && (
        <p className="jp-hpcsec-Left">
          <strong>{trans.__('%1 left', duration(left, trans))}</strong>
          <span>{trans.__('until %1', clockTime(end, model.now))}</span>
        </p>
      )}
      <p className="jp-hpcsec-Meaning">{linkMeaning(model.link, trans)}</p>
      {facts.stale && (
        <p className="jp-hpcsec-Stale">
          {trans.__('Your access rules have changed since this session began.')}{' '}
          {facts.stale.reason}{' '}
          {trans.__(
            'Save your work, stop the server and start it again: you then have the new rules.'
          )}
        </p>
      )}
      <p className="jp-hpcsec-Buttons">
        <button
          className="jp-mod-styled jp-mod-accept"
          onClick={actions.saveAll}
          disabled={!isThere}
        >
          {trans.__('Save all')}
        </button>
        <button className="jp-mod-styled jp-mod-reject" onClick={actions.refresh}>
          {trans.__('Refresh')}
        </button>
      </p>
    </div>
  );
}

function View({ model, facts, trans, actions }: IViewProps): React.ReactElement {
  const access = model.access;
  const { isGood, sentence } = protection(facts, trans);
  const Sign = isGood ? checkIcon : lockIcon;
  const who: [string, React.ReactNode][] = [
    [trans.__('User'), facts.user],
    [trans.__('Server'), facts.server || trans.__('default')],
    ...(access?.project ? [[trans.__('Project'), access.project] as [string, string]] : []),
    [trans.__('Node'), facts.node],
    [trans.__('Job'), facts.job],
    [trans.__('Session'), <code key="session">{facts.session}</code>]
  ];
  if (facts.certificateEndsAt !== null) {
    const until = clockTime(facts.certificateEndsAt, model.now);
    who.push([trans.__('Certificate'), trans.__('until %1, renewed by itself', until)]);
  }
  return (
    <>
      <Head model={model} facts={facts} trans={trans} actions={actions} />
      <Section title={trans.__('You')}>
        <Facts lines={who} />
      </Section>
      <Section title={trans.__('What you may touch')}>
        {access ? (
          <>
            <Places access={access} trans={trans} />
            <Sentences sentences={generalWords(access, trans)} />
          </>
        ) : (
          <p>{trans.__('Asking for your rules…')}</p>
        )}
      </Section>
      <Section title={trans.__('What protects you')}>
        <p className="jp-hpcsec-Protection" data-good={isGood}>
          <Sign.react tag="span" width="14px" height="14px" aria-hidden="true" />
          {sentence}
        </p>
        <details>
          <summary>{trans.__('What the node enforces')}</summary>
          <Facts
            lines={receiptLines(facts.protections, trans).map(line => [line.name, line.value])}
          />
        </details>
      </Section>
      {facts.recorded.length > 0 && (
        <Section title={trans.__('What is recorded about you')}>
          <Sentences
            sentences={facts.recorded.map(told => recordedWords(told, facts.recording, trans))}
          />
          {facts.records && (
            <p>
              <a href={facts.records} target="_blank" rel="noopener">
                {trans.__('Read your own records')}
              </a>
            </p>
          )}
        </Section>
      )}
      {access && (
        <Section title={trans.__('Need more?')}>
          <Contact contact={access.contact} trans={trans} />
        </Section>
      )}
    </>
  );
}

/** The panel's content for a model. */
export class SessionView extends ReactWidget {
  constructor(model: SessionModel, trans: TranslationBundle, actions: IPanelActions) {
    super();
    this._model = model;
    this._trans = trans;
    this._actions = actions;
    this.addClass('jp-hpcsec-View');
    const update = (): void => this.update();
    model.changed.connect(update, this);
    model.ticked.connect(update, this);
    void model.loadAccess();
  }

  protected render(): React.ReactElement {
    const { facts } = this._model;
    if (!facts) {
      return <p className="jp-hpcsec-Nothing">{this._trans.__('Asking the server…')}</p>;
    }
    return <View model={this._model} facts={facts} trans={this._trans} actions={this._actions} />;
  }

  private readonly _model: SessionModel;
  private readonly _trans: TranslationBundle;
  private readonly _actions: IPanelActions;
}
