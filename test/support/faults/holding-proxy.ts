import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface HoldingProxy {
  port: number;
  /**
   * From now on, what holds this text is not passed on, nor is anything that its connection sends after it. Resolves when
   * the text is there: then the service behind has nothing of the command that it stands in but perhaps its beginning.
   */
  hold(text: string): Promise<void>;
  /** Passes on what is held, and holds nothing any more. */
  release(): void;
  stop(): Promise<void>;
}

/** A TCP proxy in front of a service on loopback that keeps one command from it until a test says otherwise. */
export async function startHoldingProxy(targetPort: number): Promise<HoldingProxy> {
  const sockets = new Set<Socket>();
  let wanted: { text: string; seen: () => void } | null = null;
  const held = new Map<Socket, Buffer[]>();

  const server = createServer((near) => {
    const far = connect(targetPort, '127.0.0.1');
    let tail = Buffer.alloc(0);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket.setNoDelay(true));
      socket.on('error', () => undefined);
      socket.once('close', () => other.destroy());
    }
    far.on('data', (bytes) => near.write(bytes));
    near.on('data', (bytes) => {
      // The text may come in two pieces.
      tail = Buffer.concat([tail, bytes]);
      if (wanted && !held.has(far) && tail.includes(wanted.text)) {
        held.set(far, []);
        wanted.seen();
      }
      tail = tail.subarray(-1_024);
      const kept = held.get(far);
      if (kept) kept.push(bytes);
      else far.write(bytes);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    async hold(text) {
      const { promise, resolve } = Promise.withResolvers<void>();
      wanted = { text, seen: resolve };
      return promise;
    },
    release() {
      wanted = null;
      for (const [far, kept] of held) for (const bytes of kept) far.write(bytes);
      held.clear();
    },
    async stop() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
