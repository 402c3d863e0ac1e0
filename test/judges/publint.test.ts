/**
 * **test/judges/**: programs of others that judge Mnemoq; `npm run judges` runs them. What Mnemoq promises by itself is tested
 * in the other folders.
 */
import { expect, test } from '@jest/globals';
import { acceptedBy, disputes } from './support/accepted.ts';
import { packMnemoq } from './support/packed.ts';
import { npmProgram, run } from './support/programs.ts';

// publint looks at the manifest of a package and at the files it names: are they there, and are they what they are said to be?
test('publint finds nothing about the packed package', async () => {
  const { tarball, remove } = await packMnemoq();
  const { code, stdout, stderr } = await run(npmProgram('publint'), ['run', tarball]);
  remove();
  expect([stderr, stdout]).toEqual(['', expect.stringMatching(/^Running publint v.* for /)]);
  const findings = stdout.split('\n').flatMap((line) => /^\d+\. (.+)$/.exec(line)?.slice(1) ?? []);
  expect(disputes(findings, acceptedBy('publint'))).toEqual([]);
  expect([code, stdout.includes('All good!')]).toEqual([0, findings.length === 0]);
});
