/**
 * Resolves with the first SIGINT or SIGTERM; a second one ends the process at once. So does losing the parent that
 * started it with a channel (as `mnemoq dev` starts workers): then the parts it works with are going away as well.
 */
export async function untilSignal(): Promise<NodeJS.Signals> {
  const end = () => process.exit(1);
  if ('connected' in process && !process.connected) end(); // before this was called
  process.once('disconnect', end);
  process.channel?.unref(); // listening to it must not keep a finished command from ending
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (asked) end();
        asked = true;
        resolve(signal);
      });
    }
  });
}

/** Tells the parent that started this process with a channel, if there is one. */
export function tellParent(message: object): void {
  if (process.connected) process.send?.(message);
}
