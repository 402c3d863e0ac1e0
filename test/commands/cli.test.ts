/**
 * **test/commands/**: the `mnemoq` command as a person or a script uses it, the scripts of `package.json`, the containers and
 * the examples. The calls behind the commands are tested in the folders of their subjects.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { computeCid } from '../../shared/pinning/ipfs.ts';
import { type Ended, runCli, startCli } from '../support/clients/cli.ts';
import { type CommandResult, runCommand } from '../support/clients/command.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { idsOf, turn, turns } from '../support/inputs/turns.ts';

const UNKNOWN_ID = '01a200c3-1fec-7624-8835-000000000000';
/** Every command with the arguments that make it print data as JSON; null where it prints none. */
const COMMANDS: Record<string, string[] | null> = {
  demo: null,
  dev: null,
  worker: null,
  api: null,
  mcp: null,
  dashboard: null,
  import: ['-', '--json'],
  context: ['someone', '--json'],
  conversations: ['--json'],
  search: ['something', '--json'],
  reflect: ['someone', 'a thought', '--json'],
  flush: ['--json'],
  stats: ['--json'],
  status: [UNKNOWN_ID, '--json'],
  inspect: [UNKNOWN_ID, '--json'],
  verify: ['bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy', '--json'],
  reflections: ['--json'],
  trace: [UNKNOWN_ID, '--json'],
  quarantine: ['list', '--json'],
  trends: ['--json'],
  export: null,
  knowledge: ['list', '--json'],
  restore: ['--json'],
  forget: ['--user', 'nobody', '--yes', '--json'],
  rekey: ['--dry-run', '--json'],
  doctor: ['--json'],
  manifest: null,
};

let stack: Stack;
let dir: string;
let cli: (args: readonly string[], environment?: Record<string, string>, input?: string) => Promise<CommandResult>;
/** As a process of its own, which has to end by itself. */
let cliProcess: (args: readonly string[], environment?: Record<string, string>) => Promise<Ended>;
beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-cli-'));
  stack = await startStack();
  await stack.startWorkers();
  const given = stack.environment;
  cli = (args, more = {}, input = '') => runCommand(args, { environment: { ...given, ...more }, cwd: dir, input });
  cliProcess = (args, more = {}) => runCli(args, { environment: { ...given, ...more }, cwd: dir, input: '' });
});
afterAll(async () => {
  await stack.stop();
  rmSync(dir, { recursive: true });
});

/** One JSON value and nothing else, no escape sequences, and no progress beside it. */
function json({ stdout, stderr }: Pick<CommandResult, 'stdout' | 'stderr'>): unknown {
  expect(stderr).toBe('');
  expect(stdout).not.toContain('\u001b');
  return JSON.parse(stdout);
}

describe('every command', () => {
  test('is in the help, and has help of its own', async () => {
    const { code, stdout } = await runCommand(['--help']);
    expect(code).toBe(0);
    const listed = [...stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name);
    expect(listed).toEqual([...Object.keys(COMMANDS), 'help']);
    expect(stdout).toMatch(/Exit codes: 0 done, 1 .*, 2 .*, 3 /);
    const more = ['quarantine list', 'quarantine retry', 'knowledge list', 'knowledge import'];
    for (const name of [...Object.keys(COMMANDS), ...more]) {
      const help = await runCommand([...name.split(' '), '--help']);
      expect(help).toEqual({ code: 0, stderr: '', stdout: expect.stringContaining(`Usage: mnemoq ${name}`) });
    }
    const help = await runCli(['stats', '--help']);
    expect(help).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('Usage: mnemoq stats') });
  });

  test('ends with 3 in bounded time when Redis is away, and says so once, without a stack', async () => {
    const away = {
      REDIS_URL: 'redis://127.0.0.1:1',
      MEMORY_REDIS_TIMEOUT_MS: '100',
      MEMORY_SUPABASE_TIMEOUT_MS: '100',
    };
    const asking = Object.entries(COMMANDS).filter(
      ([name, args]) => args && !['verify', 'reflections', 'trace', 'trends', 'knowledge', 'doctor'].includes(name),
    );
    const said = /^error: .*Redis.*\n→ mnemoq doctor .*\n$/;
    for (const [name, args] of asking) {
      const ended = await cli([name, ...(args ?? [])], away, name === 'import' ? JSON.stringify(turn('c', 1)) : '');
      expect([name, ended]).toEqual([name, { code: 3, stdout: '', stderr: expect.stringMatching(said) }]);
    }
    // And no connection that is still trying keeps the process.
    for (const args of [['stats', '--json'], ['flush']]) {
      const ended = await cliProcess(args, away);
      expect([args, ended]).toEqual([args, { code: 3, signal: null, stdout: '', stderr: expect.stringMatching(said) }]);
    }
  });

  test('ends with 2 when a setting is missing, naming it', async () => {
    for (const name of ['stats', 'doctor', 'dashboard', 'worker chat']) {
      const ended = await runCommand(name.split(' '), { cwd: dir });
      expect([name, ended.code]).toEqual([name, name === 'doctor' ? 1 : 2]);
      expect(ended.stdout + ended.stderr).toContain('REDIS_URL: expected a redis://');
    }
  });
});

