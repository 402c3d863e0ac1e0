/**
 * **doors/mcp/**: the Model Context Protocol: tools and resources for agents, over standard input and output or HTTP.
 */
import type { McpServer, ToolAnnotations } from '@modelcontextprotocol/server';
import { MnemoqError } from '../../shared/errors.ts';
import { type Caller, requireService, userFor } from '../web/auth.ts';
import { stats } from '../wire/answers/operating.ts';
import { conversationPage, searchResult } from '../wire/answers/questions.ts';
import { recentContext, receipt } from '../wire/answers/records.ts';
import { reflectionIndex, verification } from '../wire/answers/reflections.ts';
import {
  conversationsRequest,
  RECALLED_TOKENS,
  recallRequest,
  reflectionRequest,
  reflectionsRequest,
  searchRequest,
  statsRequest,
  turnRequest,
  verifyRequest,
} from './requests.ts';
import { addTool, type ToolParts } from './tool.ts';

/** Hints for clients about what a tool does. Only tools that use IPFS reach beyond the stores of Mnemoq (an open world). */
const READS: ToolAnnotations = { readOnlyHint: true, openWorldHint: false };
const SAVES: ToolAnnotations = { readOnlyHint: false, destructiveHint: false, idempotentHint: false };

/** Gives the tools of a caller. Tools that the caller may not use are not in the list. */
export function addTools(server: McpServer, parts: ToolParts): void {
  addSavingTools(server, parts);
  addReadingTools(server, parts);
  if (parts.caller.userId === null) addStatsTool(server, parts);
}

function addSavingTools(server: McpServer, parts: ToolParts): void {
  addTool(
    server,
    {
      name: 'save_chat',
      title: 'Save a turn',
      description:
        'Remember one exchange: what the user said and what the assistant replied. Call it once after every reply that ' +
        'should be remembered. The receipt has the id of the turn; nothing that has a receipt is lost.',
      request: turnRequest,
      answer: receipt,
      annotations: { ...SAVES, openWorldHint: false },
      saves: true,
      run: async ({ wait = false, ...turn }, { memory, caller }) => {
        const { userId, ...rest } = ownedBy(caller, turn);
        if (userId === undefined) throw noUser();
        return memory.saveChat({ ...rest, userId }, { wait });
      },
    },
    parts,
  );
  addTool(
    server,
    {
      name: 'save_reflection',
      title: 'Save a reflection',
      description:
        'Remember a text of your own about a conversation or about how you work: a summary, a lesson, a preference. It is ' +
        'kept for good: written to the database at once, signed, and pinned to IPFS, encrypted unless it is public. ' +
        'load_recent_context gives reflections together with turns.',
      request: reflectionRequest,
      answer: receipt,
      annotations: { ...SAVES, openWorldHint: true },
      saves: true,
      run: async ({ wait = false, ...reflection }, { memory, caller }) =>
        memory.saveReflection(ownedBy(caller, reflection) as never, { wait }),
    },
    parts,
  );
}

function addReadingTools(server: McpServer, parts: ToolParts): void {
  addTool(
    server,
    {
      name: 'load_recent_context',
      title: 'Recall a conversation',
      description:
        'The newest turns and reflections of a conversation that fit a token budget, oldest first. Call it before you ' +
        'answer in a conversation whose beginning you do not have. A conversation nobody knows is empty, not an error.',
      request: recallRequest,
      answer: recentContext,
      annotations: READS,
      run: async ({ contextId, maxTokens = RECALLED_TOKENS, ...options }, { memory, caller }) =>
        memory.loadRecentContext(contextId, ownedBy(caller, { ...options, maxTokens }) as never),
    },
    parts,
  );
  addTool(
    server,
    {
      name: 'search',
      title: 'Search the memory',
      description:
        'The turns and reflections that have most of some words, best first, from all conversations or one. Words are ' +
        'compared, not meanings: try another wording, or fewer words, where nothing fits.',
      request: searchRequest,
      answer: searchResult,
      annotations: READS,
      run: async (options, { memory, caller }) => memory.search(ownedBy(caller, options) as never),
    },
    parts,
  );
  addTool(
    server,
    {
      name: 'list_conversations',
      title: 'List conversations',
      description: 'The names of the conversations there are, in their order, page by page, with their last time.',
      request: conversationsRequest,
      answer: conversationPage,
      annotations: READS,
      run: async (options, { memory, caller }) => memory.listConversations(ownedBy(caller, options) as never),
    },
    parts,
  );
  addTool(
    server,
    {
      name: 'list_reflections',
      title: 'List reflections',
      description:
        'The reflections of all conversations or of one, newest first, page by page, with their CIDs and signatures but ' +
        'without their texts, which load_recent_context gives.',
      request: reflectionsRequest,
      answer: reflectionIndex,
      annotations: READS,
      run: async (options, { memory, caller }) => memory.listReflections(ownedBy(caller, options) as never),
    },
    parts,
  );
  addTool(
    server,
    {
      name: 'verify',
      title: 'Verify a CID',
      description:
        'Fetches a reflection from IPFS by its CID and follows it to its row and its tokens: whether it is what was saved, ' +
        'signed and unaltered. `ok` is the verdict, `checks` say which link holds.',
      request: verifyRequest,
      answer: verification,
      annotations: { readOnlyHint: true, openWorldHint: true },
      run: async ({ cid, ...options }, { memory, caller }) => memory.verify(cid, ownedBy(caller, options) as never),
    },
    parts,
  );
}

function addStatsTool(server: McpServer, parts: ToolParts): void {
  addTool(
    server,
    {
      name: 'get_stats',
      title: 'State of the memory',
      description: 'Queue lengths, what is pending and for how long, limits, and whether anything needs attention.',
      request: statsRequest,
      answer: stats,
      annotations: READS,
      run: async (_nothing, { memory, caller }) => {
        requireService(caller);
        return memory.getStats();
      },
    },
    parts,
  );
}

/** The same options, with the user to whom the caller is bound or whom a service names. */
function ownedBy<T extends { userId?: string | undefined }>(
  caller: Caller,
  { userId: named, ...rest }: T,
): Omit<T, 'userId'> & { userId?: string } {
  const userId = userFor(caller, named);
  return { ...rest, ...(userId !== undefined && { userId }) };
}

function noUser(): MnemoqError {
  const problem = { field: 'user_id', expected: 'a string', received: 'nothing' };
  const message = 'the arguments are not valid: user_id: expected a string, received nothing';
  return new MnemoqError('invalid_input', message, { problems: [problem] });
}
