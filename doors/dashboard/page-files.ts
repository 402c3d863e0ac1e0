import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';
import { FOR_USERS } from '../web/permission.ts';

const PAGE = path.join(import.meta.dirname, 'page');
const LIT = path.dirname(fileURLToPath(import.meta.resolve('lit-html')));
const UPLOT = path.dirname(fileURLToPath(import.meta.resolve('uplot')));

/** What the page takes from packages: these files and no others. By Node's own conditions lit-html would be its server side. */
const FROM_PACKAGES: [url: string, root: string, file: string][] = [
  ...['lit-html.js', 'directive.js', 'directive-helpers.js', 'directives/repeat.js', 'directives/live.js'].map(
    (file): [string, string, string] => [`/page/lit-html/${file}`, LIT.replace(/\/node$/, ''), file],
  ),
  ...['uPlot.esm.js', 'uPlot.min.css'].map((file): [string, string, string] => [`/page/uplot/${file}`, UPLOT, file]),
];

/** Serves the page at `/` and its files under `/page/`. */
export async function servePageFiles(server: FastifyInstance): Promise<void> {
  await server.register(fastifyStatic, { serve: false });
  const files = readdirSync(PAGE, { recursive: true, encoding: 'utf8' }).filter((file) => /\.(css|js|svg)$/.test(file));
  const own = files.map((file): [string, string, string] => [`/page/${file.replaceAll(path.sep, '/')}`, PAGE, file]);
  for (const [url, root, file] of [['/', PAGE, 'index.html'] as const, ...own, ...FROM_PACKAGES]) {
    // With every release the files may change; asking whether they have costs little.
    server.get(url, FOR_USERS, async (_request, reply) => reply.sendFile(file, root, { maxAge: 0 }));
  }
}
