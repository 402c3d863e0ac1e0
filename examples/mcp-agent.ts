// An agent that keeps its memory over MCP: it starts `mnemoq mcp` for one user and works with the tools it finds there.
//
//   node mcp-agent.ts
//
// prints, the first time it runs in a conversation and while a chat worker runs:
//
//   tools: save_chat, save_reflection, load_recent_context, search, list_conversations, list_reflections, verify
//   → load_recent_context: 0 items
//   → save_chat: saved
//   → load_recent_context: 1 items
//   done: Ada likes oolong.
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const context_id = process.argv[2] ?? 'mcp-agent';

interface Call {
  tool: string;
  args: Record<string, unknown>;
}

/** In a real program a chat model stands here: it knows the tools and their answers so far, and says which one to call next. */
const plan: readonly Call[] = [
  { tool: 'load_recent_context', args: { context_id, max_tokens: 1000 } },
  {
    tool: 'save_chat',
    args: { context_id, user_message: 'I like oolong.', assistant_message: 'Noted.', wait: true },
  },
  { tool: 'load_recent_context', args: { context_id, max_tokens: 1000 } },
];

const client = new Client({ name: 'mcp-agent', version: '1.0.0' });
const environment = Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined);
await client.connect(
  new StdioClientTransport({
    command: 'mnemoq',
    args: ['mcp', '--user', 'ada'],
    env: Object.fromEntries(environment),
    stderr: 'ignore',
  }),
);
try {
  const { tools } = await client.listTools();
  console.log(`tools: ${tools.map(({ name }) => name).join(', ')}`);
  for (const { tool, args } of plan) {
    const { structuredContent, content, isError } = await client.callTool({ name: tool, arguments: args });
    // The model can read a refusal: it contains a code and the wrong fields.
    if (isError) throw new Error(JSON.stringify(content));
    const { items } = structuredContent as { items?: unknown[] };
    console.log(`→ ${tool}: ${items ? `${items.length} items` : 'saved'}`);
  }
  console.log('done: Ada likes oolong.');
} finally {
  await client.close();
}
