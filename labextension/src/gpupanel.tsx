/**
 * The content of the side panel *GPU*. Everything that is data is a text node; loaded when the panel is first
 * looked at.
 */

import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import {
  holds,
  type IDevice,
  type IElsewhere,
  type IGpuAlert,
  type IGpuFacts,
  type IHolding,
  mayKeepMinutes
} from './gpu';
import type { GpuModel } from './gpumodel';
import {
  deviceNotes,
  deviceWords,
  elsewhereWords,
  idleWords,
  type ISentence,
  kernelWords,
  memoryWords,
  nameOf,
  stateWords,
  trendWords,
  useWords
} from './gpuwords';
import { HEIGHT, type IPoint, lines, WIDTH } from './history';
import { clockTime, linkMeaning, linkWords } from './words';

/** What the panel's buttons do. */
export interface IGpuActions {
  readonly keep: (kernel: IHolding, facts: IGpuFacts) => void;
  readonly release: (kernel: IHolding) => void;
  readonly openNotebook: (path: string) => void;
}

interface IProps {
  readonly facts: IGpuFacts;
  readonly trans: TranslationBundle;
}

function Notes({ notes }: { readonly notes: readonly ISentence[] }): React.ReactElement | null {
  return notes.length === 0 ? null : (
    <ul className="jp-hpcsec-Notes">
      {notes.map(({ tone, title, sentence }) => (
        <li key={title} data-tone={tone}>
          <strong>{title}</strong> <bdi>{sentence}</bdi>
        </li>
      ))}
    </ul>
  );
}

interface IMeterProps {
  readonly name: string;
  readonly value: number | null;
  readonly top: number | null;
  readonly text: string;
}

/** How much of how much; without a bar where either is not measurable. */
function Meter({ name, value, top, text }: IMeterProps): React.ReactElement {
  const share = value !== null && top !== null && top > 0 ? Math.min(1, value / top) : null;
  return (
    <div className="jp-hpcsec-Measure">
      <span className="jp-hpcsec-Measure-name">{name}</span>
      <span className="jp-hpcsec-Measure-value">{text}</span>
      {share !== null && (
        <div
          className="jp-hpcsec-Meter"
          role="meter"
          aria-label={name}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(share * 100)}
          aria-valuetext={text}
        >
          <span style={{ width: `${share * 100}%` }} />
        </div>
      )}
    </div>
  );
}

interface ITrendProps {
  readonly points: readonly IPoint[];
  readonly pick: (point: IPoint) => number | null;
  readonly top: number;
  readonly label: string;
}

function Trend({ points, pick, top, label }: ITrendProps): React.ReactElement | null {
  const path = lines(
    points.map(point => ({ time: point.time, value: pick(point) })),
    top
  );
  return path === '' ? null : (
    <svg
      className="jp-hpcsec-Trend"
      role="img"
      aria-label={label}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
    >
      <title>{label}</title>
      <path d={path} vectorEffect="non-scaling-stroke" />
    </svg>
  );
}

function Device({
  device,
  trans
}: {
  readonly device: IDevice;
  readonly trans: TranslationBundle;
}): React.ReactElement {
  const { memoryUsed, memoryTotal, utilisation } = device;
  return (
    <li className="jp-hpcsec-Device">
      <h4>
        {deviceWords(device, trans)} <bdi className="jp-hpcsec-Quiet">{device.name}</bdi>
      </h4>
      {device.state === 'ok' && (
        <>
          <Meter
            name={trans.__('Memory')}
            value={memoryUsed}
            top={memoryTotal}
            text={trans.__(
              '%1 of %2',
              memoryWords(memoryUsed, trans),
              memoryWords(memoryTotal, trans)
            )}
          />
          <Meter
            name={trans.__('Use')}
            value={utilisation}
            top={100}
            text={useWords(utilisation, trans)}
          />
        </>
      )}
      <Notes notes={deviceNotes(device, trans)} />
    </li>
  );
}

interface IKernelProps extends IProps {
  readonly kernel: IHolding;
  readonly points: readonly IPoint[];
  readonly isThere: boolean;
  readonly actions: IGpuActions;
}

