/** The side panel *Session*: a frame that costs nothing until it is looked at. */

import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import { shieldIcon } from './icon';
import type { SessionModel } from './model';
import type { IPanelActions } from './panel';

/** Holds the content, and loads its code at the first look. */
export class SessionPanel extends Widget {
  constructor(model: SessionModel, trans: TranslationBundle, actions: IPanelActions) {
    super();
    this._load = async () => {
      const { SessionView } = await import('./panel');
      if (!this.isDisposed) {
        (this.layout as PanelLayout).addWidget(new SessionView(model, trans, actions));
      }
    };
    this._refresh = () => void model.loadAccess();
    this.layout = new PanelLayout();
    this.id = 'jp-hpcsec-session';
    this.addClass('jp-hpcsec-Panel');
    this.title.icon = shieldIcon;
    this.title.caption = trans.__('Session');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Session'));
    this.node.tabIndex = -1;
  }

  protected override onBeforeShow(msg: Message): void {
    super.onBeforeShow(msg);
    if (this._isLoaded) {
      this._refresh();
      return;
    }
    this._isLoaded = true;
    void this._load();
  }

  protected override onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    this.node.focus();
  }

  private readonly _load: () => Promise<void>;
  private readonly _refresh: () => void;
  private _isLoaded = false;
}
