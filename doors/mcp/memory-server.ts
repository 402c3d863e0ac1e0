import { McpServer } from '@modelcontextprotocol/server';
import { addResources } from './resources.ts';
import type { ToolParts } from './tool.ts';
import { addTools } from './tools.ts';

const INSTRUCTIONS = `Mnemoq keeps what was said. A conversation is a name (context_id) of your choice.
Call load_recent_context before you answer, save_chat after you have, save_reflection for what should outlast it.
Where an answer is an error, its code says what to do: invalid_input names the wrong fields; timeout means it goes on by itself;
*_unavailable and redis_full pass, so try again later with the same idempotency_key.`;

/** Far beyond any request: what is refused below that is told by its field. */
const MOST_ELEMENTS = 100_000;

/** Everything one caller may do, as one MCP server. */
export function createMemoryServer(parts: ToolParts, version: string): McpServer {
  const server = new McpServer(
    { name: 'mnemoq', title: 'Mnemoq', version },
    {
      instructions: INSTRUCTIONS,
      maxToolInputElements: MOST_ELEMENTS,
      capabilities: { tools: { listChanged: false }, resources: { listChanged: false } },
    },
  );
  addTools(server, parts);
  addResources(server, parts);
  return server;
}
