/** Room for a side panel where there is little: on a narrow screen the other side gives way. */

import type { JupyterFrontEnd } from '@jupyterlab/application';

/** CSS pixels below which two side panels leave nothing to see of either. */
const NARROW = 640;

/** Fold the left side away. JupyterLab's shell can; another front end's may not, and is left alone. */
export function makeRoom(shell: JupyterFrontEnd.IShell): void {
  if (window.innerWidth < NARROW) {
    (shell as { collapseLeft?: () => void }).collapseLeft?.();
  }
}
