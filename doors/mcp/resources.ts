import { type McpServer, ResourceNotFoundError, ResourceTemplate } from '@modelcontextprotocol/server';
import { toSnake } from '../wire/snake-case.ts';
import type { ToolParts } from './tool.ts';

/**
 * A client asks for all pages of a list of resources at once, so there is only one page. The tool list_conversations and
 * completion find the conversations that are not on it.
 */
const LISTED = 100;
const MIME_TYPE = 'application/json';
/**
 * In a URL these two names mean other folders, however they are written, so conversations with these names are no resources. The
 * tool load_recent_context reads them.
 */
const UNADDRESSABLE = new Set(['.', '..']);

/** Adds `mnemoq://conversations/…`: each conversation that the caller may see, with its id percent-encoded. */
export function addResources(server: McpServer, { memory, caller }: Pick<ToolParts, 'memory' | 'caller'>): void {
  const scope = caller.userId === null ? {} : { userId: caller.userId };
  const conversations = async (prefix?: string) => {
    const options = { ...scope, limit: LISTED, ...(prefix !== undefined && prefix !== '' && { prefix }) };
    const page = await memory.listConversations(options);
    return page.items.filter(({ contextId }) => !UNADDRESSABLE.has(contextId));
  };
  const template = new ResourceTemplate('mnemoq://conversations/{context_id}', {
    list: async () => ({
      resources: (await conversations()).map(({ contextId, lastCreatedAt }) => ({
        uri: `mnemoq://conversations/${encodeURIComponent(contextId)}`,
        name: contextId,
        mimeType: MIME_TYPE,
        ...(lastCreatedAt !== null && { annotations: { lastModified: lastCreatedAt } }),
      })),
    }),
    complete: {
      context_id: async (prefix) => (await conversations(prefix)).map(({ contextId }) => contextId),
    },
  });
  const metadata = {
    title: 'Conversation',
    description: 'The newest records of a conversation, 100 at most, oldest first.',
    mimeType: MIME_TYPE,
  };
  server.registerResource('conversation', template, metadata, async (uri, variables) => {
    const contextId = decodeURIComponent(String(variables['context_id']));
    const context = await memory.loadRecentContext(contextId, scope);
    if (context.items.length === 0) throw new ResourceNotFoundError(uri.href);
    return { contents: [{ uri: uri.href, mimeType: MIME_TYPE, text: JSON.stringify(toSnake(context)) }] };
  });
}
