/** Ways to kernels and terminals that are interrupted. JupyterLab tries each for about two minutes, then gives up. */

/** What is used of a kernel's or a terminal's connection. */
export interface IWay {
  readonly connectionStatus: string;
  reconnect(): Promise<void>;
}

/** What of a document, a console or a terminal leads to it. */
interface IHolder {
  readonly sessionContext?: { readonly session?: { readonly kernel?: IWay | null } | null };
  readonly content?: { readonly session?: IWay | null };
}

/** Those that are not connected, each once. */
export function interrupted(widgets: Iterable<object>): IWay[] {
  const ways = Array.from(widgets, widget => {
    const { sessionContext, content } = widget as IHolder;
    return sessionContext?.session?.kernel ?? content?.session;
  });
  return [...new Set(ways)].filter(
    (way): way is IWay =>
      typeof way?.reconnect === 'function' &&
      /^(connecting|disconnected)$/.test(way.connectionStatus)
  );
}
