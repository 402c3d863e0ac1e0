import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Command } from 'commander';
import { v7 as uuidv7 } from 'uuid';
import { contextCommand } from '../../cli/commands/reading/context.ts';
import { conversationsCommand } from '../../cli/commands/reading/conversations.ts';
import { dashboardCommand } from '../../cli/commands/running/dashboard.ts';
import { demoCommand } from '../../cli/commands/running/demo.ts';
import { devCommand } from '../../cli/commands/running/dev.ts';
import { doctorCommand } from '../../cli/commands/running/doctor/doctor.ts';
import { flushCommand } from '../../cli/commands/saving/flush.ts';
import { importCommand } from '../../cli/commands/saving/import.ts';
import { inspectCommand } from '../../cli/commands/reading/inspect.ts';
import { quarantineCommand } from '../../cli/commands/saving/quarantine.ts';
import { reflectCommand } from '../../cli/commands/saving/reflect.ts';
import { statsCommand } from '../../cli/commands/running/stats.ts';
import { statusCommand } from '../../cli/commands/reading/status.ts';
import { verifyCommand } from '../../cli/commands/reflections/verify.ts';
import { workerCommand } from '../../cli/commands/running/worker.ts';
import { TEXT_BYTES } from '../../shared/records/jobs.ts';
import { MARKER } from '../support/inputs/bad-values.ts';
import { runCli } from '../support/clients/cli.ts';
import { runCommand } from '../support/clients/command.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const UNKNOWN_ID = '01a200c3-1fec-7624-8835-000000000000';

let stack: Stack;
let dir: string;
beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-bad-commands-'));
  stack = await startStack();
});
afterAll(async () => {
  await stack.stop();
  rmSync(dir, { recursive: true });
});

const numbers = (option: string, most: number) =>
  ['0', '-1', '1.5', '1e3', '0x10', 'many', '', ' 5', '５', 'NaN', 'Infinity', String(most + 1), '9'.repeat(400)].map(
    (value): [string[], RegExp] => [[`${option}=${value}`], new RegExp(`expected a whole number from 1 to ${most}`)],
  );

