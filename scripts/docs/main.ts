/** `npm run docs`: writes what the documentation takes from the code. `test/house/docs.test.ts` fails while that is not done. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { generate } from './pages.ts';

const ROOT = path.join(import.meta.dirname, '../..');

const { pages, untranslated, unused } = await generate();
for (const [file, text] of pages) writeFileSync(path.join(ROOT, file), text);
for (const phrase of untranslated) process.stderr.write(`not in phrases-zh-tw.json: ${phrase}\n`);
for (const phrase of unused) process.stderr.write(`no longer said, take it out of phrases-zh-tw.json: ${phrase}\n`);
process.exitCode = untranslated.length + unused.length > 0 ? 1 : 0;
