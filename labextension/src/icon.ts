/** The session's sign: a shield, in the colours of the theme. */

import { LabIcon } from '@jupyterlab/ui-components';

export const shieldIcon = new LabIcon({
  name: 'jupyter-hpcsec:shield',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M12 2 4 5v6.1c0 5 3.4 9.7 8 10.9 4.6-1.2 8-5.9 8-10.9V5l-8-3zm6 9.1c0 4-2.6 7.7-6 8.8-3.4-1.1-6-4.8-6-8.8V6.4l6-2.2 6 2.2v4.7zm-9.6.1L7 12.6l4 4 6-6.1-1.4-1.4-4.6 4.7-2.6-2.6z"/>
</svg>`
});
