/** What the parts of this extension, and others, ask JupyterLab for. */

import { Token } from '@lumino/coreutils';

import type { SessionModel } from './model';

/** The domain of our translations, in JupyterLab's language packs. */
export const DOMAIN = 'jupyter_hpcsec';

/** The session that this JupyterLab runs in. */
export const ISession = new Token<SessionModel>(
  'jupyter-hpcsec:ISession',
  'What is known of the session: its facts, the way to it, the rules of its user.'
);
