import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { parse as parseDotenv } from 'dotenv';
import { messageOf } from '../errors.ts';
import { type Environment, refusal } from './config.ts';
import { VARIABLE_NAMES } from './variables.ts';

/** Where `mnemoq dev` leaves the addresses and keys of its embedded parts while it runs. */
export function devEnvironmentFile(dataDir: string): string {
  return path.join(dataDir, 'dev.env');
}

/** The environment of the process over `.env` over what a running `mnemoq dev` has left in the data folder. */
export function readEnvironment(): Environment {
  const dotenv = readEnvironmentFile('.env');
  const dataDir = process.env['MNEMOQ_DATA_DIR'] || dotenv['MNEMOQ_DATA_DIR'] || '.mnemoq';
  // An empty value is an unset one, also in a file: it hides no value of a layer below.
  const layers = [readEnvironmentFile(devEnvironmentFile(dataDir)), dotenv, process.env];
  return Object.fromEntries(layers.flatMap((layer) => Object.entries(layer).filter(([, value]) => value)));
}

/** A folder of that name is not Mnemoq's: some people keep a Python environment in `.env`. */
function readEnvironmentFile(file: string): Record<string, string> {
  const about = statSync(file, { throwIfNoEntry: false });
  if (!about || about.isDirectory()) return {};
  const content = contentOf(file);
  const settings = parseDotenv(content);
  const line = straySetting(content, settings);
  if (line !== null) throw refusal([`${file}, line ${line}: expected NAME=value in UTF-8, found something else`]);
  return settings;
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw refusal([`${file}: expected a file that can be read, found ${messageOf(error)}`], error);
  }
}

/**
 * The number of the first line that dotenv passes over in silence although it begins with one of our variables, or that is
 * not even text (some Windows shells write UTF-16). Lines about other variables do not concern us.
 */
function straySetting(content: string, settings: Readonly<Record<string, string>>): number | null {
  const missed = new Set<string>(Object.values(VARIABLE_NAMES).filter((name) => !(name in settings)));
  const isStray = (line: string) =>
    /[\0\uFFFD]/.test(line) || missed.has(/^[^\w#]*(?:export\s+)?(\w+)/.exec(line)?.[1] ?? '');
  const index = content.split(/\r\n?|\n/).findIndex(isStray);
  return index === -1 ? null : index + 1;
}
