/** How a test run has ended. */
export type Verdict =
  | { kind: 'green' }
  /** A test has run and found something wrong. */
  | { kind: 'red'; reason: string }
  /** It did not end in time. */
  | { kind: 'hung' }
  /** No test came so far that it could find anything. This says nothing about the code. */
  | { kind: 'broken'; reason: string };

/** The part of the output of `jest --json` that is needed here. */
export interface JestReport {
  numPassedTests: number;
  testResults: {
    message: string;
    assertionResults: { status: string; failureMessages: string[] }[];
  }[];
}

/** The mark that environment.mjs puts before an error of a hook. */
const HOOK_FAILED = 'HOOK FAILED: ';

/** Tells a test that found something from one that never began, because its file does not load or its parts do not start. */
export function judge(report: JestReport | null): Verdict {
  if (!report) return { kind: 'broken', reason: 'jest wrote no report' };
  const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
  const failed = results.filter(({ status }) => status === 'failed');
  if (failed.length === 0) {
    const message = report.testResults.map(({ message }) => message).join('\n');
    if (report.numPassedTests > 0 && message === '') return { kind: 'green' };
    return { kind: 'broken', reason: firstLine(message) || 'no test ran' };
  }
  const messages = failed.map(({ failureMessages }) => failureMessages.join('\n'));
  const found = messages.filter((message) => !message.includes(HOOK_FAILED));
  if (found.length === 0) return { kind: 'broken', reason: innermost(messages[0] ?? '') };
  if (found.every((message) => message.includes('Exceeded timeout of'))) return { kind: 'hung' };
  return { kind: 'red', reason: innermost(found[0] ?? '') };
}

/** Returns the last error of a message. A failure of the model quotes the error that it is about after the one of the test. */
function innermost(message: string): string {
  const errors = message.split('\n').filter((line) => /\bError: /.test(line));
  return (errors.at(-1) ?? firstLine(message)).replace(/^[+\s]+/, '');
}

function firstLine(message: string): string {
  return message.split('\n').find((line) => line.trim() !== '') ?? '';
}
