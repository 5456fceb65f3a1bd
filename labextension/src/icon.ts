/** Signs of our own, in the colours of the theme. */

import { LabIcon } from '@jupyterlab/ui-components';

/** The session. */
export const shieldIcon = new LabIcon({
  name: 'jupyter-hpcsec:shield',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M12 2 4 5v6.1c0 5 3.4 9.7 8 10.9 4.6-1.2 8-5.9 8-10.9V5l-8-3zm6 9.1c0 4-2.6 7.7-6 8.8-3.4-1.1-6-4.8-6-8.8V6.4l6-2.2 6 2.2v4.7zm-9.6.1L7 12.6l4 4 6-6.1-1.4-1.4-4.6 4.7-2.6-2.6z"/>
</svg>`
});

/** What may be read and not changed: an eye. */
export const readOnlyIcon = new LabIcon({
  name: 'jupyter-hpcsec:read-only',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M12 6.5c3.8 0 7.2 2.1 8.8 5.5-1.6 3.4-5 5.5-8.8 5.5S4.800 15.400 3.200 12C4.800 8.600 8.200 6.500 12 6.500m0-2C7 4.500 2.700 7.600 1 12c1.700 4.400 6 7.500 11 7.500s9.300-3.100 11-7.500c-1.700-4.400-6-7.500-11-7.500zm0 5a2.500 2.500 0 1 1 0 5 2.500 2.500 0 0 1 0-5m0-2a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9z"/>
</svg>`
});

/** What computes: a chip. */
export const gpuIcon = new LabIcon({
  name: 'jupyter-hpcsec:gpu',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M15 9H9v6h6V9zm-2 4h-2v-2h2v2zm8-2V9h-2V7a2 2 0 0 0-2-2h-2V3h-2v2h-2V3H9v2H7a2 2 0 0 0-2 2v2H3v2h2v2H3v2h2v2a2 2 0 0 0 2 2h2v2h2v-2h2v2h2v-2h2a2 2 0 0 0 2-2v-2h2v-2h-2v-2h2zm-4 6H7V7h10v10z"/>
</svg>`
});

/** A large file on its way up, verified: an arrow beside a tick. */
export const verifiedUploadIcon = new LabIcon({
  name: 'jupyter-hpcsec:verified-upload',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M3 20h10v-2H3v2zm2.500-4h5v-6H14L8 4 2 10h3.500v6zM15.700 17.200l-2.100-2.100-1.400 1.400 3.500 3.500 6.300-6.300-1.400-1.400-4.900 4.900z"/>
</svg>`
});
