/** A side panel: a frame that costs nothing until it is looked at. */

import type { LabIcon } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

/** What makes one panel. */
export interface IPanelOptions {
  readonly id: string;
  readonly icon: LabIcon;
  /** Its name, for people. */
  readonly name: string;
  /** Brings the content, and its code, at the first look. */
  readonly load: () => Promise<Widget>;
  /** Called when it is looked at, and when no more. */
  readonly looked: (isSeen: boolean) => void;
}

/** Where `style/base.css` gives panels another least width, which Lumino asks for when it fits them. */
const NARROW = '(max-width: 480px)';

/** Holds the content. */
export class SidePanel extends Widget {
  constructor(options: IPanelOptions) {
    super();
    this._options = options;
    this.layout = new PanelLayout();
    this.id = options.id;
    this.addClass('jp-hpcsec-Panel');
    this.title.icon = options.icon;
    this.title.caption = options.name;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', options.name);
    this.node.tabIndex = -1;
    this._narrow.addEventListener('change', this._refit);
  }

  override dispose(): void {
    this._narrow.removeEventListener('change', this._refit);
    super.dispose();
  }

  protected override onBeforeShow(msg: Message): void {
    super.onBeforeShow(msg);
    if (!this._isLoaded) {
      this._isLoaded = true;
      void this._load();
    }
    this._options.looked(true);
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this._options.looked(false);
  }

  protected override onActivateRequest(msg: Message): void {
    super.onActivateRequest(msg);
    this.node.focus();
  }

  private async _load(): Promise<void> {
    const content = await this._options.load();
    if (this.isDisposed) {
      content.dispose();
    } else {
      (this.layout as PanelLayout).addWidget(content);
    }
  }

  private readonly _refit = (): void => this.parent?.fit();
  private readonly _narrow = window.matchMedia(NARROW);
  private readonly _options: IPanelOptions;
  private _isLoaded = false;
}