/** The memory of the devices that a kernel holds something of; null where one is not told. */
function memoryOf(kernel: IHolding, devices: readonly IDevice[]): number | null {
  return kernel.devices.reduce<number | null>((sum, held) => {
    const total = devices.find(device => device.uuid === held.uuid)?.memoryTotal ?? null;
    return sum === null || total === null ? null : sum + total;
  }, 0);
}

function Measures({ kernel, facts, points, trans }: IKernelProps): React.ReactElement {
  const top = memoryOf(kernel, facts.devices);
  const peak = Math.max(1, ...points.map(point => point.memory ?? 0));
  const memory = trans.__('Memory');
  const use = trans.__('Use');
  return (
    <div className="jp-hpcsec-Measures">
      <Meter
        name={memory}
        value={kernel.memory}
        top={top}
        text={trans.__('%1 of %2', memoryWords(kernel.memory, trans), memoryWords(top, trans))}
      />
      <Trend
        points={points}
        pick={point => point.memory}
        top={top ?? peak}
        label={trendWords(
          memory,
          points,
          point => point.memory,
          value => memoryWords(value, trans),
          trans
        )}
      />
      <p className="jp-hpcsec-Measure">
        <span className="jp-hpcsec-Measure-name">{use}</span>
        <span className="jp-hpcsec-Measure-value">{useWords(kernel.utilisation, trans)}</span>
      </p>
      <Trend
        points={points}
        pick={point => point.utilisation}
        top={100}
        label={trendWords(
          use,
          points,
          point => point.utilisation,
          value => useWords(value, trans),
          trans
        )}
      />
    </div>
  );
}

function Kernel(props: IKernelProps): React.ReactElement {
  const { kernel, facts, isThere, trans, actions } = props;
  const name = kernelWords(kernel, trans);
  const minutes = mayKeepMinutes(kernel, facts);
  return (
    <li className="jp-hpcsec-Kernel" data-stage={kernel.stage} data-kernel={kernel.id}>
      <h4>
        {kernel.notebook.endsWith('.ipynb') ? (
          <button
            className="jp-hpcsec-Notebook"
            title={kernel.notebook}
            aria-label={trans.__('Show %1', name)}
            onClick={() => actions.openNotebook(kernel.notebook)}
          >
            <bdi>{name}</bdi>
          </button>
        ) : (
          <bdi>{name}</bdi>
        )}
        <span className="jp-hpcsec-Quiet">
          {kernel.devices.map(held => nameOf(held.uuid, facts.devices, trans)).join(', ')}
        </span>
      </h4>
      {holds(kernel) && <Measures {...props} />}
      <p className="jp-hpcsec-Idle">{idleWords(kernel, facts, trans).join(' ')}</p>
      {holds(kernel) && (
        <p className="jp-hpcsec-Buttons">
          {minutes > 0 && (
            <button
              className="jp-mod-styled jp-mod-reject"
              aria-label={trans.__('Keep the kernel of %1', name)}
              disabled={!isThere}
              onClick={() => actions.keep(kernel, facts)}
            >
              {trans.__('Keep…')}
            </button>
          )}
          <button
            className="jp-mod-styled jp-mod-reject"
            aria-label={trans.__('Release what %1 holds', name)}
            disabled={!isThere}
            onClick={() => actions.release(kernel)}
          >
            {trans.__('Release…')}
          </button>
        </p>
      )}
    </li>
  );
}

function Section({
  title,
  children
}: {
  readonly title: string;
  readonly children: React.ReactNode;
}): React.ReactElement {
  const id = React.useId();
  return (
    <section aria-labelledby={id} className="jp-hpcsec-Section">
      <h3 id={id}>{title}</h3>
      {children}
    </section>
  );
}

function Elsewhere({
  elsewhere,
  facts,
  trans
}: IProps & { readonly elsewhere: readonly IElsewhere[] }): React.ReactElement {
  return (
    <ul className="jp-hpcsec-Sentences">
      {elsewhere.map((each, index) => (
        <li key={index}>
          <bdi>{elsewhereWords(each, facts.devices, trans)}</bdi>
        </li>
      ))}
    </ul>
  );
}

