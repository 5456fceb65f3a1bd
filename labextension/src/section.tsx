/** One section of a side panel, named by its heading. */

import * as React from 'react';

interface ISectionProps {
  readonly title: string;
  readonly children: React.ReactNode;
}

export function Section({ title, children }: ISectionProps): React.ReactElement {
  const id = React.useId();
  return (
    <section aria-labelledby={id} className="jp-hpcsec-Section">
      <h3 id={id}>{title}</h3>
      {children}
    </section>
  );
}
