import { expect, test } from '@jest/globals';
import type { Command } from 'commander';
import { createProgram } from '../../cli/program.ts';

/** What each letter stands for. A letter that is not here may not be used, and none has two meanings. */
const LETTERS: Record<string, string> = {
  '-a': '--all',
  '-b': '--bucket',
  '-c': '--context',
  '-f': '--format',
  '-h': '--help',
  '-l': '--limit',
  '-m': '--module',
  '-n': '--dry-run',
  '-o': '--output',
  '-q': '--query',
  '-r': '--row',
  '-s': '--source',
  '-t': '--trusted-key',
  '-u': '--user',
  '-V': '--version',
  '-w': '--wait',
  '-y': '--yes',
  '-z': '--time-zone',
};
/** Flags that had other names before, each with the one word that is used now. */
const OLD_FLAGS: Record<string, string> = { '--user-id': '--user', '--since': '--from' };

function commandsOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(commandsOf)];
}
const options = commandsOf(createProgram()).flatMap((command) =>
  command.options.map(({ short, long, flags }) => ({ command: command.name(), short, long: long ?? '', flags })),
);

test('the options are found', () => {
  expect(options.length).toBeGreaterThan(60);
  expect(options).toContainEqual(expect.objectContaining({ command: 'reflect', long: '--user' }));
});

test('a letter stands for the same option on every command', () => {
  const wrong = options.filter(({ short, long }) => short && LETTERS[short] !== long);
  expect(wrong.map(({ command, flags }) => `${command} ${flags}`)).toEqual([]);
});

test('an option has its letter, or none, on every command alike', () => {
  const letters = Object.groupBy(options, ({ long }) => long);
  const uneven = Object.entries(letters).filter(([, those = []]) => new Set(those.map(({ short }) => short)).size > 1);
  expect(uneven.map(([long, those = []]) => `${long}: ${those.map(({ command }) => command).join(', ')}`)).toEqual([]);
});

test('no option has a name that was given up', () => {
  expect(options.filter(({ long }) => long in OLD_FLAGS).map(({ command, long }) => `${command} ${long}`)).toEqual([]);
});
