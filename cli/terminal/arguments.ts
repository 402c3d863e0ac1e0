import { InvalidArgumentError } from 'commander';

/** Parses an option that is a whole number from 1 to `max`. */
export function wholeNumber(max = 999_999_999): (value: string) => number {
  return (value) => {
    if (/^[1-9]\d{0,8}$/.test(value) && Number(value) <= max) return Number(value);
    throw new InvalidArgumentError(`expected a whole number from 1 to ${max}`);
  };
}
