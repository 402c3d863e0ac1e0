import { McpServer } from '@modelcontextprotocol/server';
import { addResources } from './resources.ts';
import type { ToolParts } from './tool.ts';
import { addTools } from './tools.ts';

const INSTRUCTIONS = `Mnemoq keeps what was said. A conversation is a name (context_id) of your choice.
Call load_recent_context before you answer, save_chat after you have, save_reflection for what should outlast it.
Where an answer is an error, its code says what to do: invalid_input names the wrong fields; timeout means it goes on by itself;
*_unavailable and redis_full pass, so try again later with the same idempotency_key.`;

/** No valid request is as large. A request that is wrong but smaller is answered with the field that is wrong. */
const MOST_ELEMENTS = 100_000;

/** Makes an MCP server with everything that one caller may do. */
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