function Alerts({
  alerts,
  trans
}: {
  readonly alerts: readonly IGpuAlert[];
  readonly trans: TranslationBundle;
}): React.ReactElement {
  return (
    <ul className="jp-hpcsec-Sentences">
      {alerts.map((alert, index) => (
        <li key={index}>
          {trans.__('%1: %2 (confidence: %3)', alert.rule, alert.title, alert.confidence)}
        </li>
      ))}
    </ul>
  );
}

interface IViewProps extends IProps {
  readonly model: GpuModel;
  readonly actions: IGpuActions;
}

function Way({ model, facts, trans }: IViewProps): React.ReactElement {
  const { link, isLive } = model;
  const at = facts.time === null ? '' : trans.__('As of %1.', clockTime(facts.time, facts.time));
  const isLost = link !== 'connected';
  return (
    <p className="jp-hpcsec-Link" data-link={link} role="status">
      <span className="jp-hpcsec-Dot" aria-hidden="true" />
      <strong>
        {isLost ? linkWords(link, trans) : isLive ? trans.__('Live') : trans.__('Asking…')}
      </strong>
      {isLost && <span title={linkMeaning(link, trans)}>{at}</span>}
    </p>
  );
}

/** Those that hold most come first; those that hold nothing last. */
function inOrder(kernels: readonly IHolding[]): IHolding[] {
  const weight = (kernel: IHolding): number => (holds(kernel) ? 1 + (kernel.memory ?? 0) : 0);
  return [...kernels].sort((a, b) => weight(b) - weight(a) || a.notebook.localeCompare(b.notebook));
}

function View(props: IViewProps): React.ReactElement {
  const { model, facts, trans, actions } = props;
  const kernels = inOrder(facts.kernels);
  return (
    <>
      <div className="jp-hpcsec-GpuHead">
        {facts.isWatched && <Way {...props} />}
        <Notes notes={stateWords(facts, trans)} />
      </div>
      {kernels.length > 0 && (
        <Section title={trans.__('Kernels')}>
          <ul className="jp-hpcsec-Kernels">
            {kernels.map(kernel => (
              <Kernel
                key={kernel.id}
                kernel={kernel}
                facts={facts}
                points={model.history.of(kernel.id)}
                isThere={model.link === 'connected'}
                trans={trans}
                actions={actions}
              />
            ))}
          </ul>
        </Section>
      )}
      {facts.state === 'ok' && kernels.length === 0 && (
        <p className="jp-hpcsec-Nothing">{trans.__('No kernel runs.')}</p>
      )}
      {facts.elsewhere.length > 0 && (
        <Section title={trans.__('Held, and by no kernel')}>
          <Elsewhere elsewhere={facts.elsewhere} facts={facts} trans={trans} />
        </Section>
      )}
      {facts.alerts.length > 0 && (
        <Section title={trans.__('Reported')}>
          <Alerts alerts={facts.alerts} trans={trans} />
        </Section>
      )}
      {facts.devices.length > 0 && (
        <Section title={trans.__('Devices')}>
          <ul className="jp-hpcsec-Devices">
            {facts.devices.map(device => (
              <Device key={device.uuid} device={device} trans={trans} />
            ))}
          </ul>
        </Section>
      )}
    </>
  );
}

/** The panel's content for a model. */
export class GpuView extends ReactWidget {
  constructor(model: GpuModel, trans: TranslationBundle, actions: IGpuActions) {
    super();
    this._model = model;
    this._trans = trans;
    this._actions = actions;
    this.addClass('jp-hpcsec-View');
    model.changed.connect(() => this.update(), this);
  }

  protected render(): React.ReactElement {
    const { facts, link } = this._model;
    if (!facts) {
      return <p className="jp-hpcsec-Nothing">{linkWords(link, this._trans)}</p>;
    }
    return <View model={this._model} facts={facts} trans={this._trans} actions={this._actions} />;
  }

  private readonly _model: GpuModel;
  private readonly _trans: TranslationBundle;
  private readonly _actions: IGpuActions;
}
