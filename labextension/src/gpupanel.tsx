/** The content of the side panel *GPU*; loaded when the panel is first looked at. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { holds, type IElsewhere, type IGpuAlert, type IHolding } from './gpu';
import type { GpuModel } from './gpumodel';
import { Device, type IGpuActions, type IGpuProps, Kernel, Notes } from './gpuparts';
import { elsewhereWords, stateWords } from './gpuwords';
import { Section } from './section';
import { clockTime, linkMeaning, linkWords } from './words';

function Elsewhere({
  elsewhere,
  facts,
  trans
}: IGpuProps & { readonly elsewhere: readonly IElsewhere[] }): React.ReactElement {
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

interface IViewProps extends IGpuProps {
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
