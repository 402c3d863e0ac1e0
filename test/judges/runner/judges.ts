import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Form } from '../../deep/runner/forms.ts';
import { chromium, debianPackage, type Need, npmPackages } from './needs.ts';

/** A program of others that judges Mnemoq, and the test file that lets it. It is run like a long form of the tests. */
export interface Judge extends Form {
  /** Who judges, with the version: what is pinned in a package.json here, or what the distribution has. */
  who: string;
  needs: readonly Need[];
}

const FOLDER = path.join(import.meta.dirname, '..');
const PACKAGES = npmPackages('test/judges');
const JS_IPFS = npmPackages('test/judges/js-ipfs');

/** Every judge, the quickest first. Each file `test/judges/*.test.ts` belongs to exactly one; `test/house/judges.test.ts` looks after that. */
export const JUDGES: readonly Judge[] = [
  judge('publint', 'the packed package: what its manifest names is there, and is what it is said to be', {
    who: pinned('publint'),
    needs: [PACKAGES],
  }),
  judge('attw', 'the types of the packed package, in every way in which TypeScript finds them', {
    who: pinned('@arethetypeswrong/cli'),
    needs: [PACKAGES],
  }),
  judge('bullmq-5', 'jobs of a producer with the BullMQ before ours are taken by our workers', {
    who: pinned('bullmq'),
    needs: [PACKAGES],
  }),
  judge(
    'supabase',
    'the schema: supabase db push on a database like a hosted one, and what supabase db advisors says',
    {
      who: pinned('supabase'),
      needs: [PACKAGES],
    },
  ),
  judge('plpgsql-check', 'the functions of the schema, with supabase db lint', {
    who: `plpgsql_check of the distribution, ${pinned('supabase')}`,
    needs: [PACKAGES, debianPackage('plpgsql_check')],
  }),
  judge('pgtap', 'who may read and write which rows and columns, and who may call what, asked in SQL', {
    who: 'pgTAP of the distribution',
    needs: [debianPackage('pgtap')],
  }),
  judge('nginx', 'the gateway of docker compose: what it lets through to PostgREST, and how', {
    who: 'nginx of the distribution',
    needs: [debianPackage('nginx')],
  }),
  judge('mcp', 'the MCP server over HTTP, by the conformance suite of the protocol', {
    who: pinned('@modelcontextprotocol/conformance'),
    needs: [PACKAGES],
  }),
  judge('prism', 'requests and answers of the HTTP API agree with its OpenAPI document', {
    who: pinned('@stoplight/prism-cli'),
    needs: [PACKAGES],
  }),
  judge('axe', 'the memory page, the board of queues and /docs can be used by everybody (WCAG 2.2 A and AA)', {
    who: pinned('axe-core'),
    needs: [PACKAGES, chromium],
  }),
  judge('js-ipfs', 'pins, reads and verdicts on a second implementation of the RPC of IPFS', {
    who: pinned('ipfs', 'js-ipfs'),
    needs: [JS_IPFS],
  }),
];

function judge(name: string, shows: string, { who, needs }: Pick<Judge, 'who' | 'needs'>): Judge {
  return { name, shows, who, needs, minutes: 1, limitMinutes: 10, run: { tests: [`test/judges/${name}.test.ts`] } };
}

function pinned(name: string, folder = ''): string {
  const text = readFileSync(path.join(FOLDER, folder, 'package.json'), 'utf8');
  const { dependencies } = JSON.parse(text) as { dependencies: Record<string, string> };
  return `${name} ${dependencies[name]}`;
}
