import { InvalidArgumentError, Option } from 'commander';

/** Parses an option that is a whole number from 1 to `max`. */
export function wholeNumber(max = 999_999_999): (value: string) => number {
  return (value) => {
    if (/^[1-9]\d{0,8}$/.test(value) && Number(value) <= max) return Number(value);
    throw new InvalidArgumentError(`expected a whole number from 1 to ${max}`);
  };
}

// The options that several commands have. Each is made here, so that a letter means the same on all of them.

export function userOption(description = "only this user's records"): Option {
  return new Option('-u, --user <id>', description);
}

export function contextOption(description = 'only this conversation'): Option {
  return new Option('-c, --context <id>', description);
}

export function limitOption(description: string, max: number, fallback?: number): Option {
  const option = new Option('-l, --limit <count>', description).argParser(wholeNumber(max));
  return fallback === undefined ? option : option.default(fallback);
}

export function cursorOption(): Option {
  return new Option('--cursor <cursor>', 'the next page: the nextCursor of the one before');
}

/**
 * How long a command waits for the workers, in milliseconds. Without a number it waits `usual` ms; without the option it
 * does not wait, unless the call behind the command waits by itself.
 */
export function waitOption(description: string, usual = 30_000): Option {
  const option = new Option('-w, --wait [ms]', `${description}; without a number ${usual / 1_000} s`);
  return option.preset(String(usual)).argParser(wholeNumber(600_000));
}

export function fromOption(description = 'from this moment on, ISO 8601 with zone'): Option {
  return new Option('--from <moment>', description);
}

export function toOption(description = 'before this moment, ISO 8601 with zone'): Option {
  return new Option('--to <moment>', description);
}

export function jsonOption(description = 'print JSON'): Option {
  return new Option('--json', description);
}
