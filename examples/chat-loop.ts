// A chat that remembers. Before each reply it recalls what fits into 50 tokens, and after the reply it saves the turn.
//
//   node chat-loop.ts
//
// prints, the first time it runs in a conversation and while a chat worker runs:
//
//   you: My name is Ada.
//   bot: I know 0 messages of before. (0 tokens)
//   you: I live in Taipei.
//   bot: I know 2 messages of before. (17 tokens)
//   you: I like oolong tea.
//   bot: I know 4 messages of before. (34 tokens)
//   you: What do you know of me?
//   bot: I know 4 messages of before. (36 tokens)
import { MemoryCore } from 'mnemoq';

const TOKENS = 50;
const SAID = ['My name is Ada.', 'I live in Taipei.', 'I like oolong tea.', 'What do you know of me?'];
const contextId = process.argv[2] ?? 'chat-loop';

/** In a real program a chat model stands here: it takes the earlier messages and the new one, and gives its reply. */
function reply(messages: readonly { role: string; content: string }[], tokenCount: number): string {
  return `I know ${messages.length} messages of before. (${tokenCount} tokens)`;
}

const memory = new MemoryCore(); // REDIS_URL, SUPABASE_URL, … from the environment, .env or a running `mnemoq dev`
try {
  for (const userMessage of SAID) {
    const recalled = await memory.loadRecentContext(contextId, { maxTokens: TOKENS, format: 'messages' });
    const assistantMessage = reply(recalled.items, recalled.tokenCount);
    console.log(`you: ${userMessage}\nbot: ${assistantMessage}`);
    // This waits for the worker, so that the next reply certainly knows this turn.
    await memory.saveChat({ contextId, userId: 'ada', userMessage, assistantMessage }, { wait: true });
  }
} finally {
  await memory.close();
}
