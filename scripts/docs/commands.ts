import type { Command, Option } from 'commander';
import { createProgram } from '../../cli/program.ts';
import { code, table } from './tables.ts';

/** Every command that does something, with the names of those it stands under. */
function everyCommand(command = createProgram(), above: readonly string[] = []): [string, Command][] {
  const path = [...above, command.name()];
  const inner = command.commands.flatMap((each) => everyCommand(each, path));
  return command.commands.length > 0 ? inner : [[path.join(' '), command]];
}

/** `mnemoq quarantine list` and the like, in the order of `mnemoq --help`. */
export function commandNames(): string[] {
  return everyCommand().map(([name]) => name);
}

/** The long flags of all commands. */
export function flagsOf(): Set<string> {
  const own = everyCommand().flatMap(([, { options }]) => options.map(({ long }) => long ?? ''));
  return new Set([...own, '--help', '--version']);
}

/** Each command with its arguments and options, as `--help` has them. */
export function commands(): string {
  return everyCommand()
    .map(([name, command]) => {
      const placeholders = command.registeredArguments.map((argument) => {
        const shown = `${argument.name()}${argument.variadic ? '...' : ''}`;
        return argument.required ? `<${shown}>` : `[${shown}]`;
      });
      const rows = [
        ...command.registeredArguments.map((argument, index) => [
          code(placeholders[index] ?? ''),
          withChoices(argument.description, argument.argChoices),
        ]),
        ...command.options.map((option) => [code(option.flags), meaningOf(option)]),
      ];
      const after = afterHelp(command).trim();
      return [
        `### ${code([name, ...placeholders].join(' '))}`,
        sentence(command.description()),
        ...(rows.length > 0 ? [table(['argument or option', 'meaning'], rows)] : []),
        ...(after === '' ? [] : [after.replaceAll(/<(\w+)>/g, '`$1`').replaceAll('\n', ' ')]),
      ].join('\n\n');
    })
    .join('\n\n');
}

function meaningOf(option: Option): string {
  const meaning = withChoices(option.description, option.argChoices);
  const fallback = option.defaultValueDescription ?? (option.defaultValue as string | number | undefined);
  return fallback === undefined ? meaning : `${meaning} (default: ${fallback})`;
}

function withChoices(meaning: string, choices: readonly string[] | undefined): string {
  return choices ? `${meaning}: ${choices.map(code).join(', ')}` : meaning;
}

function sentence(words: string): string {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}

/** What a command says under its options. Commander keeps such text only as a listener. */
function afterHelp(command: Command): string {
  let said = '';
  const listening = command as Command & { emit(event: 'afterHelp', context: object): boolean };
  listening.emit('afterHelp', { error: false, command, write: (text: string) => (said += text) });
  return said;
}
