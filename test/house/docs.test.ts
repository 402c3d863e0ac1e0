import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { parse as parseDotenv } from 'dotenv';
import { callDeclarations, exportedNames } from '../../scripts/docs/calls.ts';
import { commandNames, flagsOf } from '../../scripts/docs/commands.ts';
import { nameOf, openApi, operationsOf } from '../../scripts/docs/http.ts';
import { type Generated, generate } from '../../scripts/docs/pages.ts';
import { loadConfig } from '../../shared/settings/config.ts';
import { VARIABLE_NAMES } from '../../shared/settings/variables.ts';
import { EVENT_TYPES } from '../../shared/short-term/events.ts';
import { MUTANTS } from '../mutants/mutants.ts';
import { blocksOf, headingsOf, linksOf, slugOf, tablesOf, wordsOf } from '../support/inputs/markdown.ts';

const ROOT = path.join(import.meta.dirname, '../..');
/** The pages a user needs first are there in both languages. */
const IN_BOTH = ['README', 'calls', 'http', 'configuration', 'operations', 'security'];
const COMPOSE_ONLY =
  /^(REDIS_PASSWORD|REDIS_APPENDFSYNC|REDIS_MAXMEMORY|POSTGRE\w+|GRAFANA_\w+|PROMETHEUS_\w+|COMPOSE_\w+|MNEMOQ_(MEMORY_LIMIT|STOP_GRACE_PERIOD))$/;

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: ROOT })
  .toString()
  .split('\n');
const pages = files.filter((file) => file.endsWith('.md') && existsSync(path.join(ROOT, file)));
const variables = new Set<string>(Object.values(VARIABLE_NAMES));

let generated: Generated;
let operations: ReturnType<typeof operationsOf>;
beforeAll(async () => {
  generated = await generate();
  operations = operationsOf(await openApi());
}, 120_000);

describe('what is made from the code', () => {
  test('stands on the pages; else run npm run docs', () => {
    for (const [file, text] of generated.pages) expect([file, read(file)]).toEqual([file, text]);
    expect(generated.pages.size).toBeGreaterThan(3);
  });

  test('is said in Traditional Chinese as well, and nothing else is', () => {
    expect(generated.untranslated).toEqual([]);
    expect(generated.unused).toEqual([]);
  });
});

describe('calls.md', () => {
  test('has every call of MemoryCore under a heading of its own, and no other', () => {
    const headings = headingsOf(read('docs/calls.md'))
      .filter(({ level }) => level === 3)
      .map(({ text }) => text);
    expect(headings.toSorted()).toEqual([...callDeclarations().keys()].toSorted());
  });

  test('declares everything the package exports', () => {
    const types =
      blocksOf(read('docs/calls.md'), 'ts').find((block) => block.includes('export interface Receipt')) ?? '';
    const declared = [...types.matchAll(/^export (?:interface|type|class|const|function) (\w+)/gm)].map(
      ([, name = '']) => name,
    );
    const exported = exportedNames().map(({ name }) => name);
    expect([...declared, 'MemoryCore'].toSorted()).toEqual(exported.toSorted());
  });

  test('says of every error what it means', () => {
    const codes = [...read('shared/errors.ts').matchAll(/^ {2}\| '(\w+)'/gm)].map(([, code = '']) => code);
    const told = firstCells(tableUnder('docs/calls.md', 'Errors'));
    expect(codes.length).toBeGreaterThan(10);
    expect(told.toSorted()).toEqual(codes.toSorted());
  });
});

test('http.md has every route under a heading of its own, and no other', () => {
  const routes = operations.map(nameOf);
  const headings = headingsOf(read('docs/http.md'))
    .map(({ text }) => text)
    .filter((text) => /^(GET|POST|DELETE|PUT|PATCH) /.test(text));
  expect(routes.length).toBeGreaterThan(20);
  expect(headings.toSorted()).toEqual(routes.toSorted());
});

