import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface HalfOpenProxy {
  port: number;
  /** From now on every connection, old or new, stays open and swallows what is sent, either way: no answer, no FIN. */
  blackHole(): void;
  /** New connections pass again. Those from before stay dead until their owner gives them up, as after a lost route. */
  pass(): void;
  /** Closes the port: connections end, new ones are refused. */
  refuse(): Promise<void>;
  /** Opens the same port again. */
  accept(): Promise<void>;
  stop(): Promise<void>;
}

/** A TCP proxy in front of a service on loopback, for failures below HTTP and for protocols that are not HTTP. */
export async function startHalfOpenProxy(targetPort: number): Promise<HalfOpenProxy> {
  const wires = new Set<Wire>();
  let swallowing = false;
  const server = createServer((near) => {
    const wire = new Wire(near, swallowing ? null : targetPort);
    wires.add(wire);
    near.once('close', () => wires.delete(wire));
  });

  async function refuse(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const wire of wires) wire.end();
    await closed;
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    blackHole() {
      swallowing = true;
      for (const wire of wires) wire.cut();
    },
    pass() {
      swallowing = false;
    },
    refuse,
    async accept() {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
    stop: refuse,
  };
}

/** One connection: the caller's near end, and the far end at the service; without a target it is dead from the start. */
class Wire {
  readonly #near: Socket;
  readonly #far: Socket | null;
  #dead: boolean;

  constructor(near: Socket, targetPort: number | null) {
    this.#near = near;
    this.#far = targetPort === null ? null : connect(targetPort, '127.0.0.1');
    this.#dead = targetPort === null;
    near.on('error', () => undefined);
    near.once('close', () => this.#far?.destroy());
    if (this.#far) this.#join(near, this.#far);
    else near.resume();
  }

  /** Both ends stay as they are, and nothing passes any more. The service sees a live connection, too. */
  cut(): void {
    this.#dead = true;
    this.#near.resume();
    this.#far?.resume();
  }

  end(): void {
    this.#near.destroy();
  }

  #join(near: Socket, far: Socket): void {
    far.on('error', () => undefined);
    far.once('close', () => this.#dead || near.destroy());
    this.#forward(near, far);
    this.#forward(far, near);
  }

  #forward(from: Socket, to: Socket): void {
    from.setNoDelay(true);
    from.on('data', (bytes) => {
      if (!this.#dead && !to.write(bytes)) from.pause();
    });
    to.on('drain', () => from.resume());
  }
}
