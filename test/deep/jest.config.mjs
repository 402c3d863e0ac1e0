import base from '../../jest.config.mjs';

/** The long tests and the judges (`npm run test:deep`, `npm run judges`): as in `npm test`, but one file at a time. */
export default {
  ...base,
  rootDir: '../..',
  testMatch: ['<rootDir>/test/{deep,judges}/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  maxWorkers: 1,
};
