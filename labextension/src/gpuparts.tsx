/** Parts of the side panel *GPU*: kernels, devices and what is said of them. Everything that is data is a text node. */

import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { holds, type IDevice, type IGpuFacts, type IHolding, mayKeepMinutes } from './gpu';
import {
  deviceNotes,
  deviceWords,
  idleWords,
  type ISentence,
  kernelWords,
  memoryWords,
  nameOf,
  shareWords,
  trendWords,
  useWords
} from './gpuwords';
import { HEIGHT, type IPoint, lines, WIDTH } from './history';

/** What the panel's buttons do. */
export interface IGpuActions {
  readonly keep: (kernel: IHolding, facts: IGpuFacts) => void;
  readonly release: (kernel: IHolding) => void;
  readonly openNotebook: (path: string) => void;
}

export interface IGpuProps {
  readonly facts: IGpuFacts;
  readonly trans: TranslationBundle;
}

export function Notes({
  notes
}: {
  readonly notes: readonly ISentence[];
}): React.ReactElement | null {
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

export function Device({
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
            text={shareWords(memoryUsed, memoryTotal, trans)}
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

interface IKernelProps extends IGpuProps {
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
        text={shareWords(kernel.memory, top, trans)}
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

export function Kernel(props: IKernelProps): React.ReactElement {
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
