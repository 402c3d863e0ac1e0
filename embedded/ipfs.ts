import { mkdirSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { FsBlockstore } from 'blockstore-fs';
import fastify, { type FastifyInstance } from 'fastify';
import { exporter } from 'ipfs-unixfs-exporter';
import { importBytes } from 'ipfs-unixfs-importer';
import { CID } from 'multiformats/cid';
import { messageOf } from '../shared/errors.ts';
import { IMPORT_OPTIONS } from '../shared/pinning/ipfs.ts';
import { TEXT_BYTES } from '../shared/records/jobs.ts';

/** The size of a document with the longest text, encrypted and base64url-encoded. */
const BODY_LIMIT = 4 * TEXT_BYTES;

export interface EmbeddedIpfs {
  url: string;
  server: FastifyInstance;
  stop(): Promise<void>;
}

/**
 * Starts a block store on disk that answers the part of Kubo's RPC API that Mnemoq uses (`add`, `cat`, `pin/add`, `pin/ls`,
 * `pin/rm`, `version`), with Kubo's parameters, answers and errors. It is not connected to any other node, so what is pinned stays
 * on this machine.
 * https://docs.ipfs.tech/reference/kubo/rpc/
 */
export async function startIpfs(dir: string, port = 0): Promise<EmbeddedIpfs> {
  mkdirSync(dir, { recursive: true });
  const store = new FsBlockstore(path.join(dir, 'blocks'));
  await store.open();
  const pinDir = path.join(dir, 'pins');
  await mkdir(pinDir, { recursive: true });

  const server = fastify({ bodyLimit: BODY_LIMIT });
  // A multipart body is kept as it is for the parser of the platform. No other call has a body that matters.
  server.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  server.setErrorHandler((error, _request, reply) => {
    return reply.code(500).send({ Message: messageOf(error), Code: 0, Type: 'error' });
  });

  server.post<{ Querystring: { pin?: string } }>('/api/v0/add', async (request) => {
    const bytes = await fileOf(request.headers['content-type'] ?? '', request.body as Buffer);
    const { cid } = await importBytes(bytes, store, IMPORT_OPTIONS);
    if (request.query.pin !== 'false') await writeFile(path.join(pinDir, cid.toString()), '');
    return { Name: cid.toString(), Hash: cid.toString(), Size: String(bytes.length) };
  });

  server.post<{ Querystring: { arg: string } }>('/api/v0/cat', async (request, reply) => {
    const entry = await exporter(await known(store, request.query.arg), store);
    if (entry.type !== 'file' && entry.type !== 'raw') throw new Error('this dag node is a directory');
    return reply.type('text/plain').send(Readable.from(entry.content()));
  });

  server.post<{ Querystring: { arg: string } }>('/api/v0/pin/add', async (request) => {
    const cid = await known(store, request.query.arg);
    await writeFile(path.join(pinDir, cid.toString()), '');
    return { Pins: [cid.toString()] };
  });

  server.post<{ Querystring: { arg?: string } }>('/api/v0/pin/ls', async (request) => {
    const pins = await readdir(pinDir);
    const { arg } = request.query;
    if (arg && !pins.includes(arg)) throw new Error(`path '${arg}' is not pinned`);
    const listed = arg ? [arg] : pins;
    return { Keys: Object.fromEntries(listed.map((cid) => [cid, { Type: 'recursive' }])) };
  });

  server.post<{ Querystring: { arg: string } }>('/api/v0/pin/rm', async (request) => {
    const { arg } = request.query;
    if (!(await readdir(pinDir)).includes(arg)) throw new Error('not pinned or pinned indirectly');
    await rm(path.join(pinDir, arg));
    // Kubo removes the blocks at its next garbage collection. There is none here, so they are removed now.
    for (const block of await blocksOf(store, CID.parse(arg))) await store.delete(block);
    return { Pins: [arg] };
  });

  server.post('/api/v0/version', () => ({
    Version: 'embedded',
    Commit: '',
    Repo: '',
    System: process.platform,
    Golang: '',
  }));

  return {
    url: await server.listen({ host: '127.0.0.1', port }),
    server,
    async stop() {
      await server.close();
      await store.close();
    },
  };
}

async function fileOf(contentType: string, body: Buffer): Promise<Uint8Array> {
  const form = await new Response(new Uint8Array(body), { headers: { 'content-type': contentType } }).formData();
  const file = [...form.values()].find((value) => value instanceof File);
  if (!file) throw new Error("file argument 'path' is required");
  return new Uint8Array(await file.arrayBuffer());
}

/** Gives all blocks of a file: the blocks that are asked for while it is read. */
async function blocksOf(store: FsBlockstore, cid: CID): Promise<CID[]> {
  const blocks: CID[] = [];
  const get: FsBlockstore['get'] = (block, options) => {
    blocks.push(block);
    return store.get(block, options);
  };
  const entry = await exporter(cid, { get });
  if ('content' in entry) for await (const _bytes of entry.content()) continue;
  return blocks;
}

async function known(store: FsBlockstore, arg: string): Promise<CID> {
  const cid = CID.parse(arg.replace(/^\/ipfs\//, ''));
  if (!(await store.has(cid)))
    throw new Error(`block was not found locally (offline): ipld: could not find ${cid.toString()}`);
  return cid;
}
