import type { EventFeed } from '../../shared/short-term/event-feed.ts';
import type { EventOf, EventType } from '../../shared/short-term/events.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/telemetry/log.ts';

/**
 * Is called for each event, one event after the other. The next event waits until all handlers are done with this one.
 */
export type EventHandler<T extends EventType> = (event: EventOf<T>) => unknown;

interface Subscription {
  takes: (event: EventOf<EventType>) => boolean;
  handler: EventHandler<never>;
}

/** The handlers of this process. One follower feeds all of them, and it runs only while there are any. */
export class Subscriptions {
  readonly #feed: EventFeed;
  readonly #logger: Logger;
  readonly #subscriptions = new Set<Subscription>();
  #following: AbortController | null = null;

  constructor(feed: EventFeed, logger: Logger) {
    this.#feed = feed;
    this.#logger = logger;
  }

  /** Calls the handler for everything that happens from now on. The function that it gives ends that. */
  subscribe<T extends EventType>(
    type: T,
    handler: EventHandler<T>,
    wanted: (event: EventOf<T>) => boolean = () => true,
  ): () => void {
    const takes = (event: EventOf<EventType>) => event.type === type && wanted(event as EventOf<T>);
    const subscription: Subscription = { takes, handler };
    this.#subscriptions.add(subscription);
    if (!this.#following) {
      this.#following = new AbortController();
      this.#follow(this.#following.signal).catch((error) => {
        this.#following = null; // the next subscription starts another follower
        this.#logger.error({ reason: messageOf(error) }, 'handlers of events get no more of them');
      });
    }
    return () => {
      this.#subscriptions.delete(subscription);
      if (this.#subscriptions.size === 0) this.close();
    };
  }

  close(): void {
    this.#following?.abort();
    this.#following = null;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const { event } of this.#feed.follow({ signal })) {
      if (event.type === 'events.missed') this.#logger.warn('handlers were too slow: events were missed');
      else await Promise.all([...this.#subscriptions].map((each) => this.#tell(each, event)));
    }
  }

  async #tell({ takes, handler }: Subscription, event: EventOf<EventType>): Promise<void> {
    try {
      if (takes(event)) await handler(event as never);
    } catch (error) {
      this.#logger.error({ event: event.id, reason: messageOf(error) }, 'a handler of events failed');
    }
  }
}
