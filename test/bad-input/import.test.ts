import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { importFile } from '../../cli/commands/saving/import.ts';
import { TURNS_BYTES } from '../../producers/saving/new-job.ts';
import { TEXT_BYTES } from '../../shared/records/jobs.ts';
import { MARKER } from '../support/inputs/bad-values.ts';
import { runCli, startCli } from '../support/clients/cli.ts';
import { runCommand } from '../support/clients/command.ts';
import { eventually } from '../support/faults/eventually.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { turn, turns } from '../support/inputs/turns.ts';

let stack: Stack;
let dir: string;
beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-bad-import-'));
  stack = await startStack();
});
afterAll(async () => {
  await stack.stop();
  rmSync(dir, { recursive: true });
});

/** In this process, where nothing depends on its being one of its own. */
async function importing(name: string, idempotencyPrefix?: string) {
  const options = { json: true as const, ...(idempotencyPrefix !== undefined && { idempotencyPrefix }) };
  return importFile(path.join(dir, name), options, stack.memory, new AbortController().signal);
}

function file(name: string, content: string | Buffer): string {
  writeFileSync(path.join(dir, name), content);
  return name;
}

const jsonl = (items: readonly unknown[]) => items.map((item) => `${JSON.stringify(item)}\n`).join('');
const good = turn('c', 1);
const { userId: _none, ...nobodys } = good;
const line = (more: object) => JSON.stringify({ ...good, ...more });

const BAD_LINES: [name: string, line: string, reason: RegExp][] = [
  ['not JSON', `${MARKER} not JSON`, /^expected JSON, received 20 characters of something else$/],
  ['JSON cut off', line({ userMessage: MARKER }).slice(0, -9), /^expected JSON/],
  ['two turns', line({}) + line({ userMessage: MARKER }), /^expected JSON/],
  ['a comma behind it', `${line({})},`, /^expected JSON/],
  ['the bracket of a JSON file', '[', /^expected JSON, received 1 character of/],
  ['NUL bytes, as UTF-16 has', line({}).replaceAll(/(.)/g, '$1\0'), /^expected JSON/],
  ['Python for null', '{"contextId":None}', /^expected JSON/],
  ['a single quote', "{'contextId':'c'}", /^expected JSON/],
  ['NaN', '{"contextId":NaN}', /^expected JSON/],
  ['CSV', `c,u,${MARKER},b`, /^expected JSON/],
  ['a byte order mark in the middle', `\uFEFF${line({})}`, /^expected JSON/],
  ['nested a hundred thousand deep', '['.repeat(1e5) + ']'.repeat(1e5), /expected an object, received an array of 1$/],
  [
    'nested deep in a field',
    line({}).replace('{', `{"more":${'['.repeat(5_000)}${']'.repeat(5_000)},`),
    /more: expected no such/,
  ],
  ['an array', '[]', /expected an object, received an array of 0$/],
  ['a list of turns', JSON.stringify([good, good]), /expected an object, received an array of 2$/],
  ['null', 'null', /expected an object, received null$/],
  ['a text', JSON.stringify(MARKER), /expected an object, received a string of 11 characters$/],
  ['a number', '5', /expected an object, received number 5$/],
  ['an empty object', '{}', /contextId: expected a string, received nothing; userId: expected/],
  ['nobody’s', JSON.stringify(nobodys), /userId: expected a string, received nothing$/],
  [
    'an unknown field',
    line({ [MARKER]: 1 }),
    new RegExp(`${MARKER}: expected no such field, received an unknown field$`),
  ],
  ['a field of a later release', line({ version: 2 }), /version: expected no such field/],
  ['a text as field', line({ [`${MARKER} said`]: 1 }), /\(a name of 16 characters\): expected no such field/],
  ['a prototype', line({}).replace('{', '{"__proto__":{"important":true},'), /__proto__: expected no such field/],
  ['a constructor', line({ constructor: { prototype: MARKER } }), /constructor: expected no such field/],
  ['the same field twice, the last one wrong', line({}).replace(/}$/, ',"userId":5}'), /userId: expected a string/],
  [
    'a text that is too long',
    line({ userMessage: MARKER.repeat(200_000) }),
    /userMessage: expected at most 2097152 bytes/,
  ],
  ['a lone surrogate in an id', line({ contextId: `${MARKER}\uD83D` }), /contextId: expected text without NUL/],
  ['an escaped NUL in an id', line({ userId: `${MARKER}\0` }), /userId: expected text without NUL/],
  ['an id of 513', line({ userId: 'x'.repeat(513) }), /userId: expected at most 512 characters/],
  ['no date', line({ createdAt: 'yesterday' }), /createdAt: expected an existing ISO 8601 date/],
  ['a day there is not', line({ createdAt: '2025-02-30T00:00:00Z' }), /createdAt: expected an existing ISO 8601 date/],
  ['a number as date', line({ createdAt: 1_760_888_530 }), /createdAt: expected a string, received number/],
  ['an id that is none', line({ id: `${MARKER}),or(id.gt.0` }), /id: expected a UUID/],
  ['a key that is none', line({ idempotencyKey: '' }), /idempotencyKey: expected at least 1 character/],
  [
    'a key beside an id',
    line({ id: '0199fc2a-7c1e-7b6a-9c8d-1f2e3d4c5b6a', idempotencyKey: MARKER }),
    /idempotencyKey: expected nothing beside an id, received a string/,
  ],
  ['a wrong switch', line({ important: 'yes' }), /important: expected a boolean/],
  ['longer than any line may be', 'x'.repeat(26_000_000), /^expected at most \d+ bytes, received a longer line$/],
];

