import { TestEnvironment } from 'jest-environment-node';

/** Jest's own environment, which also marks errors of hooks: a test whose parts did not start has found nothing. */
export default class MutantEnvironment extends TestEnvironment {
  handleTestEvent({ name, error }) {
    if (name === 'hook_failure' && typeof error === 'object' && error !== null)
      error.stack = `HOOK FAILED: ${error.stack}`;
  }
}
