import path from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { runCli } from '../support/clients/cli.ts';
import { startStack, type Stack } from '../support/services/stack.ts';

const SAVER = path.join(import.meta.dirname, '../support/clients/waiting-saver.ts');

let stack: Stack;
beforeEach(async () => {
  stack = await startStack();
});
afterEach(() => stack.stop());

// What asks for a job's end may itself get an error, as when Redis does not answer in time: nobody must be left to catch it.
test.each([
  ['is answered', false],
  ['gets an error', true],
])('a save that is waited for does not end its process when the question for its end %s', async (_how, broken) => {
  if (broken) await stack.client.set('bull:chat:completed', 'of a type that cannot be asked');
  const ended = await runCli([stack.newContextId()], { main: SAVER, environment: stack.environment });
  expect(ended).toMatchObject({ code: 0 });
  expect(await stack.queue('chat').getWaitingCount()).toBe(1);
});
