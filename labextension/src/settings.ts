/** The user's settings of this extension; the schema is in `schema/plugin.json`. */

import type { ISettingRegistry } from '@jupyterlab/settingregistry';

/** What can be set. */
export interface ISettings {
  /** Minutes before the end at which people are warned. */
  readonly warnings: readonly number[];
  /** Whether the status bar shows the session. */
  readonly statusBar: boolean;
}

function parse(composite: { readonly [name: string]: unknown }): ISettings {
  const { warnings, statusBar } = composite;
  return {
    warnings: Array.isArray(warnings)
      ? warnings.filter((minute): minute is number => typeof minute === 'number')
      : [],
    statusBar: statusBar !== false
  };
}

/** Hand the settings on, now and whenever they change. Where they can't be read, the defaults go on. */
export function readSettings(
  registry: ISettingRegistry,
  id: string,
  take: (settings: ISettings) => void
): void {
  registry.load(id).then(
    settings => {
      const apply = (): void => take(parse(settings.composite));
      settings.changed.connect(apply);
      apply();
    },
    (reason: unknown) => console.warn(`${id}: the defaults are used`, reason)
  );
}
