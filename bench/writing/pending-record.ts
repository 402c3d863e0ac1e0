import { v7 as uuidv7 } from 'uuid';
import { loadConfig } from '../../shared/settings/config.ts';
import { Keyring } from '../../shared/secrets/keyring.ts';
import type { MemoryRecord } from '../../shared/records/records.ts';
import type { ShortTerm } from '../../shared/short-term/short-term.ts';
import { newRecord } from '../../shared/tiers/new-record.ts';
import { generateTurns, take } from '../turns.ts';

/** The number of texts that are tokenized. Then the same texts come again with other ids: a million would take five minutes. */
const TEXTS = 2_000;
/** The number of steps that are sent to Redis before their answers are awaited. */
const AT_ONCE = 1_000;

/**
 * Generates records as the chat worker makes them, without end. They have about 150 tokens each, are spread evenly over
 * `contextIds`, and are a second apart.
 */
export function* generateRecords(
  environment: Record<string, string>,
  contextIds: readonly string[],
): Generator<MemoryRecord, never> {
  const config = loadConfig(environment, []);
  const keyring = config.encryptionKeys ? new Keyring(config.encryptionKeys) : null;
  const templates = take(TEXTS, generateTurns(['']))
    .map(({ userMessage, assistantMessage, ...head }) => ({
      head,
      text: { user: userMessage, assistant: assistantMessage },
    }))
    .map(({ head, text }) =>
      newRecord({ ...head, id: uuidv7(), module: 'chat' }, text, { config: config as never, keyring }),
    );
  const first = Date.parse(templates[0]?.createdAt ?? '');
  for (let index = 0; ; index++) {
    yield {
      ...(templates[index % TEXTS] as MemoryRecord),
      id: uuidv7(),
      contextId: contextIds[index % contextIds.length] ?? '',
      createdAt: new Date(first + 1000 * index).toISOString(),
    };
  }
}

/** Remembers records, with many steps at once. */
export async function rememberAll(
  shortTerm: ShortTerm,
  records: Generator<MemoryRecord, never>,
  count: number,
): Promise<void> {
  for (let done = 0; done < count; done += AT_ONCE) {
    await Promise.all(take(Math.min(AT_ONCE, count - done), records).map((record) => shortTerm.remember(record)));
  }
}
