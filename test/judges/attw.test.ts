import { expect, test } from '@jest/globals';
import { acceptedBy, disputes } from './support/accepted.ts';
import { packMnemoq } from './support/packed.ts';
import { npmProgram, run } from './support/programs.ts';

interface Verdict {
  analysis: {
    entrypoints: Record<string, unknown>;
    problems: { kind: string; entrypoint?: string; resolutionKind?: string }[];
  };
}

// "Are the types wrong?" resolves the package in every way that TypeScript knows, and compares types with code.
test('attw finds nothing about the types of the packed package but what is accepted', async () => {
  const { tarball, remove } = await packMnemoq();
  const { stdout } = await run(npmProgram('attw'), [tarball, '--format', 'json', '--profile', 'strict']);
  remove();
  const { entrypoints, problems } = (JSON.parse(stdout) as Verdict).analysis;
  expect(Object.keys(entrypoints)).toContain('.');
  const findings = problems.map(({ kind, entrypoint, resolutionKind }) =>
    [kind, entrypoint, resolutionKind].filter((part) => part !== undefined).join(' '),
  );
  expect(disputes(findings, acceptedBy('attw'))).toEqual([]);
});
