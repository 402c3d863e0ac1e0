import { patient } from './test/support/faults/eventually.ts';

/** TypeScript is only stripped of its types, by Node itself, so that tests run the very lines that are in the sources. */
export default {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': './test/support/strip-types.mjs' },
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  // The long ones and the judges have a configuration of their own: `npm run test:deep`, `npm run judges`.
  testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/deep/', '<rootDir>/test/judges/'],
  // The judges' own packages: hundreds of megabytes that no test imports.
  modulePathIgnorePatterns: ['<rootDir>/test/judges/(js-ipfs/)?node_modules/'],
  globalSetup: './test/support/services/services.ts',
  globalTeardown: './test/support/services/services-down.ts',
  // Real parts on two cores: two files at once, each with a Redis of its own.
  maxWorkers: 2,
  // Of tests and hooks alike; longer than any wait inside them, which says better what did not happen.
  testTimeout: patient(300_000),
};
