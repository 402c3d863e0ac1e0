/** A terminal sends Ctrl-C to every process of its group, and npm passes on what it got: the same signal comes again at once. */
const SAME_SIGNAL_MS = 500;

/**
 * Resolves with the first SIGINT or SIGTERM. A second one ends the process at once. So does the loss of a parent that started
 * this process with a channel, as `mnemoq dev` starts workers: the parts that it works with end together with that parent.
 */
export async function untilSignal(): Promise<NodeJS.Signals> {
  const end = () => process.exit(1);
  if ('connected' in process && !process.connected) end(); // the parent was gone before this was called
  process.once('disconnect', end);
  process.channel?.unref(); // listening to the channel must not keep a finished command from ending
  return new Promise((resolve) => {
    let first: { signal: NodeJS.Signals; at: number } | null = null;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        const at = performance.now();
        if (first && !(signal === first.signal && at - first.at < SAME_SIGNAL_MS)) end();
        first ??= { signal, at };
        resolve(signal);
      });
    }
  });
}

/** Tells the parent that started this process with a channel, if there is one. */
export function tellParent(message: object): void {
  if (process.connected) process.send?.(message);
}
