/**
 * The content of the side panel *Transfers*. Everything that is data is a text node; loaded when the panel is
 * first looked at.
 */

import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { refusalWords } from './served';
import type { Transfer } from './transfer';
import type { TransferList } from './transferlist';
import { progressWords, type Stage, stageWords } from './transferwords';

/** Where a sentence says why. */
const TOLD: ReadonlySet<Stage> = new Set<Stage>(['waiting', 'stopped', 'failed']);

interface IButtonProps {
  readonly label: string;
  readonly name: string;
  readonly press: () => void;
}

/** A button with the file's name in what a screen reader says of it. */
function Button({ label, name, press }: IButtonProps): React.ReactElement {
  return (
    <button
      type="button"
      className="jp-mod-styled jp-mod-minimal"
      aria-label={`${label}: ${name}`}
      onClick={press}
    >
      {label}
    </button>
  );
}

interface IRowProps {
  readonly transfer: Transfer;
  readonly list: TransferList;
  readonly trans: TranslationBundle;
}

function Buttons({ transfer, list, trans }: IRowProps): React.ReactElement {
  const { name, stage } = transfer;
  if (transfer.isOver) {
    const press = (): void => list.tidy(transfer);
    return <Button label={trans.__('Remove from this list')} name={name} press={press} />;
  }
  return (
    <>
      {stage === 'running' ? (
        <Button label={trans.__('Pause')} name={name} press={() => transfer.pause()} />
      ) : (
        stage !== 'verifying' && (
          <Button label={trans.__('Resume')} name={name} press={() => transfer.resume()} />
        )
      )}
      <Button label={trans.__('Cancel')} name={name} press={() => transfer.cancel()} />
    </>
  );
}

function Hashes({ transfer, trans }: IRowProps): React.ReactElement | null {
  const { localHash, remoteHash, isUpload } = transfer;
  return localHash === '' ? null : (
    <dl className="jp-hpcsec-Transfer-hashes">
      <dt>{trans.__('SHA-256 on this computer')}</dt>
      <dd>
        <code>{localHash}</code>
      </dd>
      <dt>{isUpload ? trans.__('SHA-256 of what arrived') : trans.__('SHA-256 in the session')}</dt>
      <dd>
        <code>{remoteHash || '…'}</code>
      </dd>
    </dl>
  );
}

function Row({ transfer, list, trans }: IRowProps): React.ReactElement {
  const { name, done, size, stage, perSecond } = transfer;
  const what = progressWords(done, size, stage === 'running' ? perSecond : null, trans);
  const share = size > 0 ? Math.min(100, (100 * done) / size) : stage === 'done' ? 100 : 0;
  const title = transfer.isUpload
    ? trans.__('Upload of %1', name)
    : trans.__('Download of %1', name);
  return (
    <li className="jp-hpcsec-Transfer" data-stage={stage} aria-label={title}>
      <h4>
        <bdi>{title}</bdi>
      </h4>
      <div
        className="jp-hpcsec-Meter"
        role="progressbar"
        aria-label={title}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.floor(share)}
        aria-valuetext={what}
      >
        <span style={{ width: `${share}%` }} />
      </div>
      <p className="jp-hpcsec-Quiet">{what}</p>
      <p role="status">
        {stageWords(stage, trans)}
        {transfer.sentence !== '' && TOLD.has(stage) && (
          <>
            {': '}
            <bdi>{refusalWords(transfer.sentence, trans)}</bdi>
          </>
        )}
      </p>
      <Hashes transfer={transfer} list={list} trans={trans} />
      <div className="jp-hpcsec-Transfer-buttons">
        <Buttons transfer={transfer} list={list} trans={trans} />
      </div>
    </li>
  );
}

/** The panel. */
export class TransferView extends ReactWidget {
  constructor(
    private readonly _list: TransferList,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-hpcsec-Transfers');
  }

  protected override render(): React.ReactElement {
    const { _list: list, _trans: trans } = this;
    return (
      <UseSignal signal={list.changed}>
        {() =>
          list.all.length === 0 ? (
            <p>{trans.__('No file is on its way.')}</p>
          ) : (
            <ul>
              {list.all.map((transfer, at) => (
                <Row key={list.all.length - at} transfer={transfer} list={list} trans={trans} />
              ))}
            </ul>
          )
        }
      </UseSignal>
    );
  }
}
