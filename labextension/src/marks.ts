/** The file browser's items with a mark where the session may not write, and another where it may not look. */

import { DirListing } from '@jupyterlab/filebrowser';
import type { Contents } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { lockIcon } from '@jupyterlab/ui-components';

import { readOnlyIcon } from './icon';
import type { SessionModel } from './model';

/** What is said of an item. */
type Kind = 'open' | 'read-only' | 'closed';

const CLASS = 'jp-hpcsec-Mark';

/** The contents manager says `closed` of a name that is listed and refused. */
function kindOf(model: Contents.IModel & { readonly closed?: unknown }): Kind {
  if (model.closed === true) {
    return 'closed';
  }
  return model.writable ? 'open' : 'read-only';
}

/** JupyterLab's own rendering, and the mark. */
export class MarkedListing extends DirListing.Renderer {
  constructor(session: SessionModel, trans: TranslationBundle) {
    super();
    this._session = session;
    this._trans = trans;
  }

  override updateItemNode(
    ...args: Parameters<InstanceType<typeof DirListing.Renderer>['updateItemNode']>
  ): void {
    super.updateItemNode(...args);
    const [node, model] = args;
    this._mark(node, this._session.link === 'absent' ? 'open' : kindOf(model));
  }

  private _mark(node: HTMLElement, kind: Kind): void {
    const before = node.querySelector<HTMLElement>(`.${CLASS}`);
    if (before?.dataset.kind === kind) {
      return;
    }
    before?.remove();
    const name = node.querySelector('.jp-DirListing-itemName');
    if (kind === 'open' || !name) {
      return;
    }
    const mark = document.createElement('span');
    const text =
      kind === 'closed'
        ? this._trans.__('Closed to you by the access policy')
        : this._trans.__('Read-only');
    mark.className = CLASS;
    mark.dataset.kind = kind;
    mark.title = text;
    mark.setAttribute('role', 'img');
    mark.setAttribute('aria-label', text);
    (kind === 'closed' ? lockIcon : readOnlyIcon).element({
      container: mark,
      width: '14px',
      height: '14px'
    });
    name.append(mark);
  }

  private readonly _session: SessionModel;
  private readonly _trans: TranslationBundle;
}
