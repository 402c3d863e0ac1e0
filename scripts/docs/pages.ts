import { readFileSync } from 'node:fs';
import path from 'node:path';
import { format, resolveConfig } from 'prettier';
import { callDeclarations, typeDeclarations } from './calls.ts';
import { commands } from './commands.ts';
import { tools } from './tools.ts';
import { codes, openApi, routes, shapes } from './http.ts';
import type { Say } from './tables.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const PHRASES = 'scripts/docs/phrases-zh-tw.json';

/** The pages that are made from the code in part. */
const PAGES = [
  'docs/calls.md',
  'docs/http.md',
  'docs/command-line.md',
  'docs/mcp.md',
  'docs/zh-TW/calls.md',
  'docs/zh-TW/http.md',
];

export interface Generated {
  /** The pages as they should be, by their files. */
  pages: Map<string, string>;
  /** What the sources say and nobody has put into Traditional Chinese yet. */
  untranslated: string[];
  /** What was put into Traditional Chinese and nobody says any more. */
  unused: string[];
}

/** Makes each page anew: what stands between its marks, and each declaration of a call. */
export async function generate(): Promise<Generated> {
  const document = await openApi();
  const types = await typeDeclarations();
  const phrases = JSON.parse(readFileSync(path.join(ROOT, PHRASES), 'utf8')) as Record<string, string>;
  const asked = new Set<string>();
  const inChinese: Say = (phrase) => {
    if (phrase !== '') asked.add(phrase);
    return phrases[phrase] ?? phrase;
  };
  const blockOf = (name: string, say: Say): string => {
    const [kind, about = ''] = name.split(' ');
    if (kind === 'routes') return routes(document, about, say);
    if (kind === 'tools') return tools();
    if (kind === 'codes') return codes(document, say);
    if (kind === 'shapes') return shapes(document, say);
    if (kind === 'commands') return commands();
    if (kind === 'types') return types;
    throw new Error(`there is nothing to generate for ${name}`);
  };
  const pages = new Map<string, string>();
  for (const file of PAGES) {
    const say = file.includes('/zh-TW/') ? inChinese : (phrase: string) => phrase;
    const page = readFileSync(path.join(ROOT, file), 'utf8');
    const made = withDeclarations(withBlocks(page, (name) => blockOf(name, say)));
    pages.set(file, await formatted(made));
  }
  return {
    pages,
    untranslated: [...asked].filter((phrase) => !(phrase in phrases)),
    unused: Object.keys(phrases).filter((phrase) => !asked.has(phrase)),
  };
}

function withBlocks(page: string, blockOf: (name: string) => string): string {
  return page.replaceAll(
    /(<!-- generated: (.+?) -->\n)[\s\S]*?(<!-- end of generated -->)/g,
    (_all, begin: string, name: string, end: string) => `${begin}\n${blockOf(name)}\n\n${end}`,
  );
}

/** The first block of code under a heading that is the name of a call is its declaration. */
function withDeclarations(page: string): string {
  const declarations = callDeclarations();
  return page.replaceAll(
    /^(### (\w+)\n\n```ts\n)(?:(?!```)[\s\S])*(```)/gm,
    (all, begin: string, name: string, end: string) =>
      declarations.has(name) ? `${begin}${declarations.get(name)}\n${end}` : all,
  );
}

async function formatted(page: string): Promise<string> {
  const settings = await resolveConfig(path.join(ROOT, 'README.md'));
  return format(page, { ...settings, parser: 'markdown' });
}
