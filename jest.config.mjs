import { patient } from './test/support/faults/eventually.ts';

/** TypeScript is only stripped of its types, by Node itself, so that tests run the very lines that are in the sources. */
export default {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': './test/support/strip-types.mjs' },
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  // The long ones have a configuration of their own and run with `npm run test:deep`.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/deep/'],
  globalSetup: './test/support/services/services.ts',
  globalTeardown: './test/support/services/services-down.ts',
  // Real parts on two cores: two files at once, each with a Redis of its own.
  maxWorkers: 2,
  // Of tests and hooks alike; longer than any wait inside them, which says better what did not happen.
  testTimeout: patient(300_000),
};