test('data commands print what the memory holds, as JSON and nothing else', async () => {
  const contextId = stack.newContextId();
  const ids = idsOf(await stack.memory.saveChats(turns(contextId, 3)));
  await stack.idle('chat');
  const [id = ''] = ids;
  const page = json(await cliProcess(['context', contextId, '--limit', '2', '--json'])) as { nextCursor: string };
  expect(page).toMatchObject({ items: [{ id: ids[0] }, { id: ids[1] }], complete: true });
  const next = await cli(['context', contextId, '--limit', '2', '--cursor', page.nextCursor, '--json']);
  expect(json(next)).toMatchObject({ items: [{ id: ids[2] }], nextCursor: null, complete: true });
  expect(json(await cli(['context', contextId, '--recent', '2', '--json']))).toMatchObject({
    items: [{ id: ids[1] }, { id: ids[2] }],
  });
  expect(json(await cli(['context', contextId, '-f', 'messages', '--json']))).toMatchObject({ format: 'messages' });
  expect(json(await cli(['status', id, '--json']))).toMatchObject({ id, status: 'cached' });
  expect(json(await cliProcess(['flush', '--json']))).toMatchObject({ success: true, flushedCount: 3 });
  expect(json(await cli(['inspect', id, '--json']))).toMatchObject({ foundIn: 'supabase', record: { id } });
  expect(json(await cliProcess(['stats', '--json']))).toMatchObject({ status: 'ok', pendingQueueLength: 0 });
  expect(json(await cli(['quarantine', 'list', '--json']))).toEqual({ items: [], nextCursor: null, complete: true });
  expect(json(await cli(['doctor', '--json']))).toEqual({
    ok: true,
    checks: expect.arrayContaining([{ name: 'Redis AOF', ok: true, detail: 'on', mend: null }]),
  });
});

test('conversations are listed by their ids, page by page, those of one user or of everybody', async () => {
  const prefix = `${stack.newContextId()}-`;
  const saved = ['a', 'b', 'c'].map((end, n) => turn(`${prefix}${end}`, 1, { userId: n === 1 ? 'ben' : 'ann' }));
  await stack.memory.saveChats(saved, { wait: true });
  const ask = async (...args: string[]) => cli(['conversations', '--prefix', prefix, ...args]);
  const page = json(await ask('--limit', '2', '--json')) as { nextCursor: string };
  expect(page).toMatchObject({ items: [{ contextId: `${prefix}a` }, { contextId: `${prefix}b` }], complete: true });
  const next = json(await ask('--cursor', page.nextCursor, '--json'));
  expect(next).toEqual({
    items: [{ contextId: `${prefix}c`, lastCreatedAt: null }],
    nextCursor: null,
    complete: true,
  });
  expect(json(await ask('--user', 'ben', '--json'))).toMatchObject({ items: [{ contextId: `${prefix}b` }] });
  const { code, stdout, stderr } = await ask('--limit', '1');
  expect([code, stdout]).toEqual([0, expect.stringContaining(`${prefix}a  not committed yet`)]);
  expect(stderr).toBe(`more with --cursor ${prefix}a\n`);
});

