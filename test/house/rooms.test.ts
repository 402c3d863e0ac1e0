/**
 * **test/house/**: the source itself: its folders, its documentation, and lists that must fit it. Nothing is started here, so
 * all of it takes seconds.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';

const ROOT = path.join(import.meta.dirname, '../..');

/** The rooms, and which others the code of each may import. Tests, benchmarks and examples see everything. */
const ROOMS: Record<string, readonly string[]> = {
  shared: [],
  producers: ['shared'],
  workers: ['shared'],
  doors: ['producers', 'shared'],
  embedded: ['shared'],
  cli: ['doors', 'embedded', 'producers', 'workers', 'shared'],
};

/**
 * The floors of each room, the lowest first. A folder imports from its own files and from floors below it, so folders on one
 * floor do not know each other. The empty name stands for the files of the room that are in no folder.
 */
const FLOORS: Record<string, readonly (readonly string[])[]> = {
  shared: [
    [''],
    ['secrets', 'telemetry'],
    ['records'],
    ['settings'],
    ['redis'],
    ['short-term', 'long-term', 'pinning'],
    ['tiers'],
    ['process'],
  ],
  producers: [['parts'], ['saving'], ['reading'], ['questions'], ['reflections'], ['keeping'], ['']],
  workers: [['steps'], ['saving', 'flush', 'outside'], ['']],
  doors: [['wire'], ['web'], ['http'], ['mcp', 'dashboard'], ['']],
  cli: [['terminal'], ['process'], ['commands'], ['']],
};

/** A folder with fewer entries, folders among them, is no room of its own; one with more files of its own is a hall. */
const FEWEST_ENTRIES = 4;
const MOST_FILES = 10;

interface Arrow {
  from: string;
  to: string;
}

const files = Object.keys(ROOMS).flatMap((room) => sourcesIn(room));
const arrows = files.flatMap((file) => importsOf(file).map((to): Arrow => ({ from: file, to })));

test('the imports are found', () => {
  expect(arrows).toContainEqual({ from: 'producers/index.ts', to: 'producers/memory-core.ts' });
  expect(arrows).toContainEqual({ from: 'cli/program.ts', to: 'cli/commands/running/api.ts' });
  expect(arrows.length).toBeGreaterThan(files.length);
});

test('a room imports the rooms that it may know, and no other', () => {
  const forbidden = arrows.filter(({ from, to }) => roomOf(from) !== roomOf(to) && !mayKnow(from, to));
  expect(forbidden.map(sentence)).toEqual([]);
});

test('inside a room a folder imports only floors below it', () => {
  const inside = arrows.filter(({ from, to }) => roomOf(from) === roomOf(to) && folderOf(from) !== folderOf(to));
  const upwards = inside.filter(({ from, to }) => floorOf(to) >= floorOf(from));
  expect(upwards.map(sentence)).toEqual([]);
});

test.each(foldersOf(Object.keys(ROOMS)))('%s is as large as a room and says what belongs into it', (folder) => {
  const entries = readdirSync(path.join(ROOT, folder));
  expect(entries.length).toBeGreaterThanOrEqual(FEWEST_ENTRIES);
  expect(filesIn(folder).length).toBeLessThanOrEqual(MOST_FILES);
  expect(headsOf(folder)).toHaveLength(1);
});

test.each(foldersOf(['test', 'bench']))('%s is no hall and says what belongs into it', (folder) => {
  // Every judge is a file, and they are as many as there are.
  const most = folder === 'test/judges' ? Infinity : MOST_FILES;
  expect(filesIn(folder).length).toBeLessThanOrEqual(most);
  expect(headsOf(folder)).toHaveLength(1);
});

function filesIn(folder: string): string[] {
  const entries = readdirSync(path.join(ROOT, folder), { withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
}

/** The files of a folder that begin with the sentence about it. */
function headsOf(folder: string): string[] {
  return filesIn(folder).filter((name) =>
    readFileSync(path.join(ROOT, folder, name), 'utf8').startsWith(`/**\n * **${folder}/**: `),
  );
}

function sourcesIn(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.join(folder, name));
}

/** Every folder with code of its own, the browser's included. */
function foldersOf(rooms: readonly string[]): string[] {
  const code = rooms.flatMap((room) =>
    readdirSync(path.join(ROOT, room), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|js)$/.test(name) && !name.includes('node_modules'))
      .map((name) => path.dirname(path.join(room, name))),
  );
  return [...new Set(code)].toSorted();
}

/** What a file imports of ours: with `from`, for its effects, and while it runs. */
function importsOf(file: string): string[] {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  const imported = [...text.matchAll(/(?:\bfrom |\bimport |\bimport\()'(\.[^']+)'/g)].map(([, to = '']) => to);
  return imported.map((to) => path.join(path.dirname(file), to));
}

function roomOf(file: string): string {
  return file.split(path.sep)[0] ?? '';
}

function folderOf(file: string): string {
  const [, ...rest] = file.split(path.sep);
  return rest.length > 1 ? (rest[0] ?? '') : '';
}

/** Throws for a folder that nobody gave a floor. */
function floorOf(file: string): number {
  const floors = FLOORS[roomOf(file)] ?? [['']];
  const floor = floors.findIndex((folders) => folders.includes(folderOf(file)));
  if (floor === -1) throw new Error(`${file}: give its folder a floor in ${path.basename(import.meta.filename)}`);
  return floor;
}

function mayKnow(from: string, to: string): boolean {
  return ROOMS[roomOf(from)]?.includes(roomOf(to)) ?? false;
}

function sentence({ from, to }: Arrow): string {
  return `${from} imports ${to}`;
}
