/**
 * **test/judges/support/**: what several judges need: the packed package, programs to fetch, and findings that are accepted.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse as parseYaml } from 'yaml';

const FOLDER = path.join(import.meta.dirname, '../accepted');

/** What a judge finds and we have decided to live with: each finding with the reason. */
export type Accepted = Readonly<Record<string, string>>;

/** The file `accepted/<judge>.yml`; a judge that has none is to find nothing. */
export function acceptedBy(judge: string): Accepted {
  const file = path.join(FOLDER, `${judge}.yml`);
  return existsSync(file) ? ((parseYaml(readFileSync(file, 'utf8')) ?? {}) as Accepted) : {};
}

/**
 * What is wrong between the findings and the accepted ones, one line each: a finding that nobody accepted, and an accepted
 * one that the judge does not find any more, whose line would hide it when it comes back.
 */
export function disputes(findings: readonly string[], accepted: Accepted): string[] {
  const found = new Set(findings);
  return [
    ...[...found].filter((finding) => !Object.hasOwn(accepted, finding)).map((finding) => `found: ${finding}`),
    ...Object.keys(accepted)
      .filter((finding) => !found.has(finding))
      .map((finding) => `accepted, but not found any more: ${finding}`),
  ];
}