describe('a bad line', () => {
  let report: Awaited<ReturnType<typeof importing>>;
  beforeAll(async () => {
    // Every second line is a good one, and empty lines count as well.
    const lines = BAD_LINES.flatMap(([, bad]) => [bad, line({})]);
    report = await importing(file('bad.jsonl', `\n${lines.join('\n')}`));
  });

  test.each(BAD_LINES.map(([name, , reason], index) => [name, reason, 2 + 2 * index] as const))(
    '%s: is reported by its number',
    (_name, reason, number) => {
      expect(report.failures.find(({ line: reported }) => reported === number)?.reason).toMatch(reason);
    },
  );

  test('keeps no other from being queued, and its text to itself', async () => {
    const { length } = BAD_LINES;
    expect(report).toMatchObject({ lines: 2 * length, queued: length, failed: length });
    expect(JSON.stringify(report)).not.toMatch(new RegExp(`${MARKER}(?!: expected no such)`));
    const jobs = await stack.queue('chat').getJobs(['waiting', 'prioritized']);
    expect(jobs.map(({ data }) => data)).toEqual(Array.from({ length }, () => expect.objectContaining(good)));
    await stack.queue('chat').drain();
  });

  test('is told to people the same way, line by line', async () => {
    const name = file('few.jsonl', [line({}), `${MARKER} no`, '', line({ createdAt: 'now' })].join('\n'));
    const told = await runCommand(['import', name], { environment: stack.environment, cwd: dir });
    expect([told.code, told.stdout]).toEqual([1, '1 of 3 lines queued, 2 bad\n']);
    expect(told.stderr).toMatch(/^line 2: expected JSON, received 14 characters.*\nline 4: .*createdAt: expected/m);
    await stack.queue('chat').drain();
  });
});

const plain = jsonl(turns('c', 2));

describe('a file that cannot be read', () => {
  test.each<[name: string, create: () => string, message: RegExp]>([
    ['a missing one', () => 'none', /cannot read .*none: .*ENOENT/],
    ['a folder', () => '.', /cannot read .*: .*it is a folder/],
    ['a path through a file', () => `${file('plain', plain)}/x`, /ENOTDIR/],
    ['a name too long', () => 'x'.repeat(300), /ENAMETOOLONG/],
    [
      'gzip that is none',
      () => file('no.gz', Buffer.from('\x1f\x8bno gzip at all', 'latin1')),
      /no\.gz: .*compression/,
    ],
    ['gzip of two bytes', () => file('two.gz', Buffer.from([0x1f, 0x8b])), /two\.gz: .*unexpected end of file/],
    ['gzip cut off', () => file('cut.gz', gzipSync(plain).subarray(0, -9)), /cut\.gz: .*unexpected end of file/],
    ['gzip with a wrong checksum', () => file('sum.gz', spoiled(gzipSync(plain))), /sum\.gz: .*incorrect data check/],
    ['gzip with more behind it', () => file('more.gz', Buffer.concat([gzipSync(plain), Buffer.from(plain)])), /header/],
  ])('%s is told in one line, and nothing is queued', async (_name, create, message) => {
    expect(await refusalOf(importing(create()))).toMatch(message);
  });

  test.each([
    ['an empty one', '', /--idempotency-prefix is not valid: expected at least 1 character/],
    [
      'one without room for a line number',
      MARKER.padEnd(491),
      /expected at most 490 characters, received a string of 491/,
    ],
    ['one with a NUL', `${MARKER}\0`, /expected text without NUL/],
  ])('a prefix, %s, is told before anything is queued', async (_name, prefix, message) => {
    expect(await refusalOf(importing(file('plain', plain), prefix))).toMatch(message);
  });

  test('says how many turns of a file that breaks off are queued', async () => {
    const lines = turns('c', 1200).map((each) => JSON.stringify({ ...each, id: crypto.randomUUID() }));
    const name = file('half.gz', gzipSync(lines.join('\n')).subarray(0, -100));
    await expect(importing(name)).rejects.toThrow('1000 turns queued by then');
    expect(await stack.queue('chat').getWaitingCount()).toBe(1000);
    await stack.queue('chat').drain();
  });

  /** The message of the refusal, which has stored nothing and leaves the door open. */
  async function refusalOf(work: Promise<unknown>): Promise<string> {
    const error = await work.then(
      () => null,
      (refusal: unknown) => refusal,
    );
    expect(error).toMatchObject({ code: 'invalid_input' });
    expect(inspect(error)).not.toContain(MARKER);
    expect((error as Error).message).not.toContain('\n');
    expect(await stack.queue('chat').getJobCountByTypes('waiting', 'failed')).toBe(0);
    expect(await importing(file('plain', plain))).toMatchObject({ queued: 2, failed: 0 });
    await stack.queue('chat').drain();
    return (error as Error).message;
  }

  /** The last byte of the checksum, before the length. */
  function spoiled(gzip: Buffer): Buffer {
    gzip.writeUInt8(gzip.readUInt8(gzip.length - 5) ^ 1, gzip.length - 5);
    return gzip;
  }
});

