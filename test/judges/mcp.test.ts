import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type McpDoor, startMcpHttp } from '../../doors/mcp/http-door.ts';
import { startStack, type Stack } from '../support/services/stack.ts';
import { acceptedBy, disputes } from './support/accepted.ts';
import { npmProgram, run } from './support/programs.ts';

interface Check {
  id: string;
  status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO';
}

let stack: Stack;
let door: McpDoor;
let dir: string;
beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'mnemoq-mcp-conformance-'));
  stack = await startStack({ environment: { MEMORY_MCP_PORT: '0' } });
  // The suite sends no key. Without keys the server lets in this machine, and nobody else.
  const { MEMORY_API_KEYS: _keys, ...withoutKeys } = stack.environment;
  door = await startMcpHttp(withoutKeys, '1.0.0');
});
afterAll(async () => {
  await door.stop();
  await stack.stop();
  rmSync(dir, { recursive: true });
});

test('the MCP conformance suite fails where that is accepted, and nowhere else', async () => {
  const args = ['server', '--url', door.url, '--suite', 'all', '--output-dir', dir];
  const { stdout, stderr } = await run(npmProgram('conformance'), args, { cwd: dir, limitMs: 240_000 });
  // One folder for each scenario, with its name between `server-` and the time.
  const scenarios = readdirSync(dir).map((folder) => {
    const checks = JSON.parse(readFileSync(path.join(dir, folder, 'checks.json'), 'utf8')) as Check[];
    return { name: folder.replace(/^server-/, '').replace(/-\d{4}-\d{2}-\d{2}T.*$/, ''), checks };
  });
  const findings = scenarios.flatMap(({ name, checks }) =>
    checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING').map(({ id }) => `${name}: ${id}`),
  );
  expect([scenarios.length > 25, stdout + stderr]).toEqual([true, expect.any(String)]);
  const passed = scenarios.filter(({ checks }) => checks.some(({ status }) => status === 'SUCCESS'));
  expect(passed.map(({ name }) => name)).toEqual(expect.arrayContaining(['server-initialize', 'ping', 'tools-list']));
  expect(disputes(findings, acceptedBy('mcp'))).toEqual([]);
});