/** What is refused while the words of a command are read, before it does anything. */
const USAGE: [create: () => Command, cases: [args: string[], message: RegExp][]][] = [
  [
    contextCommand,
    [
      [[], /missing required argument 'context'/],
      [['c', 'd'], /too many arguments/],
      ...numbers('--recent', 1000).map(([args, message]): [string[], RegExp] => [['c', ...args], message]),
      ...numbers('--max-tokens', 999_999_999).map(([args, message]): [string[], RegExp] => [['c', ...args], message]),
      [['c', '--recent'], /argument missing/],
      [['c', '-f', 'yaml'], /Allowed choices are turns, messages, tokens/],
      [['c', '-f', 'constructor'], /Allowed choices/],
      ...numbers('--limit', 1000).map(([args, message]): [string[], RegExp] => [['c', ...args], message]),
      [['c', '--cursor=x', '--recent=1'], /--cursor and --limit go without --recent, --max-tokens and --format/],
      [['c', '--limit=1', '-f', 'turns'], /--cursor and --limit go without/],
      [['c', '--page=2'], /unknown option '--page=2'/],
    ],
  ],
  [
    conversationsCommand,
    [
      [['c'], /too many arguments/],
      [['--prefix'], /argument missing/],
      [['--cursor'], /argument missing/],
      [['--unknown'], /unknown option '--unknown'/],
      ...numbers('--limit', 1000),
    ],
  ],
  [flushCommand, [[['now'], /too many/], ...numbers('--batch-size', 1000), ...numbers('--wait', 600_000)]],
  [
    reflectCommand,
    [
      [[], /missing required argument 'context'/],
      [['c', MARKER, 'more'], /expected the text in quotes, as one argument; received 2/],
      [['c', '-s'], /argument missing/],
      ...numbers('--wait', 600_000).map(([args, message]): [string[], RegExp] => [['c', MARKER, ...args], message]),
    ],
  ],
  [
    importCommand,
    [
      [[], /missing required argument 'file'/],
      [['a', 'b'], /too many/],
      [['a', '--idempotency-prefix'], /argument missing/],
      ...numbers('--wait', 600_000).map(([args, message]): [string[], RegExp] => [['a', ...args], message]),
    ],
  ],
  [
    workerCommand,
    [
      [[], /missing required argument 'kind'/],
      [['tea'], /chat, reflection, flush/],
      [['chat', 'flush'], /too many/],
    ],
  ],
  [
    quarantineCommand,
    [
      [['lost'], /unknown command 'lost'/],
      [['list', 'x'], /too many/],
      [['retry', '-r'], /argument missing/],
      ...numbers('--wait', 600_000).map(([args, message]): [string[], RegExp] => [['retry', ...args], message]),
    ],
  ],
  [
    statusCommand,
    [
      [[], /missing required argument 'id'/],
      [['a', 'b'], /too many/],
    ],
  ],
  [
    inspectCommand,
    [
      [[], /missing required argument 'id'/],
      [['a', 'b'], /too many/],
    ],
  ],
  [
    verifyCommand,
    [
      [[], /expected a CID or --all/],
      [['a', '--all'], /expected a CID or --all/],
      [['a', '--context=x'], /--context goes with --all/],
      [['a', 'b'], /too many/],
    ],
  ],
  [
    statsCommand,
    [
      [['x'], /too many/],
      [['--nonsense'], /unknown option '--nonsense'/],
    ],
  ],
  [
    doctorCommand,
    [
      [['x'], /too many/],
      [['--nonsense'], /unknown option/],
    ],
  ],
  [
    demoCommand,
    [
      [['x'], /too many/],
      [['--nonsense'], /unknown option/],
    ],
  ],
  [
    devCommand,
    [
      [['x'], /too many/],
      [['--nonsense'], /unknown option/],
    ],
  ],
  [
    dashboardCommand,
    [
      [['x'], /too many/],
      [['--port=1'], /unknown option/],
    ],
  ],
];
const usageCases = USAGE.flatMap(([create, cases]) =>
  cases.map(([args, message]) => ({
    create,
    name: create().name(),
    args: args.join(' ').slice(0, 40),
    given: args,
    message,
  })),
);

test.each(usageCases)('$name $args: is refused as it is read', async ({ create, given, message }) => {
  const command = create();
  let said = '';
  for (const each of [command, ...command.commands])
    each.exitOverride().configureOutput({ writeErr: (text) => (said += text), writeOut: (text) => (said += text) });
  await expect(command.parseAsync(given, { from: 'user' })).rejects.toThrow(expect.objectContaining({ exitCode: 1 }));
  expect(said).toMatch(message);
  expect(said).not.toContain(MARKER);
});