test('command-line.md has every command under a heading of its own, and no other', () => {
  const headings = headingsOf(read('docs/command-line.md'))
    .filter(({ level }) => level === 3)
    .map(({ text }) => text.replace(/( [<[].*)?$/, ''));
  expect(headings).toEqual(commandNames());
});

describe('configuration.md', () => {
  const shown = tablesOf(read('docs/configuration.md'))
    .filter(({ head }) => head[0] === 'variable')
    .flatMap(({ rows }) => rows)
    .map(([name = '', fallback = '']) => [name.replaceAll('`', ''), fallback.replaceAll('`', '')] as const);

  test('has every variable once, and no other', () => {
    const example = parseDotenv(read('.env.example').replaceAll(/^# (?=[A-Z][A-Z0-9_]*=)/gm, ''));
    expect(shown.map(([name]) => name).toSorted()).toEqual(Object.keys(example).toSorted());
    expect([...variables].filter((name) => !(name in example))).toEqual([]);
  });

  test('has the defaults the program has', () => {
    const defaults = loadConfig({}, []) as Record<string, string | number | boolean | undefined>;
    const told = new Map(shown);
    for (const [setting, name] of Object.entries(VARIABLE_NAMES)) {
      const fallback = defaults[setting];
      const expected = fallback === undefined ? /^(none|required)$/ : String(fallback);
      expect([name, told.get(name)]).toEqual([
        name,
        expect.stringMatching(expected instanceof RegExp ? expected : exactly(expected)),
      ]);
    }
  });
});

describe.each(pages.filter((file) => !file.startsWith('docs/decisions/')))('%s', (file) => {
  const text = read(file);

  test('has links that lead to a file and a heading', () => {
    const broken = linksOf(text).filter((link) => !leadsSomewhere(file, link));
    expect(broken).toEqual([]);
  });

  test('names no variable, call, route, command, script or file that does not exist', () => {
    if (file === 'CHANGELOG.md') return; // tells of names that are gone
    expect(strangersIn(text)).toEqual([]);
  });
});

describe.each(IN_BOTH)('%s in Traditional Chinese', (name) => {
  const [english, chinese] =
    name === 'README' ? ['README.md', 'README.zh-TW.md'] : [`docs/${name}.md`, `docs/zh-TW/${name}.md`];

  test('has the same headings, tables and code', () => {
    expect(skeletonOf(read(chinese))).toEqual(skeletonOf(read(english)));
  });
});

test('events.md has every type of event, and no other but the one that tells of missed events', () => {
  const [types] = tablesOf(read('docs/events.md'));
  expect(firstCells(types ?? { rows: [] }).toSorted()).toEqual([...EVENT_TYPES, 'events.missed'].toSorted());
});

test('RELIABILITY.md counts the mutants', () => {
  const told = /plants (\d+) bugs/.exec(read('RELIABILITY.md'))?.[1];
  expect(told).toBe(String(MUTANTS.length));
});

test('what is strong in Chinese ends before its punctuation, or Markdown does not end it', () => {
  const broken = pages
    .filter((file) => file.includes('zh-TW'))
    .flatMap((file) =>
      [...read(file).matchAll(/\*\*[^*\n]+\p{P}\*\*(?=[\p{L}\p{N}])/gu)].map(([text]) => [file, text]),
    );
  expect(broken).toEqual([]);
});

test('every page is in the table of contents, in its language', () => {
  const inFolder = (folder: string) =>
    readdirSync(path.join(ROOT, folder)).filter((file) => file.endsWith('.md') && file !== 'README.md');
  const linked = (file: string) => new Set(linksOf(read(file)).map((link) => link.split('#')[0]));
  for (const page of inFolder('docs')) {
    expect([page, linked('docs/README.md').has(page)]).toEqual([page, true]);
    expect([page, linked('README.md').has(`docs/${page}`)]).toEqual([page, true]);
  }
  for (const page of inFolder('docs/zh-TW'))
    expect([page, linked('docs/zh-TW/README.md').has(page)]).toEqual([page, true]);
});

test('the packed package has every file that its pages lead to', () => {
  const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const parsed: unknown = JSON.parse(output.toString());
  const [packed] = (Array.isArray(parsed) ? parsed : Object.values(parsed as object)) as {
    files: { path: string }[];
  }[];
  const inside = (packed?.files ?? []).map((file) => file.path);
  const missing = inside
    .filter((file) => file.endsWith('.md'))
    .flatMap((file) => linksOf(read(file)).map((link) => [file, link] as const))
    .filter(([file, link]) => {
      const target = path.join(path.dirname(file), link.split('#')[0] ?? '');
      return !link.startsWith('#') && !inside.some((each) => each === target || each.startsWith(`${target}/`));
    });
  expect(inside).toContain('docs/zh-TW/http.md');
  expect(missing).toEqual([]);
}, 60_000);

function read(file: string): string {
  return readFileSync(path.join(ROOT, file), 'utf8');
}

function exactly(text: string): RegExp {
  return new RegExp(`^${text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`);
}

function tableUnder(file: string, heading: string) {
  const [, after = ''] = read(file).split(`\n## ${heading}\n`);
  return tablesOf(after.split('\n## ')[0] ?? '')[0] ?? { head: [], rows: [] };
}

function firstCells({ rows }: { rows: string[][] }): string[] {
  return rows.map(([first = '']) => first.replaceAll('`', ''));
}

function leadsSomewhere(from: string, link: string): boolean {
  const [to = '', anchor] = link.split('#');
  const target = to === '' ? from : path.join(path.dirname(from), decodeURIComponent(to));
  if (!existsSync(path.join(ROOT, target))) return false;
  if (anchor === undefined || statSync(path.join(ROOT, target)).isDirectory()) return anchor === undefined;
  return headingsOf(read(target)).some(({ text }) => slugOf(text) === decodeURIComponent(anchor));
}

/** What a page says in code, as opposed to prose, and nothing in the repository answers to. */
function strangersIn(text: string): string[] {
  const scripts = Object.keys((JSON.parse(read('package.json')) as { scripts: object }).scripts);
  const routes = new Set(operations.map(({ path: route }) => route));
  const calls = callDeclarations();
  const flags = flagsOf();
  const words = wordsOf(text);
  const found = (pattern: RegExp, source = words) => [...source.matchAll(pattern)].map(([, name = '']) => name);
  return [
    ...found(/\b((?:MEMORY|MNEMOQ|SUPABASE|REDIS)_[A-Z_]*[A-Z])\b/g, text).filter(
      (name) => !variables.has(name) && !COMPOSE_ONLY.test(name) && !name.startsWith('MNEMOQ_TEST_'),
    ),
    ...found(/\bmemory\.(\w+)\(/g).filter((name) => !calls.has(name)),
    ...found(/\bnpm run ([\w:]+)/g).filter((name) => !scripts.includes(name)),
    ...found(/(?:GET|POST|DELETE) (\/[\w/:]+)/g).filter(
      (route) => !routes.has(route) && !['/metrics', '/mcp'].includes(route),
    ),
    ...found(
      /\b((?:test|bench|shared|producers|doors|workers|cli|scripts|deploy|supabase|examples)\/[\w./*-]+\.\w+)\b/g,
    ).filter((file) => !file.includes('*') && !existsSync(path.join(ROOT, file))),
    ...found(/^(?:npx |[A-Z_]+=\S+ )*mnemoq ((?:[a-z]+ ?)+)/gm).filter((name) => !isCommand(name.trim())),
    ...found(/\bmnemoq [a-z][^`\n#]*?(--[a-z-]+)/g).filter((flag) => !flags.has(flag)),
  ];
}

function isCommand(name: string): boolean {
  const [first = '', second] = name.split(' ');
  const known = commandNames().map((each) => each.split(' ').slice(1));
  return known.some(
    ([command, inner]) => command === first && (inner === undefined || second === undefined || inner === second),
  );
}

/** What must be the same in every language: levels and names of headings, code in tables and blocks, but no comment in it. */
function skeletonOf(page: string): unknown {
  const text = page.replaceAll(/<!-- generated: (.+?) -->[\s\S]*?<!-- end of generated -->/g, '`generated $1`');
  return {
    headings: headingsOf(text).map(({ level, text: heading }) => [level, codeIn(heading)]),
    tables: tablesOf(text).map(({ rows }) => rows.map((row) => codeIn(row.join(' ')))),
    blocks: blocksOf(text).map((block) =>
      block.replaceAll(/ *(\/\/|#) .*$/gm, '').replaceAll(/^.*[\u3400-\u9fff].*\n?/gm, ''),
    ),
  };
}

function codeIn(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);
}
