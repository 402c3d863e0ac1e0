import type { FastifyInstance } from 'fastify';
import { MnemoqError } from '../errors.ts';

/** Listens and gives the address. Throws `invalid_configuration` that names the variable where the port is in use. */
export async function listen(server: FastifyInstance, variable: string, host: string, port: number): Promise<string> {
  try {
    return await server.listen({ host, port });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    const message = `${variable}: expected a free port, ${host}:${port} is in use`;
    throw new MnemoqError('invalid_configuration', message, { cause: error });
  }
}
