/**
 * A terminal sends Ctrl-C to all processes of a group, and npm, which is one of them, sends it on to its child. So the same signal
 * can come again within this time although it was given once.
 */
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

/** Sends a message to the parent, when the parent started this process with a channel. */
export function tellParent(message: object): void {
  if (process.connected) process.send?.(message);
}
