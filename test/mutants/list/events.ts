import type { Mutant } from './mutant.ts';

/** What listeners are told, and who is told of whom. */
export const EVENTS: readonly Mutant[] = [
  {
    name: 'events-of-everybody',
    breaks: 'a user is told of nobody else',
    file: 'shared/short-term/event-feed.ts',
    text: 'return event.data.userId === userId ? event : null;',
    instead: 'return event;',
    caughtBy: 'test/doors/events.test.ts',
    test: 'a user is told of nobody else',
  },
  {
    name: 'missed-events-untold',
    breaks: 'who was away for too long is told that events were missed',
    file: 'shared/short-term/event-feed.ts',
    text: 'if (page.missed) yield { event: missedEvent(), cursor: cursor ?? BEGINNING };',
    instead: '',
    caughtBy: 'test/doors/events.test.ts',
    test: 'who comes back after events were trimmed',
  },
  {
    name: 'committed-untold',
    breaks: 'what Supabase has is told as committed',
    file: 'shared/short-term/scripts.ts',
    text: 'committed[#committed + 1] = event',
    instead: "if inserted == '1' then committed[#committed + 1] = event end",
    caughtBy: 'test/doors/events.test.ts',
    test: 'what is told as committed is what Supabase has',
  },
];