test('a user of a read is the only one who is there', async () => {
  const contextId = stack.newContextId();
  const saved = ['ann', 'ben'].map((userId, n) => turn(contextId, n, { userId }));
  const [ann = '', ben = ''] = idsOf(await stack.memory.saveChats(saved, { wait: true }));
  expect(json(await cli(['context', contextId, '--user', 'ben', '--json']))).toMatchObject({ items: [{ id: ben }] });
  const recent = await cli(['context', contextId, '--recent', '9', '--user', 'ann', '--json']);
  expect(json(recent)).toMatchObject({ items: [{ id: ann }] });
  for (const command of ['status', 'inspect']) {
    expect(await cli([command, ann, '--user', 'ann', '--json'])).toMatchObject({ code: 0, stderr: '' });
    expect(await cli([command, ann, '--user', 'ben', '--json'])).toMatchObject({ code: 1, stdout: '' });
  }
  const input = { contextId, userId: 'ann', reflectionText: 'a thought' };
  const { cid } = await stack.memory.saveReflection(input, { wait: true });
  expect(await cli(['verify', cid ?? '', '--user', 'ann'])).toMatchObject({ code: 0 });
  expect(await cli(['verify', cid ?? '', '--user', 'ben'])).toMatchObject({ code: 1, stdout: '' });
});

test('with Supabase away a conversation is refused, and with --allow-partial what Redis has is given', async () => {
  const contextId = stack.newContextId();
  await stack.memory.saveChat(turn(contextId, 1), { wait: true });
  await stack.memory.flushRedisToSupabase();
  await stack.client.del(`memory:conversation:${contextId}`, `memory:order:${contextId}`); // as after its time to live
  await stack.memory.saveChat(turn(contextId, 2), { wait: true });
  stack.proxy.fault = () => ({ status: 503 });
  const whole = await cli(['context', contextId, '--json']);
  const partial = await cli(['context', contextId, '--allow-partial', '--json']);
  stack.proxy.fault = () => null;
  expect(whole).toMatchObject({ code: 3, stdout: '' });
  expect(json(partial)).toMatchObject({ items: [{ userMessage: 'question 2' }], complete: false });
});

test('what was stored commands no terminal, and comes whole as JSON', async () => {
  const contextId = stack.newContextId();
  const userMessage = 'a\u001b]52;c;cm0gLXJm\u0007b\u009b2Jc\r\td\n\u001b[8me';
  await stack.memory.saveChat(turn(contextId, 1, { userMessage, assistantMessage: '再見' }), { wait: true });
  const { stdout } = await cli(['context', contextId]);
  expect(stdout).toContain('user a\\u001b]52;c;cm0gLXJm\\u0007b\\u009b2Jc\\u000d\td\n\\u001b[8me\nassistant 再見\n');
  const recent = await cli(['context', contextId, '--recent', '1', '--json']);
  expect(recent.stdout).not.toMatch(/[\u0080-\u009f]/);
  expect(JSON.parse(recent.stdout).items[0].userMessage).toBe(userMessage);
});

test('a reflection from standard input is pinned, and verify follows it', async () => {
  const contextId = stack.newContextId();
  const receipt = json(await cli(['reflect', contextId, '--wait', '--json'], {}, 'It went well.\n')) as { cid: string };
  const verified = await cli(['verify', receipt.cid, '--json']);
  expect([verified.code, json(verified)]).toMatchObject([0, { ok: true, cid: receipt.cid }]);
  const [record] = (await stack.memory.getMemoryContext(contextId)).items;
  expect(record).toMatchObject({ text: 'It went well.', cid: receipt.cid });
  const unknown = await cli(['verify', await computeCid(Buffer.from(contextId)), '--json']);
  expect([unknown.code, json(unknown)]).toMatchObject([1, { ok: false }]);
});

