import { once } from 'node:events';
import { serveStdio, StdioServerTransport } from '@modelcontextprotocol/server/stdio';
import { type Environment, loadConfig, STORE_SETTINGS } from '../../shared/settings/config.ts';
import { createLogger } from '../../shared/telemetry/log.ts';
import { identifier } from '../../shared/identifiers.ts';
import { validate } from '../../shared/validate.ts';
import { MemoryCore } from '../../producers/index.ts';
import { TURN_BYTES } from '../web/turn-bytes.ts';
import { createMemoryServer } from './memory-server.ts';

export interface StdioDoor {
  /** Resolves when the client has closed standard input, because then nobody is left to answer. */
  ended: Promise<unknown>;
  stop(): Promise<void>;
}

/**
 * Starts what `mnemoq mcp` offers: it answers on standard output what it reads from standard input. It does so for one user, or
 * for all users when none is given.
 */
export function startMcpStdio(environment: Environment, version: string, user: string | undefined): StdioDoor {
  const userId = user === undefined ? null : validate(identifier, user, '--user');
  const logger = createLogger(loadConfig(environment, STORE_SETTINGS).logLevel, 'mnemoq-mcp');
  const memory = new MemoryCore(environment);
  const caller = { name: 'stdio', userId };
  const ended = once(process.stdin, 'close');
  const served = serveStdio(() => createMemoryServer({ memory, logger, caller }, version), {
    transport: new StdioServerTransport(process.stdin, process.stdout, { maxBufferSize: TURN_BYTES }),
    onerror: (error) => logger.debug({ reason: error.message }, 'not answered as asked'),
  });
  return {
    ended,
    async stop() {
      await served.close();
      await memory.close();
    },
  };
}
