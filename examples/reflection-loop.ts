// A loop that learns. After every two turns a reflection is written. Its CID comes back and changes the weights of what is said
// next. The reflector is a few lines without a model: it takes the word that the user says most often.
//
//   MEMORY_REFLECTOR_EVERY_TURNS=2 node reflection-loop.ts
//
// prints, the first time it runs in a conversation and while a chat worker, with the same setting, and a reflection worker
// run:
//
//   you: tea please, oolong tea
//   you: more tea, no coffee
//   reflected on 2 turns: "tea" weighs 3 (bafkrei…)
//   you: coffee today, strong coffee
//   you: coffee again, black coffee
//   reflected on 4 turns: "coffee" weighs 5 (bafkrei…, after bafkrei…)
import { MemoryCore, type ReflectorContext } from 'mnemoq';

const SAID = [
  'tea please, oolong tea',
  'more tea, no coffee',
  'coffee today, strong coffee',
  'coffee again, black coffee',
];
const contextId = process.argv[2] ?? 'reflection-loop';

/**
 * In a real program a language model stands here. Its answer is saved, signed and pinned, and an event tells of it. An empty answer
 * makes no reflection.
 */
function reflect({ messages }: ReflectorContext): string {
  const counts = new Map<string, number>();
  for (const { role, content } of messages) {
    if (role !== 'user') continue;
    for (const word of content.match(/\w+/g) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const [[topic, count] = ['nothing', 0]] = [...counts].toSorted((a, b) => b[1] - a[1]);
  return JSON.stringify({ topic, count });
}

const weights = new Map<string, number>();
const memory = new MemoryCore(); // REDIS_URL, SUPABASE_URL, … from the environment, .env or a running `mnemoq dev`
let learned = Promise.withResolvers<void>();
memory.reflectWith(reflect);
memory.onReflection(async ({ data }) => {
  if (data.contextId !== contextId) return;
  const { record } = await memory.inspect(data.id);
  const { topic, count } = JSON.parse(record.text ?? '{}') as { topic: string; count: number };
  weights.set(topic, count);
  const [link] = (await memory.traceReflection(data.cid, { limit: 1 })).items;
  const before = link?.reflection?.previousCid;
  const cids = `${data.cid.slice(0, 7)}…${before ? `, after ${before.slice(0, 7)}…` : ''}`;
  console.log(`reflected on ${link?.sources.length} turns: "${topic}" weighs ${weights.get(topic)} (${cids})`);
  learned.resolve();
});
try {
  for (const [turns, userMessage] of SAID.entries()) {
    console.log(`you: ${userMessage}`);
    await memory.saveChat({ contextId, userId: 'ada', userMessage, assistantMessage: 'Noted.' }, { wait: true });
    if (turns % 2 === 0) continue;
    await learned.promise; // this is only so that the lines are printed in order; nothing else has to wait
    learned = Promise.withResolvers();
  }
} finally {
  await memory.close();
}