test('a command that saves returns when the record is queued, and with --wait no later than it says', async () => {
  const contextId = stack.newContextId();
  await stack.queue('reflection').pause();
  const queued = json(await cli(['reflect', contextId, 'a thought', '--json']));
  expect(queued).toMatchObject({ success: true, contextId, cid: null, note: 'queued' });
  const waited = json(await cli(['reflect', contextId, 'another', '--wait', '50', '--json']));
  expect(waited).toMatchObject({ cid: null, note: 'queued; not seen pinned within 50 ms, it will be' });
  await stack.queue('reflection').resume();
  await stack.queue('chat').pause();
  const line = JSON.stringify(turn(contextId, 1));
  const late = await cli(['import', '-', '--wait', '50', '--json'], {}, line);
  const reason = 'not every turn was cached within 50 ms; they will be';
  expect([late.code, json(late)]).toMatchObject([1, { queued: 1, cached: false, reason }]);
  await stack.queue('chat').resume();
  await Promise.all([stack.idle('chat'), stack.idle('reflection')]);
});

test('a refused record is listed, refused again with 1, and committed with 0 when it is mended', async () => {
  const id = '01a200c3-1fec-7624-8835-6a9eafcae999';
  const tokens = { encoding: 'cl100k_base', user: [6151], assistant: [15339] };
  const row = {
    id,
    user_id: 'u',
    context_id: stack.newContextId(),
    tokens,
    text_cache: null,
    module: 'chat',
    cid: null,
    created_at: '2026-01-01T00:00:00.000Z',
  };
  const bad = { ...row, tokens: { ...tokens, more: '\0' } };
  const job = { row: bad, error: { code: '22P05', message: 'unsupported Unicode escape sequence' } };
  await stack.queue('quarantine').add('quarantine', job, { jobId: id });
  await stack.idle('quarantine');
  expect(json(await cli(['quarantine', 'list', '--json']))).toMatchObject({ items: [{ id, supabaseCode: '22P05' }] });
  const again = await cli(['quarantine', 'retry', '--json']);
  expect([again.code, json(again)]).toMatchObject([1, { items: [{ id, committed: false }] }]);
  writeFileSync(path.join(dir, 'row.json'), JSON.stringify(row));
  const mended = await cli(['quarantine', 'retry', id, '--row', 'row.json', '--json']);
  expect([mended.code, json(mended)]).toMatchObject([0, { items: [{ id, committed: true, reason: null }] }]);
});

test('what people read goes to standard output, what is said about it to standard error, both without colours', async () => {
  const contextId = stack.newContextId();
  await stack.memory.saveChat(turn(contextId, 1), { wait: true });
  const { code, stdout, stderr } = await cli(['context', contextId]);
  expect([code, stderr]).toEqual([0, '1 record\n']);
  expect(stdout).toMatch(/^\S+Z {2}\S+ {2}chat {2}\d+ tokens\nuser question 1\nassistant answer 1\n$/);
  expect((await cliProcess(['stats'], { FORCE_COLOR: '1', CI: 'true' })).stdout).not.toContain('\u001b');
});

test('a reader that has seen enough ends it quietly', async () => {
  const contextId = stack.newContextId();
  await stack.memory.saveChats(turns(contextId, 1000).map((each) => ({ ...each, userMessage: 'x'.repeat(300) })));
  await stack.idle('chat');
  const args = ['context', contextId, '--limit', '1000'];
  const { process: child, ended } = startCli(args, { environment: stack.environment, cwd: dir });
  child.stdout?.once('data', () => child.stdout?.destroy());
  // What is said about the page may be out before the end of the reader is noticed; no error may be.
  const { code, stderr } = await ended;
  expect([code, stderr]).toEqual([0, expect.stringMatching(/^(1000 records\nmore with --cursor \S+\n)?$/)]);
});