describe('a pipe', () => {
  test('into which nobody writes is left at SIGTERM', async () => {
    const pipe = path.join(dir, 'silent');
    spawnSync('mkfifo', [pipe]);
    const { process: child, ended } = startCli(['import', 'silent'], { environment: stack.environment, cwd: dir });
    const open = `/proc/${child.pid}/fd`;
    await eventually(() => readdirSync(open).some((fd) => target(path.join(open, fd)) === pipe));
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ code: 1, signal: null, stderr: expect.stringContaining('stopped; 0 turns') });
  });

  test('is read to its end', async () => {
    const pipe = path.join(dir, 'pipe');
    spawnSync('mkfifo', [pipe]);
    const reading = importing('pipe');
    await writeFile(pipe, gzipSync(plain));
    expect(await reading).toMatchObject({ lines: 2, queued: 2, failed: 0 });
    await stack.queue('chat').drain();
  });

  /** What a descriptor is open on; it may be closed meanwhile. */
  function target(descriptor: string): string | null {
    try {
      return readlinkSync(descriptor);
    } catch {
      return null;
    }
  }
});

describe('an import that is large in one way or another', () => {
  /** Says at its end how much memory the process had at most, in KiB. */
  const TELL = 'process.on("exit",()=>process.stderr.write(`rss ${process.resourceUsage().maxRSS}`))';
  const BOMB = { once: 10, times: 60 };
  /** Two thirds of it: a busy machine collects garbage late. */
  const LARGEST_KIB = 400 * 1024;

  async function measured(input: Buffer, nodeOptions: string[] = []) {
    const told = ['--import', `data:text/javascript,${encodeURIComponent(TELL)}`];
    const options = { environment: stack.environment, cwd: dir, input };
    const ended = await runCli(['import', '-', '--json'], { ...options, nodeOptions: [...told, ...nodeOptions] });
    return { ...ended, report: JSON.parse(ended.stdout), rss: Number(/rss (\d+)/.exec(ended.stderr)?.[1]) };
  }

  test('a gzip bomb is one line too long, and takes no more memory than a line may', async () => {
    const part = gzipSync(Buffer.alloc(BOMB.once * 1024 * 1024, 'x'));
    const bomb = Buffer.concat([
      gzipSync(plain),
      ...Array.from({ length: BOMB.times }, () => part),
      gzipSync(`\n${plain}`),
    ]);
    expect(bomb.length).toBeLessThan(1024 * 1024);
    const { report, rss } = await measured(bomb);
    const reason = expect.stringMatching(/^expected at most \d+ bytes, received a longer line$/);
    expect(report).toMatchObject({ lines: 5, queued: 4, failed: 1, failures: [{ line: 3, reason }] });
    expect(rss).toBeLessThan(LARGEST_KIB);
    await stack.queue('chat').drain();
  });

  test('two hundred thousand empty lines are nothing to do', async () => {
    expect(await importing(file('lines.gz', gzipSync('\n'.repeat(200_000))))).toEqual({
      lines: 0,
      queued: 0,
      failed: 0,
      failures: [],
      cached: null,
      reason: null,
    });
  });

  test('an empty file is nothing to do', async () => {
    expect(await importing(file('empty', ''))).toMatchObject({ lines: 0, queued: 0, failed: 0 });
  });

  test('the longest turns go in transactions that Redis and this process can hold', async () => {
    const longest = turn('c', 1, { userMessage: 'x'.repeat(TEXT_BYTES), assistantMessage: 'y'.repeat(TEXT_BYTES) });
    const count = (5 * TURNS_BYTES) / (2 * TEXT_BYTES) + 1;
    const input = gzipSync(`${JSON.stringify(longest)}\n`.repeat(count));
    const { report } = await measured(input, ['--max-old-space-size=112']);
    expect(report).toMatchObject({ lines: count, queued: count, failed: 0 });
    await stack.queue('chat').obliterate({ force: true });
  });
});
