import base from '../../jest.config.mjs';

/** The long tests, which `npm run test:deep` runs: as in `npm test`, but one file at a time. */
export default {
  ...base,
  rootDir: '../..',
  testMatch: ['<rootDir>/test/deep/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  maxWorkers: 1,
};
