/**
 * **shared/settings/**: the environment, which is read once, checked, and refused with a clear message. Nothing else in the
 * code looks at it.
 */
import { MnemoqError } from '../errors.ts';
import { describe } from '../validate.ts';
import { type Config, type Setting, VARIABLES } from './variables.ts';

/** A configuration in which these settings are certainly there. */
export type ConfigWith<K extends Setting> = Config & { [P in K]: NonNullable<Config[P]> };
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a process that enqueues and reads cannot do without. */
export const STORE_SETTINGS = ['redisUrl', 'supabaseUrl', 'supabaseServiceRoleKey'] as const;

/** One variable as it was found. */
interface Reading {
  setting: Setting;
  found: unknown;
  result: { success: true; data: unknown } | { success: false; data?: undefined };
}

/**
 * Reads and checks the whole environment, and that every setting in `needed` is there. What is needed may depend on what was
 * read; the setting of a wrong variable is missing there.
 * Throws `invalid_configuration` that names every wrong variable, what was expected and what was found.
 */
export function loadConfig<const K extends Setting>(
  environment: Environment,
  needed: readonly K[] | ((read: Partial<Config>) => readonly K[]),
): ConfigWith<K> {
  if (typeof environment !== 'object' || environment === null) {
    throw refusal([`the environment: expected an object of variables, found ${describe(environment)}`]);
  }
  const readings = (Object.keys(VARIABLES) as Setting[]).map((setting) => read(setting, environment));
  const config: Partial<Config> = Object.fromEntries(readings.map(({ setting, result }) => [setting, result.data]));
  const neededNow: readonly Setting[] = typeof needed === 'function' ? needed(config) : needed;
  const isMissing = ({ setting, result }: Reading) => result.data === undefined && neededNow.includes(setting);
  const problems = readings.filter((reading) => !reading.result.success || isMissing(reading)).map(problemOf);
  if (problems.length > 0) throw refusal(problems);
  return config as ConfigWith<K>;
}

function read(setting: Setting, environment: Environment): Reading {
  const { name, schema } = VARIABLES[setting];
  const given: unknown = environment[name]; // a string only for callers that check types
  const found = given === '' ? undefined : given;
  return { setting, found, result: schema.safeParse(found) };
}

function problemOf({ setting, found }: Reading): string {
  const { name, expected, secret } = VARIABLES[setting];
  return `${name}: expected ${expected}, found ${shown(found, secret)}`;
}

function shown(found: unknown, secret: boolean): string {
  if (found === undefined) return 'nothing';
  if (typeof found !== 'string') return `a value of type ${typeof found}`;
  if (secret) return `a value of ${found.length} characters`;
  return JSON.stringify(found.replace(/\/\/.*@/s, '//***@')); // a URL may carry a password
}

/** The error for a configuration that cannot be used. */
export function refusal(problems: readonly string[], cause?: unknown): MnemoqError {
  const message = `the configuration is not complete:\n  ${problems.join('\n  ')}`;
  return new MnemoqError('invalid_configuration', message, { cause });
}
