import type { CallToolResult, McpServer, ToolAnnotations } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { MnemoqError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/telemetry/log.ts';
import { isAlias, validateSave } from '../../shared/records/conversation-id.ts';
import { validate } from '../../shared/validate.ts';
import type { Caller } from '../web/auth.ts';
import { type CamelKeys, snakeName, toCamel, toSnake } from '../wire/snake-case.ts';
import type { MemoryCore } from '../../producers/index.ts';

export interface ToolParts {
  memory: MemoryCore;
  caller: Caller;
  logger: Logger;
}

export interface Tool<Request extends object> {
  name: string;
  title: string;
  /** A text for the agent that decides whether it calls the tool. */
  description: string;
  request: z.ZodType<Request>;
  answer: z.ZodType;
  annotations: ToolAnnotations;
  /** True when the tool saves something. Then the conversation may have the names that the original guide has for it. */
  saves?: true;
  run: (request: CamelKeys<Request>, parts: ToolParts) => Promise<object>;
}

/**
 * Adds `tool` to `server`. An error of MemoryCore becomes an answer that the agent can read and act on, not an error of the
 * protocol.
 */
export function addTool<Request extends object>(server: McpServer, tool: Tool<Request>, parts: ToolParts): void {
  const { name, title, description, request, answer, annotations, saves = false, run } = tool;
  const { logger, caller } = parts;
  const config = {
    title,
    description,
    inputSchema: told(request, 'input'),
    outputSchema: told(answer, 'output'),
    annotations,
  };
  const checked = (given: unknown) =>
    saves ? validateSave(request, given, 'the arguments', 'context_id') : validate(request, given, 'the arguments');
  server.registerTool(name, config, async (given): Promise<CallToolResult> => {
    const began = performance.now();
    const result = await answerTo(async () => run(toCamel(checked(given)), parts), logger);
    const ms = Math.round(performance.now() - began);
    logger.info({ tool: name, caller: caller.name, userId: caller.userId, ms, code: result.code }, 'answered');
    return result.answer;
  });
}

async function answerTo(run: () => Promise<object>, logger: Logger): Promise<{ answer: CallToolResult; code: string }> {
  try {
    const structuredContent = toSnake(await run()) as Record<string, unknown>;
    return { answer: { content: asText(structuredContent), structuredContent }, code: 'ok' };
  } catch (error) {
    const { code, message, problems } = refusalOf(error, logger);
    return { answer: { content: asText({ code, message, problems }), isError: true }, code };
  }
}

function refusalOf(error: unknown, logger: Logger): Pick<MnemoqError, 'message' | 'problems'> & { code: string } {
  if (!(error instanceof MnemoqError)) {
    logger.error({ err: error }, 'an error nobody foresaw');
    return { code: 'internal', message: 'something went wrong that nobody foresaw; the log has it', problems: [] };
  }
  const problems = error.problems.map(({ field, ...rest }) => ({
    field: isAlias(field) ? field : snakeName(field),
    ...rest,
  }));
  return { code: error.code, message: error.message, problems };
}

function asText(value: object): [{ type: 'text'; text: string }] {
  return [{ type: 'text', text: JSON.stringify(value) }];
}

/**
 * Makes a schema that the SDK describes to clients but does not use for a check: the SDK would answer with a text that quotes
 * what was sent, where `validate` names the wrong fields.
 */
function told(schema: z.ZodType, io: 'input' | 'output') {
  const { $schema: _, id: _name, ...json } = z.toJSONSchema(schema, { io, unrepresentable: 'any', reused: 'inline' });
  return {
    '~standard': {
      version: 1,
      vendor: 'mnemoq',
      validate: (value: unknown) => ({ value }),
      jsonSchema: { input: () => json, output: () => json },
    },
  } as const;
}
