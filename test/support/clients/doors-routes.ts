import diagnostics from 'node:diagnostics_channel';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import type { FastifyInstance } from 'fastify';

/** A route as its server knows it. */
export interface Route {
  method: string;
  /** The pattern, with `:names` and `*`. */
  url: string;
}

/** The status of a request that was let in: it stops before anything is done. */
export const LET_IN = 299;

export interface Answer {
  status: number;
  /** The pattern of the route that was found; empty where none was, null where the address could not be read. */
  route: string | null;
  /** The methods that the path has, where the answer names them. */
  allow: string | null;
}

/**
 * Starts a server and learns its routes from Fastify itself, so that a new route cannot be forgotten. Every request that
 * authentication and authorisation let through is answered with LET_IN, before its body is read and its handler is called.
 */
export async function withRoutes<Door>(start: () => Promise<Door>): Promise<{ door: Door; routes: Route[] }> {
  const servers: Route[][] = [];
  const watch = (message: unknown) => servers.push(watched((message as { fastify: FastifyInstance }).fastify));
  diagnostics.subscribe('fastify.initialization', watch);
  try {
    const door = await start();
    return { door, routes: servers[0] ?? [] };
  } finally {
    diagnostics.unsubscribe('fastify.initialization', watch);
  }
}

function watched(server: FastifyInstance): Route[] {
  const routes: Route[] = [];
  server.addHook('onRoute', ({ method, url }) => {
    for (const each of [method].flat()) routes.push({ method: each, url });
  });
  server.addHook('onRequest', async (request, reply) => {
    reply.raw.setHeader('x-route', request.is404 ? '' : (request.routeOptions.url ?? ''));
  });
  server.addHook('preParsing', async (request, reply) => {
    if (!request.is404) return reply.code(LET_IN).send();
    return undefined;
  });
  return routes;
}

/**
 * Sends an address as it is written, on a connection of its own, and reads the head of the answer. Clients of HTTP would tidy
 * the address, or refuse to send it.
 */
export async function askRaw(base: string, method: string, address: string, authorization?: string): Promise<Answer> {
  const { host, hostname, port } = new URL(base);
  const socket = connect(Number(port), hostname);
  const known = authorization === undefined ? '' : `authorization: ${authorization}\r\n`;
  socket.write(`${method} ${address} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n${known}\r\n`);
  try {
    return read(`${method} ${address}`, await text(socket));
  } finally {
    socket.destroy();
  }
}

function read(asked: string, answer: string): Answer {
  const [head = ''] = answer.split('\r\n\r\n');
  const [, status] = /^HTTP\/1\.1 (\d{3})/.exec(head) ?? [];
  if (status === undefined) throw new Error(`${asked}: no answer, but ${JSON.stringify(answer.slice(0, 100))}`);
  const header = (name: string) => new RegExp(`^${name}: *(.*)$`, 'im').exec(head)?.[1]?.trim() ?? null;
  return { status: Number(status), route: header('x-route'), allow: header('allow') };
}