test.each([
  ['an unknown command', ['nonsense'], 2, /unknown command 'nonsense'/],
  ['no command', [], 2, /Usage: mnemoq/],
  ['an id that is none', ['status', 'abc'], 2, /expected a UUID/],
  ['a CID that is none', ['verify', 'abc'], 2, /expected a CID/],
  ['an empty reflection', ['reflect', 'c'], 2, /reflectionText: expected at least 1 character/],
  ['a row for all', ['quarantine', 'retry', '--row', 'x'], 2, /exactly one id/],
  [
    'a row that is no file',
    ['quarantine', 'retry', UNKNOWN_ID, '--row', 'x'],
    2,
    /expected a file with one JSON object/,
  ],
  ['an id with a filter', ['inspect', `${UNKNOWN_ID}),or(id.gt.0`], 2, /expected a UUID/],
  ['an id too long', ['context', 'x'.repeat(513)], 2, /contextId is not valid: expected at most 512 characters/],
  ['no id', ['context', ''], 2, /contextId is not valid: expected at least 1 character, received an empty string/],
  ['a source that is none', ['reflect', 'c', MARKER, '-s', 'x'], 2, /sourceIds\.0: expected a UUID/],
  ['a row that is a folder', ['quarantine', 'retry', UNKNOWN_ID, '--row', '.'], 2, /one JSON object/],
  [
    'a row that is a text',
    ['quarantine', 'retry', UNKNOWN_ID, '--row', 'text.json'],
    2,
    /expected an object, received a string/,
  ],
  ['a row that is cut off', ['quarantine', 'retry', UNKNOWN_ID, '--row', 'cut.json'], 2, /one JSON object/],
  ['a cursor that is none', ['context', 'c', '--cursor', 'x'], 2, /cursor/],
  ['a prefix too long', ['conversations', '--prefix', 'x'.repeat(513)], 2, /prefix: expected at most 512 characters/],
  ['a reflection before it that is none', ['trace', UNKNOWN_ID, '--cursor', 'x'], 2, /cursor: expected a CID/],
  ['an unknown record', ['status', UNKNOWN_ID], 1, /no record with id/],
  ['an unknown record to inspect', ['inspect', UNKNOWN_ID], 1, /no record with id/],
  ['nothing quarantined by that id', ['quarantine', 'retry', UNKNOWN_ID], 1, /in quarantine/],
])('%s: says so on standard error, with its exit code', async (_name, args, code, message) => {
  writeFileSync(path.join(dir, 'text.json'), JSON.stringify(MARKER));
  writeFileSync(path.join(dir, 'cut.json'), `{"text_cache":"${MARKER}`);
  const ended = await runCommand(args, { environment: stack.environment, cwd: dir, input: '' });
  expect(ended).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(message) });
  expect(ended.stderr).not.toMatch(/\n\s+at /);
  expect(ended.stderr).not.toContain(MARKER);
});

test('a process of its own says the same: nothing on standard output, one line on standard error, and its exit code', async () => {
  const ended = await runCli(['status', 'abc'], { environment: stack.environment, cwd: dir, input: '' });
  expect(ended).toMatchObject({
    code: 2,
    signal: null,
    stdout: '',
    stderr: expect.stringMatching(/^error: .*UUID.*\n$/),
  });
});

test('a reflection of standard input that never ends is refused as soon as it is too long', async () => {
  const input = Buffer.alloc(20 * TEXT_BYTES, MARKER);
  const ended = await runCli(['reflect', 'c'], { environment: stack.environment, cwd: dir, input });
  expect(ended).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringMatching(/^error: .*reflectionText: expected at most 2097152 bytes.*\n$/),
  });
  expect(await stack.queue('reflection').getJobCountByTypes('waiting')).toBe(0);
});

test('a malformed job in quarantine keeps no other from its retry', async () => {
  await stack.startWorkers('flush');
  const id = uuidv7();
  const row = {
    id,
    user_id: 'u',
    context_id: stack.newContextId(),
    tokens: { encoding: 'cl100k_base', user: [6151], assistant: [15339] },
    text_cache: null,
    module: 'chat',
    cid: null,
    created_at: '2026-01-01T00:00:00.000Z',
  };
  const queue = stack.queue('quarantine');
  await queue.add('quarantine', { row: MARKER }); // an id of BullMQ's own
  await queue.add('quarantine', { row: { ...row, id: UNKNOWN_ID, tokens: {} } }, { jobId: UNKNOWN_ID });
  await queue.add('quarantine', { row, error: { code: '23514', message: 'a check' } }, { jobId: id });
  await stack.idle('quarantine');
  const { code, stdout } = await runCommand(['quarantine', 'retry', '--json'], {
    environment: stack.environment,
    cwd: dir,
  });
  const { items: results } = JSON.parse(stdout) as { items: { id: string; committed: boolean }[] };
  expect([code, results.map(({ committed }) => committed)]).toEqual([1, [false, false, true]]);
  expect(stdout).not.toContain(MARKER);

  writeFileSync(path.join(dir, 'row.json'), `\uFEFF${JSON.stringify({ ...row, id: UNKNOWN_ID })}`);
  const args = ['quarantine', 'retry', UNKNOWN_ID, '--row', 'row.json', '--json'];
  const mended = await runCommand(args, { environment: stack.environment, cwd: dir });
  expect([mended.code, JSON.parse(mended.stdout)]).toMatchObject([
    0,
    { items: [{ id: UNKNOWN_ID, committed: true, reason: null }] },
  ]);
});
