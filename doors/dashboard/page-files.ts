import { readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';
import { FOR_USERS } from '../web/permission.ts';

const PAGE = path.join(import.meta.dirname, 'page');
const LIT = path.dirname(fileURLToPath(import.meta.resolve('lit-html')));
const UPLOT = path.dirname(fileURLToPath(import.meta.resolve('uplot')));

/**
 * The files of packages that the page loads; no others are served. `import.meta.resolve` finds the version of lit-html for
 * servers, so its last folder is taken off.
 */
const FROM_PACKAGES: [url: string, root: string, file: string][] = [
  ...['lit-html.js', 'directive.js', 'directive-helpers.js', 'directives/repeat.js', 'directives/live.js'].map(
    (file): [string, string, string] => [`/page/lit-html/${file}`, LIT.replace(/\/node$/, ''), file],
  ),
  ...['uPlot.esm.js', 'uPlot.min.css'].map((file): [string, string, string] => [`/page/uplot/${file}`, UPLOT, file]),
];

/** Serves the page at `/` and the files that it needs under `/page/`. */
export async function servePageFiles(server: FastifyInstance): Promise<void> {
  await server.register(fastifyStatic, { serve: false });
  const files = readdirSync(PAGE, { recursive: true, encoding: 'utf8' }).filter((file) => /\.(css|js|svg)$/.test(file));
  const own = files.map((file): [string, string, string] => [`/page/${file.replaceAll(path.sep, '/')}`, PAGE, file]);
  for (const [url, root, file] of [['/', PAGE, 'index.html'] as const, ...own, ...FROM_PACKAGES]) {
    // The files may change with every release, so a browser asks each time whether they did, which costs little.
    server.get(url, FOR_USERS, async (_request, reply) => reply.sendFile(file, root, { maxAge: 0 }));
  }
}
